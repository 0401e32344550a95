// Listening sockets: the probe bind that keeps a second instance out, one SO_REUSEPORT socket per
// worker, and the end of a socket without resets. Control thread, unless a comment says otherwise.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
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

// The socket's number in /proc/net/tcp; 0 for a closed one. It stays valid as a name for the socket
// when another thread may close the descriptor. Any thread.
std::uint64_t inode_of(int socket);

// The address of a foreign listening socket that overlaps with `address`, from /proc/net/tcp. `own`
// are the inodes of this process's sockets. nullopt if there is none, or if the list cannot be
// read. For an address that overlaps with sockets of this process: the probe bind would find those.
std::optional<base::SocketAddress> find_foreign_listener(const base::SocketAddress& address,
                                                         std::span<const std::uint64_t> own);

// From now on a listening socket begins no handshake; those in progress are completed. A moment
// later its accept queue gets no more clients; once that is empty, the socket can be closed without
// a reset. Clients that come meanwhile reach another socket that listens for them, of a wildcard,
// or are refused. Any thread.
void refuse_handshakes(int socket);

// The address that a socket is bound to; nullopt for what is no IP socket. Any thread.
std::optional<base::SocketAddress> bound_address(int socket);

// Gives a listening socket of another process all that bind_listeners() and start_listening() give
// our own. Returns the reason why the socket cannot take the place of one at `address`, or nothing.
// Port 0 stands for any port. As root it may change the socket's owner to this process's user:
// sockets of one address and port must belong to one user (socket(7), SO_REUSEPORT).
std::string adopt_listener(int socket, const base::SocketAddress& address);

// At least `count` sockets on one address, with the options (TCP_NODELAY, keepalive) that accepted
// clients inherit. `adopted` are those that are there already; each one that is missing is bound,
// and does not listen yet. Throws std::system_error when one cannot be made. The port actually
// bound (for port 0 the first socket decides) is written to `address`.
std::vector<base::Descriptor> bind_listeners(base::SocketAddress& address, std::size_t count,
                                             std::vector<base::Descriptor> adopted = {});

// Clients that connect wait in the queues of the sockets from now on: a close would reset them.
// Leaves out what is no descriptor. Throws std::system_error.
void start_listening(std::span<const base::Descriptor> sockets);

}  // namespace s3gate::net
