// Decides what follows a failed or unwelcome attempt: relay its answer, try again, or give up. A
// pure function with the rows of docs/architecture.md "Retry"; the first row that matches decides.
#pragma once

#include <cstdint>

#include "s3gate/base/clock.hpp"
#include "s3gate/config/model.hpp"
#include "s3gate/policy/attempt_end.hpp"

namespace s3gate::policy {

enum class MethodClass : std::uint8_t { get, head, options, put, delete_, other };

// Properties of a request that decide whether it may be repeated; known after its head.
struct RequestTraits {
    MethodClass method = MethodClass::get;
    bool has_body = false;      // the body is announced and not empty
    bool upload_part = false;   // PUT with uploadId and partNumber, body > 0, no x-amz-copy-source
    bool object_write = false;  // PutObject or DeleteObject of an S3 site
    bool conditional = false;   // If-Match or If-None-Match present
    bool copy = false;          // x-amz-copy-source present
};

// Results of the request's earlier attempts.
struct RetryHistory {
    unsigned sent_attempts = 1;     // attempts that sent bytes and were not answered `not_ready`;
                                    // includes this one unless it is not_sent or not_ready
    bool after_stale = false;       // this attempt used the fresh connection of row 4
    bool free_retry_used = false;   // the request has used row 4
    bool blind_retry_used = false;  // the request has had a blind retry (RetryVerdict::is_blind)
    base::Duration elapsed{0};      // since the first attempt began
};

// Further conditions for another attempt.
struct RetryMeans {
    bool in_hand = true;         // no body, or the replay buffer has all of it that was received
    bool budget_left = true;     // the group's retry budget has room
    bool token_left = true;      // a retry for a status has a token (retry_tokens.hpp)
    bool candidate_left = true;  // an untried usable backend exists
};

// The input of the rule.
struct AttemptFacts : RequestTraits, RetryHistory, RetryMeans {
    AttemptEnd end;
    bool expect_pending = false;  // a body is announced with Expect, this backend sent no 100, and
                                  // no body byte was sent to it
    bool client_gone = false;
    bool response_relayed =
        false;  // a response byte reached the client (an interim 100 does not count)
};

enum class RetryAction : std::uint8_t {
    relay,         // send the backend's answer to the client
    next_backend,  // another attempt, at an untried backend
    same_backend,  // another attempt at the same backend, on a fresh connection, without cost
    fail,          // send our own error (no byte was relayed yet)
    abort,         // cut both connections: the client is gone or has part of a response
};

struct RetryVerdict {
    RetryAction action = RetryAction::relay;
    int row = 0;                 // the row that decided, 1…7; 0 = no row (an ordinary answer)
    bool counts_budget = false;  // this retry counts against the group's budget
    bool takes_token = false;    // this retry costs a token: the answer's status caused it
    bool budget_spent = false;   // a retry was due but the budget is spent; to be counted
    bool is_blind = false;  // this retry follows an attempt that was sent and not answered, so the
                            // request may have killed its node; a request has one such retry
};

RetryVerdict retry_rule(const AttemptFacts& facts, const config::Retry& retry);

constexpr bool is_retry(const RetryVerdict& verdict) {
    return verdict.action == RetryAction::next_backend ||
           verdict.action == RetryAction::same_backend;
}

// True if row 5 may repeat such a request while its body is in hand.
bool may_follow_503(const RequestTraits& request);

// True for methods that may be repeated without effect (GET, HEAD, OPTIONS).
constexpr bool is_read(MethodClass method) {
    return method == MethodClass::get || method == MethodClass::head ||
           method == MethodClass::options;
}

// Limit on concurrent retries of a group with `in_flight` requests: 20 %, at least `least`.
inline constexpr std::int64_t kLeastRetries = 3;
constexpr std::int64_t retry_budget(std::int64_t in_flight, std::int64_t least = kLeastRetries) {
    return in_flight / 5 > least ? in_flight / 5 : least;
}

}  // namespace s3gate::policy
