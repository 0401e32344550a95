// Listening sockets: the probe bind that keeps a second instance out, and one SO_REUSEPORT socket
// per worker. Called by the thread that starts the server, before any worker runs.
#pragma once

#include <string>
#include <vector>

#include "s3gate/base/address.hpp"
#include "s3gate/base/descriptor.hpp"

namespace s3gate::net {

// Result of a bind without SO_REUSEPORT, closed at once. `error` is empty if the address is free,
// else the reason. A host without IPv6 gives `no_ipv6` = true and an empty text.
struct ProbeResult {
    std::string error;
    bool no_ipv6 = false;
};
ProbeResult probe_bind(const base::SocketAddress& address);

// The reason why the address cannot be bound without SO_REUSEPORT; empty if it can. Never listens,
// so no client reaches the socket. Any thread.
std::string bind_error(const base::SocketAddress& address);

// `count` listening sockets on one address, with the options (TCP_NODELAY, keepalive) that accepted
// clients inherit; throws std::system_error when one cannot be made. The port actually bound (for
// port 0 the first socket decides) is written to `address`.
std::vector<base::Descriptor> open_listeners(base::SocketAddress& address, std::size_t count);

}  // namespace s3gate::net
