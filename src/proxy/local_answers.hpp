// What we answer in our own name, and what the log says of it then.
#pragma once

#include <string_view>

#include "request.hpp"
#include "s3gate/policy/attempt_end.hpp"

namespace s3gate::proxy {

struct LocalAnswer {
    int status;
    std::string_view code;        // of S3's error document
    std::string_view message;     // the same
    bool close = false;           // the connection ends with it
    std::string_view error = {};  // for the log; empty = what was noted before stays
};

// A head that is not served. Counts it.
LocalAnswer answer_to_refused_head(ExchangeContext& context, const Request& request, HeadRead why);

// What a limit on clients, or on who may see the status page, forbids; no backend hears of it. Null
// when nothing does. (Connections that are too many were counted when they came.)
const LocalAnswer* refusal_of(ExchangeContext& context, bool wants_status);

// docs/architecture.md, "Retry": our own answer when nothing is left. `decisive` is the failure
// that the client is told of; null = nobody was there to be asked.
LocalAnswer answer_to_failure(const policy::Failure* decisive);

// A backend's answer that broke off before a byte of it reached the client.
LocalAnswer answer_to_broken_body(bool is_timeout, std::string_view error);

inline constexpr LocalAnswer kQueueTimeout{
    503, "SlowDown", "The storage servers are busy, reduce your request rate.", false,
    "backend queue timeout"};
inline constexpr LocalAnswer kQueueFull{503, "SlowDown",
                                        "The storage servers are busy, reduce your request rate.",
                                        false, "backend queue full"};
inline constexpr LocalAnswer kStopping{
    503, "ServiceUnavailable", "The proxy is stopping. Please try again.", true, "cut at shutdown"};

}  // namespace s3gate::proxy
