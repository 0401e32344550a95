// The one place that decides what follows a failed or unwelcome attempt: relay it, try elsewhere,
// or give up. A pure function; the rows are those of docs/architecture.md "Retry", from top to
// bottom, the first that matches decides.
#pragma once

#include <cstdint>

#include "s3gate/base/clock.hpp"
#include "s3gate/config/model.hpp"
#include "s3gate/policy/attempt_end.hpp"

namespace s3gate::policy {

enum class MethodClass : std::uint8_t { get, head, options, put, delete_, other };

// What of a request decides whether it may be repeated; known once its head is read.
struct RequestTraits {
    MethodClass method = MethodClass::get;
    bool has_body = false;      // the request announces a body longer than zero
    bool upload_part = false;   // PUT with uploadId and partNumber, body > 0, no x-amz-copy-source
    bool object_write = false;  // PutObject or DeleteObject of an S3 site
    bool conditional = false;   // If-Match or If-None-Match present
    bool copy = false;          // x-amz-copy-source present
};

// What earlier attempts of the request leave to the rule.
struct RetryHistory {
    unsigned sent_attempts = 1;  // attempts with something sent that were not answered `not_ready`,
                                 // this one included unless it is not_sent or not_ready
    bool after_stale = false;    // this attempt is the fresh connection that row 4 asked for
    bool free_retry_used = false;   // row 4 was used by this request
    bool blind_retry_used = false;  // a retry of this request was blind (RetryVerdict::is_blind)
    base::Duration elapsed{0};      // since the first attempt began
};

// What speaks for another attempt besides the request and the attempt that ended.
struct RetryMeans {
    bool in_hand = true;  // no body, or all of it received so far and still in the replay buffer
    bool budget_left = true;     // the group's retry budget has room
    bool token_left = true;      // a retry that a status causes has a token (retry_tokens.hpp)
    bool candidate_left = true;  // a usable backend that this request has not tried exists
};

// Everything the rule looks at.
struct AttemptFacts : RequestTraits, RetryHistory, RetryMeans {
    AttemptEnd end;
    bool expect_pending = false;  // a body is announced with Expect, no 100 came from this backend,
                                  // no body byte sent to it
    bool client_gone = false;
    bool response_relayed =
        false;  // a response byte (an interim 100 does not count) reached the client
};

enum class RetryAction : std::uint8_t {
    relay,         // send the answer that is there to the client
    next_backend,  // another attempt, on a backend not yet tried
    same_backend,  // once more to the same backend, on a fresh connection, free of charge
    fail,          // answer with our own error (nothing was relayed yet)
    abort,         // both connections are cut: the client is gone or has part of a response
};

struct RetryVerdict {
    RetryAction action = RetryAction::relay;
    int row = 0;  // the row that decided, 1…7; 0 = no row applies (an ordinary answer)
    bool counts_budget = false;  // this retry takes one from the group's budget
    bool takes_token = false;    // this retry takes a token: the answer's status caused it
    bool budget_spent = false;   // a retry was due but the budget is spent: count it
    bool is_blind = false;  // this retry follows an attempt that was sent and got no answer, and
                            // may have killed its node: a request has one
};

RetryVerdict retry_rule(const AttemptFacts& facts, const config::Retry& retry);

constexpr bool is_retry(const RetryVerdict& verdict) {
    return verdict.action == RetryAction::next_backend ||
           verdict.action == RetryAction::same_backend;
}

// True if row 5 repeats such a request, where its body is in hand.
bool may_follow_503(const RequestTraits& request);

// True for requests whose repetition nobody notices (GET, HEAD, OPTIONS).
constexpr bool is_read(MethodClass method) {
    return method == MethodClass::get || method == MethodClass::head ||
           method == MethodClass::options;
}

// Most retries in progress that a group with `in_flight` requests may have: 20 %, at least `least`.
inline constexpr std::int64_t kLeastRetries = 3;
constexpr std::int64_t retry_budget(std::int64_t in_flight, std::int64_t least = kLeastRetries) {
    return in_flight / 5 > least ? in_flight / 5 : least;
}

}  // namespace s3gate::policy
