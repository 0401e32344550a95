// The log record of one request: filled by the exchange, read once by the access log. Pooled with
// the request, so the steady state allocates nothing. Views point into the request's head buffer
// and live until the line is written.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "s3gate/base/clock.hpp"

namespace s3gate::observe {

// One attempt at one backend.
struct AttemptRecord {
    std::string_view address;  // resolved, "ip:port"
    // Times in nanoseconds since it began; -1 = it never was.
    std::int64_t ended_ns = -1;      // the response ended, or the attempt failed
    std::int64_t connected_ns = -1;  // 0 = a parked connection
    std::int64_t answered_ns = -1;   // the head of the answer was complete
    std::uint16_t status = 0;        // of the answer; 0 = none
    std::string_view name = {};      // the server as configured
    std::string_view error = {};     // static word for the failure; empty = none
};

// A record without its attempts, so a reset need not write to those.
struct RequestFacts {
    std::string_view site;
    std::string_view local_ip;  // address that the client connected to
    // Texts of addresses, which the line shows as they are.
    std::string_view client_ip;    // who asked: proxy/client_identity.hpp
    std::string_view peer_ip;      // other end of the TCP connection
    std::string_view method;       // "-" if the request line was invalid
    std::string_view target;       // raw request target
    std::string_view host;         // Host field as received
    std::string_view host_bucket;  // bucket that the host names (s3::bucket_of_host); empty = none
    std::string_view user_agent;
    std::string_view referer;
    std::string_view forwarded_for;  // X-Forwarded-For as received
    bool tls = false;
    bool is_s3 = true;             // false on sites of type http: operation and bucket are "-"
    bool has_copy_source = false;  // the request carries x-amz-copy-source
    std::uint16_t status =
        0;  // status sent to the client; 499 = client gone before an answer, 408 … of our own
    std::uint64_t bytes_in = 0;   // request body bytes received
    std::uint64_t bytes_out = 0;  // response body bytes sent to the client
    base::Duration duration{0};   // from the first byte of the head to the end
    std::int64_t ttfb_ms = -1;    // until the first byte of the final response went out; -1 = none
    std::int64_t queued_ms = -1;  // wait for room at a server; -1 = none
    std::uint32_t attempt_count = 0;
    std::uint32_t tries = 0;              // all attempts, also beyond kMaxAttempts
    std::string_view key_source;          // "sessionid", …; empty = none
    std::string_view session;             // the affinity key; for the fingerprint its 32 digits
    std::string_view error;               // short word for the failure; empty = none
    std::string_view request_id;          // our own
    std::string_view backend_request_id;  // x-amz-request-id of the relayed answer
    // Static words for a request that did not end well; empty for one that did.
    std::string_view blame;       // client, network, backend, proxy
    std::string_view stage;       // progress of the request when it failed
    std::string_view group;       // of servers; empty = refused before a server was chosen
    std::string_view access_key;  // id only; empty = none, or not wanted
};

struct RequestRecord : RequestFacts {
    static constexpr std::size_t kMaxAttempts = 16;

    void clear() { static_cast<RequestFacts&>(*this) = {}; }
    // Adds an attempt. Beyond kMaxAttempts it takes the place of the last one.
    void begin_attempt(std::string_view name, std::string_view address) {
        ++tries;
        attempt_count += attempt_count < kMaxAttempts ? 1 : 0;
        attempt() = {.address = address, .name = name};
    }
    // The attempt that began last.
    AttemptRecord& attempt() { return attempts[attempt_count - 1]; }

    std::array<AttemptRecord, kMaxAttempts> attempts;  // valid up to attempt_count
    // As name_operation() finds them; clear() leaves them.
    std::string_view operation;  // of S3; empty on sites of type http
    std::string_view bucket;     // raw; empty = none
};

// Finds the operation and the bucket from method and target. Once for each record.
void name_operation(RequestRecord& record);

}  // namespace s3gate::observe
