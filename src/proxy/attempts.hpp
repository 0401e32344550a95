// The attempts of one request. It chooses a backend, makes the attempt, asks the retry rule, and
// updates the budget, the tokens, the passive marks and the log record. One per request that goes
// to a backend. One worker's thread.
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
    // Reused between requests.
    struct Memory {
        policy::SelectionMemory selection;
        Attempt::Memory attempt;
    };
    // The end of run().
    enum class End : std::uint8_t {
        answered,       // current() has an answer to relay
        switching,      // current() has a 101
        abandoned,      // the client no longer waits for the answer (ExchangeContext::is_abandoned)
        failed,         // no attempt is possible; own_answer() is the answer for the client
        queue_timeout,  // no server had room in time; own_answer() as above
        queue_full,     // too many requests wait for room; own_answer() as above
    };

    // The request must be prepared.
    Attempts(ExchangeContext& context, Request& request, Response& response, Memory& memory);
    Attempts(const Attempts&) = delete;
    Attempts& operator=(const Attempts&) = delete;

    // Makes attempts until there is an answer to relay, none is possible, or the client no longer
    // waits.
    net::task<End> run();
    LocalAnswer own_answer(End end) const;
    // Where the request was when its last failure was noted, or when it began to wait for room.
    policy::Stage stage() const { return stage_; }

    // The last attempt. Valid after `answered` and `switching`.
    Attempt& current() { return *attempt_; }
    // Notes the last attempt's duration for the log.
    void note_time() { context_.record.attempt().ended_ns = attempt_->nanoseconds(); }
    // Called when no further retry follows; `status` is the answer's. Returns the tokens of retries
    // that helped, and the place in the retry budget: the rest is an ordinary transfer of any
    // length.
    void settle_retries(int status) {
        if (tokens_taken_ > 0) {
            return_tokens(status);
        }
        retry_hold_.reset();
    }
    // Notes how the relay of the last attempt's answer ended.
    void note_relayed(net::RelayEnd end);
    // True while the request waits for room at a server.
    bool is_queued() const { return waiter_.has_value(); }
    bool is_at_backend() const { return attempt_.has_value(); }
    // True while bytes of the request go to the backend.
    bool is_uploading() const {
        return attempt_ && attempt_->is_uploading() && !attempt_->is_expect_pending();
    }
    // Destroys the last attempt and its answer. Cuts its connection unless it was parked or closed.
    void drop_current() { attempt_.reset(); }

    // For the current attempt, or for the wait for room: as the functions of Attempt. cut() also
    // wakes.
    void on_backend_down(std::uint32_t slot);
    void wake();
    void cut();

  private:
    policy::Sent sent() const {
        return sent_ == 0 ? policy::Sent::nothing : policy::Sent::something;
    }
    net::task<Pick> wait_for_room();
    End end_without_backend(Pick pick);
    bool is_all_out() const;
    void begin_attempt();
    // Record the end of the attempt, then decide what follows.
    void note(const policy::AttemptEnd& end);
    void note_failure(const policy::Failure& failure);
    void count(const policy::Failure& failure);
    void count(state::ServerFault fault);
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
    unsigned tokens_taken_ = 0;     // for retries that a status caused
    unsigned sent_ = 0;             // attempts that sent bytes, without those that row 4 repeats
    unsigned refused_ = 0;          // of those: answered with "not ready"
    bool repeats_backend_ = false;  // the next or current attempt is row 4's repetition
    bool was_repeat_used_ = false;  // row 4 was used
    bool was_blind_used_ = false;   // a blind retry was made (policy::RetryVerdict::is_blind)
    bool needs_fresh_ = false;      // the next attempt must not use a connection that may be stale
    // The failure for the client's answer if no attempt is possible.
    std::optional<policy::Failure> decisive_;
    policy::Stage stage_ = policy::Stage::choice;
    std::optional<Attempt> attempt_;
};

}  // namespace s3gate::proxy
