// The answers of the proxy itself, and their words for the log.
#pragma once

#include <string_view>

#include "request.hpp"
#include "s3gate/policy/attempt_end.hpp"
#include "source_header.hpp"

namespace s3gate::proxy {

struct LocalAnswer {
    int status;
    std::string_view code;        // of S3's error document
    std::string_view message;     // of S3's error document
    bool close = false;           // the connection ends after it
    std::string_view error = {};  // for the log; empty = keeps an earlier note
    // For the log: whose fault it is that this is the answer, and where the request was.
    policy::Side side = policy::Side::client;
    policy::Stage stage = policy::Stage::head;
};

// The answer to a head that is refused. Counts it.
LocalAnswer answer_to_refused_head(ExchangeContext& context, const Request& request, HeadRead why);

// The answer to a connection whose peer did not name its source as it must. Counts the fault.
LocalAnswer answer_to_refused_source(ExchangeContext& context, const SourceRead& read);

// The answer to every request of a connection that is over a limit; null if it is over none. (It
// was counted on arrival.)
const LocalAnswer* refusal_of(const ClientConnection& client);

// The answer to a request that a limit on clients or the status page's access list refuses; null if
// none does.
const LocalAnswer* refusal_of(ExchangeContext& context, bool wants_status);

// docs/architecture.md, "Retry": our answer when no attempt is possible. `decisive` is the failure
// that the client learns; null = no backend was available. `is_all_out`: the operator took out all.
LocalAnswer answer_to_failure(const policy::Failure* decisive, bool is_all_out);

// The answer when a backend's answer broke off before a byte of it reached the client.
LocalAnswer answer_to_broken_body(bool is_timeout, std::string_view error, policy::Side side);

// RFC 9110 section 15.5.20.
inline constexpr LocalAnswer kUnknownHost{421, "MisdirectedRequest",
                                          "No site of this address serves the host of the request.",
                                          false, "unknown host"};
inline constexpr LocalAnswer kQueueTimeout{
    503,
    "SlowDown",
    "The storage servers are busy, reduce your request rate.",
    false,
    "backend queue timeout",
    policy::Side::proxy,
    policy::Stage::queue};
inline constexpr LocalAnswer kQueueFull{503,
                                        "SlowDown",
                                        "The storage servers are busy, reduce your request rate.",
                                        false,
                                        "backend queue full",
                                        policy::Side::proxy,
                                        policy::Stage::queue};
// To a request that the proxy itself ends; `error` says why.
constexpr LocalAnswer answer_to_cut(std::string_view error, policy::Stage stage) {
    return {503,
            "ServiceUnavailable",
            "The proxy ended the request. Please try again.",
            true,
            error,
            policy::Side::proxy,
            stage};
}

}  // namespace s3gate::proxy
