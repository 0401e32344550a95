// Everything one request leaves behind: filled by the exchange, read once by the access log. Pooled
// with the request, so that the steady state allocates nothing; views point into the request's head
// buffer and live until the line is written.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "s3gate/base/clock.hpp"

namespace s3gate::observe {

// One try at one backend. `address` is the resolved "ip:port".
struct AttemptRecord {
    std::string_view address;
    std::int32_t milliseconds = -1;  // until its response ended or it failed; -1 = never connected
};

// All of a record but its attempts, so that a record can be begun anew without writing to those.
struct RequestFacts {
    std::string_view site;
    std::string_view local_ip;   // the address the client connected to
    std::string_view client_ip;  // peer (or the PROXY address, where configured)
    std::string_view method;     // "-" when the request line was not understood
    std::string_view target;     // raw request target
    std::string_view host;       // Host field as received
    std::string_view user_agent;
    std::string_view referer;
    std::string_view forwarded_for;  // X-Forwarded-For as received
    bool tls = false;
    bool is_s3 = true;             // false on sites of type http: operation and bucket are "-"
    bool has_copy_source = false;  // the request carries x-amz-copy-source
    std::uint16_t status =
        0;  // what the client was sent; 499 client gone before an answer, 408 … of our own
    std::uint64_t bytes_in = 0;   // request body bytes received
    std::uint64_t bytes_out = 0;  // response body bytes sent to the client
    base::Duration duration{0};   // from the first byte of the head to the end
    std::int64_t ttfb_ms = -1;    // until the first byte of the final response went out; -1 = none
    std::int64_t queued_ms = -1;  // waited for room at a server; -1 = it did not
    std::uint32_t attempt_count = 0;
    std::uint32_t tries = 0;              // attempts in all, also beyond kMaxAttempts
    std::string_view key_source;          // "sessionid", …; empty = none
    std::string_view session;             // the affinity key; for the fingerprint its 32 digits
    std::string_view error;               // short word for what went wrong; empty = nothing
    std::string_view request_id;          // ours
    std::string_view backend_request_id;  // x-amz-request-id of the answer that was relayed
};

struct RequestRecord : RequestFacts {
    static constexpr std::size_t kMaxAttempts = 16;

    void clear() { static_cast<RequestFacts&>(*this) = {}; }

    std::array<AttemptRecord, kMaxAttempts> attempts;  // the first attempt_count mean something
};

}  // namespace s3gate::observe
