// The attempts of one request, one after the other: it chooses a backend, makes the attempt, asks
// the retry rule, and keeps the budget, the tokens, the passive marks and the log record up to
// date. One per request that goes to a backend. One worker's thread.
#pragma once

#include <cstdint>
#include <optional>

#include "attempt.hpp"
#include "backend_choice.hpp"
#include "exchange_context.hpp"
#include "holds.hpp"
#include "local_answers.hpp"
#include "request.hpp"
#include "room_waiter.hpp"
#include "s3gate/policy/attempt_end.hpp"
#include "s3gate/policy/retry_rule.hpp"

namespace s3gate::proxy {

class Response;

class Attempts {
  public:
    // Reused from request to request.
    struct Memory {
        policy::SelectionMemory selection;
        Attempt::Memory attempt;
    };
    // How run() ended.
    enum class End : std::uint8_t {
        answered,       // current() has an answer to relay
        switching,      // current() has a 101
        abandoned,      // nobody waits for the answer (ExchangeContext::is_abandoned)
        failed,         // nothing is left to try: own_answer() says what the client is told
        queue_timeout,  // no server had room in time: the same
        queue_full,     // too many requests wait for room: the same
    };

    // The request must be prepared.
    Attempts(ExchangeContext& context, Request& request, Response& response, Memory& memory);
    Attempts(const Attempts&) = delete;
    Attempts& operator=(const Attempts&) = delete;

    // Tries until there is an answer to relay, nothing is left to try, or nobody waits.
    net::task<End> run();
    LocalAnswer own_answer(End end) const;

    // The last attempt. Valid after `answered` and `switching`.
    Attempt& current() { return *attempt_; }
    // How long it took so far, for the log.
    void note_time() {
        observe::RequestRecord& record = context_.record;
        record.attempts[record.attempt_count - 1].milliseconds =
            static_cast<std::int32_t>(context_.since(attempt_->began()).count());
    }
    // The answer has this status and nothing is retried any more: gives back the tokens of retries
    // that helped, and the place in the retry budget. What is left is a transfer like any other,
    // however long it takes.
    void settle_retries(int status) {
        if (tokens_taken_ > 0) {
            return_tokens(status);
        }
        retry_hold_.reset();
    }
    // Drops the last attempt and its answer; cuts its connection unless it was parked or closed.
    void drop_current() { attempt_.reset(); }

    // For the present attempt, or the wait for room: as Attempt's functions of these names. cut()
    // also wakes.
    void on_backend_down(std::uint32_t slot);
    void wake();
    void cut();

  private:
    policy::Sent sent() const {
        return sent_ == 0 ? policy::Sent::nothing : policy::Sent::something;
    }
    net::task<Pick> wait_for_room();
    End end_without_backend(Pick pick);
    void begin_attempt();
    // The attempt has ended with this: what is noted of it, and what follows.
    void note(const policy::AttemptEnd& end);
    void note_failure(const policy::Failure& failure);
    void count(const policy::Failure& failure);
    bool counts_as_fail(const policy::Failure& failure) const;
    policy::RetryVerdict decide(const policy::AttemptEnd& end);
    policy::RetryMeans means_after(const policy::AttemptEnd& end);
    void take_retry(const policy::RetryVerdict& verdict);
    void return_tokens(int status);
    template <class Change>
    void change_tokens(const Change& change);
    std::int32_t most_tokens() const;

    ExchangeContext& context_;
    Request& request_;
    Response& response_;
    Memory& memory_;
    const base::TimePoint began_;
    GroupRequestHold request_hold_;
    BackendChoice choice_;
    std::optional<RoomWaiter> waiter_;
    std::optional<RetryHold> retry_hold_;
    unsigned tokens_taken_ = 0;  // by retries that a status caused
    unsigned sent_ = 0;          // attempts with something sent; those that row 4 repeats are free
    unsigned refused_ = 0;       // of those: answered that the backend is not ready
    bool repeats_backend_ = false;  // the next attempt, or the present one, is row 4's repetition
    bool was_repeat_used_ = false;  // row 4 was used
    bool was_blind_used_ = false;   // a blind retry was made (policy::RetryVerdict::is_blind)
    bool needs_fresh_ = false;      // the next attempt must not end on a stale connection
    std::optional<policy::Failure> decisive_;  // what the client is told of if nothing is left
    std::optional<Attempt> attempt_;
};

}  // namespace s3gate::proxy
