// The attempts of one request, one after the other: which backend, what the retry rule says of each
// end, and what of it the budget, the tokens, the marks and the log learn. One per request that
// goes to a backend.
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
    // What the last attempt leaves to be done.
    enum class End : std::uint8_t {
        answered,   // current() has an answer to relay
        switching,  // current() has a 101
        client_gone,
        failed,  // own_answer() says what the client is told; so do the next two
        queue_timeout,
        queue_full,
    };

    // The request must be prepared.
    Attempts(ExchangeContext& context, Request& request, Response& response, Memory& memory);
    Attempts(const Attempts&) = delete;
    Attempts& operator=(const Attempts&) = delete;

    // Tries until there is nothing left to try.
    net::task<End> run();
    LocalAnswer own_answer(End end) const;

    // The last attempt; only behind `answered` or `switching`.
    Attempt& current() { return *attempt_; }
    // How long it took so far, for the log.
    void note_time() {
        observe::RequestRecord& record = context_.record;
        record.attempts[record.attempt_count - 1].milliseconds =
            static_cast<std::int32_t>(context_.since(attempt_->began()).count());
    }
    // Nothing is retried any more: its answer has this status. What is left is a transfer like any
    // other, however long it takes.
    void note_commit(int status) {
        if (tokens_taken_ > 0) {
            return_tokens(status);
        }
        retry_hold_.reset();
    }
    // The last attempt is over, with its answer. Its connection is cut if it still has one.
    void end_current() { attempt_.reset(); }

    // As Attempt's; cut() also wakes.
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
    unsigned sent_ = 0;          // attempts with something sent, free ones apart
    unsigned refused_ = 0;       // of those: answered that the backend is not ready
    bool repeats_backend_ = false;  // the next attempt, or the present one, is row 4's
    bool was_repeat_used_ = false;
    bool was_blind_used_ = false;
    bool needs_fresh_ = false;  // the next attempt must not end on a stale connection
    std::optional<policy::Failure> decisive_;  // what the client is told of if nothing is left
    std::optional<Attempt> attempt_;
};

}  // namespace s3gate::proxy
