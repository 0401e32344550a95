// The one place that decides what follows a failed or unwelcome attempt: relay it, try elsewhere,
// or give up. A pure function; the rows are those of docs/architecture.md "Retry", from top to
// bottom, the first that matches decides.
#pragma once

#include <cstdint>

#include "s3gate/base/clock.hpp"
#include "s3gate/config/model.hpp"

namespace s3gate::policy {

enum class MethodClass { get, head, options, put, delete_, other };

// How an attempt ended.
enum class Outcome {
    answered,   // a final response head arrived; `status` says which
    not_sent,   // refused, unreachable, connect timeout, TLS failure, no slot: no request byte left
                // us
    broken,     // sent, then reset, closed or unparsable before a response head was complete
    timed_out,  // sent, then no response head in time
    taken_down,  // sent, no response byte, and the active checks took the backend down meanwhile
};

// Everything the rule looks at.
struct AttemptFacts {
    Outcome outcome = Outcome::answered;
    MethodClass method = MethodClass::get;
    int status = 0;        // for Outcome::answered
    bool is_load = false;  // row 5: 429, or the answer's code says load (error_code.hpp)
    bool not_ready = false;  // a 503 whose code says that this backend cannot serve now: nothing was
                             // executed, and the next one may serve (error_code.hpp)
    bool connect_timed_out = false;  // Outcome::not_sent because the connect ran into its limit
    bool malformed = false;  // Outcome::broken because the backend sent what is no answer, not
                             // because it went away
    bool client_gone = false;
    bool response_relayed =
        false;  // a response byte (an interim 100 does not count) reached the client
    bool response_byte_seen = false;  // any byte came from the backend in this attempt
    bool reused_connection = false;
    bool after_stale = false;  // this attempt is the fresh connection that row 4 asked for
    bool has_body = false;        // the request announces a body longer than zero
    bool body_byte_sent = false;  // to this backend, in this attempt
    bool expect_pending = false;  // a body is announced with Expect, no 100 came from this backend,
                                  // no body byte sent to it
    bool in_hand = true;  // no body, or all of it received so far and still in the replay buffer
    bool upload_part = false;  // PUT with uploadId and partNumber, body > 0, no x-amz-copy-source
    bool object_write = false;  // PutObject or DeleteObject of an S3 site
    bool conditional = false;  // If-Match or If-None-Match present
    bool copy = false;         // x-amz-copy-source present
    unsigned sent_attempts = 1;  // attempts with something sent that were not answered `not_ready`,
                                 // this one included unless it is not_sent or not_ready
    bool free_retry_used = false;   // row 4 was used by this request
    bool blind_retry_used = false;  // a retry of this request was blind (RetryVerdict::is_blind)
    base::Duration elapsed{0};      // since the first attempt began
    bool budget_left = true;        // the group's retry budget has room
    bool token_left = true;  // a retry that a status causes has a token (retry_tokens.hpp)
    bool candidate_left = true;     // a usable backend that this request has not tried exists
};

enum class RetryAction {
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
    bool is_blind = false;  // this retry follows an attempt that was sent and got no answer, and may
                            // have killed its node: a request has one
};

RetryVerdict retry_rule(const AttemptFacts& facts, const config::Retry& retry);

// True if row 5 repeats what `facts` says of the request, where its body is in hand.
bool may_follow_503(const AttemptFacts& facts);

// True for requests whose repetition nobody notices (GET, HEAD, OPTIONS).
constexpr bool is_read(MethodClass method) {
    return method == MethodClass::get || method == MethodClass::head ||
           method == MethodClass::options;
}

// Most retries in progress that a group with `in_flight` requests may have: 20 %, at least `least`.
constexpr std::int64_t retry_budget(std::int64_t in_flight, std::int64_t least = 3) {
    return in_flight / 5 > least ? in_flight / 5 : least;
}

}  // namespace s3gate::policy
