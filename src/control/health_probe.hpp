// One active check: connects, asks, reads the head of the answer and judges it. Lives on the
// control thread's io_context, held by its own pending operations; opens and closes its own
// connection.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "s3gate/base/address.hpp"
#include "s3gate/base/clock.hpp"
#include "s3gate/config/model.hpp"

namespace s3gate::control {

// A tick, or an end of a check, that comes this much too late says that we stood still, not the
// backend (docs/architecture.md).
inline constexpr base::Duration kOwnStall{2000};

// What all checks of one site have in common.
struct ProbePlan {
    std::string request;
    bool asks_head = false;  // its answers have no body
    std::vector<int> expect_status;
    std::vector<std::pair<std::string, std::string>> reject_headers;
    base::Duration timeout{};
};

ProbePlan probe_plan_of(const config::Health& health);

enum class ProbeEnd {
    passed,
    failed,        // answered, but not as wanted
    unreachable,   // connect failure or timeout
    inconclusive,  // our own stall or lack of descriptors, ports, memory: nobody's verdict
};

struct ProbeResult {
    ProbeEnd end = ProbeEnd::inconclusive;
    std::string reason;  // one printable line; empty when passed
};

class Probe {
  public:
    virtual ~Probe() = default;
    // Closes the connection; `done` is not called any more.
    virtual void cancel() = 0;

    using Done = std::function<void(ProbeResult)>;
    // Begins at once. `done` is called exactly once, never from inside start().
    static std::shared_ptr<Probe> start(boost::asio::io_context& context,
                                        std::shared_ptr<const ProbePlan> plan,
                                        const base::SocketAddress& address, Done done);
};

}  // namespace s3gate::control
