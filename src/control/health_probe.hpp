// One active check: connects, asks, reads the head of the answer and judges it, on a connection of
// its own. It is a coroutine on the control thread's io_context and owns everything that it uses.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "s3gate/base/address.hpp"
#include "s3gate/base/clock.hpp"
#include "s3gate/config/model.hpp"

namespace s3gate::control {

// A coroutine of the control thread.
template <typename T>
using Task = boost::asio::awaitable<T, boost::asio::io_context::executor_type>;

// A tick, or an end of a check, that comes this much too late says that we stood still, not the
// backend (docs/architecture.md).
inline constexpr base::Duration kOwnStall{2000};

// What all checks of one site have in common.
struct ProbePlan {
    std::string preamble;    // before the request, to the server's own port; may be empty
    std::string request;     // empty: a connection is all that is asked for
    bool asks_head = false;  // its answers have no body
    std::vector<config::StatusRange> expect_status;
    std::vector<std::pair<std::string, std::string>> reject_headers;
    base::Duration timeout{};
};

// Of the checks of a group with these settings. Where its connections begin with a header of the
// PROXY protocol, so do those of checks to the servers' own ports, as in HAProxy.
ProbePlan probe_plan_of(const config::Health& health, const config::Backends& backends);

enum class ProbeEnd {
    passed,
    failed,        // answered, but not as wanted
    unreachable,   // connect failure or timeout
    inconclusive,  // our own stall or lack of descriptors, ports, memory: no verdict
};

struct ProbeResult {
    ProbeEnd end = ProbeEnd::inconclusive;
    std::string reason;  // one printable line; empty when passed
    int status = 0;      // of the answer; 0 where there is none
};

// `is_own_port`: the address takes requests too, not checks alone. Ends within the plan's timeout
// and closes the connection. No network event makes it throw. When the coroutine is cancelled, it
// closes the connection and throws, or its result means nothing.
Task<ProbeResult> probe(std::shared_ptr<const ProbePlan> plan, base::SocketAddress address,
                        bool is_own_port);

}  // namespace s3gate::control
