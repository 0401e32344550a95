// The listening sockets that this process was started with: those of a process that ended without a
// stop. The key of a socket is the address that it listens on and its place there. Control thread,
// during the start.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "s3gate/base/address.hpp"
#include "s3gate/base/descriptor.hpp"
#include "s3gate/control/socket_store.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::control {

// The name of a listener's socket at a place, for the store. `identity` is that of the listener
// (state::Address). Different sockets have different names; each has at most 255 printable
// characters and no ':', as sd_listen_fds_with_names(3) demands.
std::string socket_name(std::string_view identity, std::size_t place);

class InheritedSockets {
  public:
    InheritedSockets() = default;
    // Closes the sockets that have no name of ours, and says so in warnings().
    explicit InheritedSockets(std::vector<PassedSocket> passed);

    // Closes the sockets that no address of `snapshot` can use: it is not configured any more, or
    // the socket is not as ours are. Clients in their queues are reset.
    void close_unusable(const state::Snapshot& snapshot);
    // The sockets of an address, by place; empty if there are none. Call close_unusable() before.
    std::vector<base::Descriptor> take(const state::Address& address);
    // Inodes of all sockets that overlap with `address`, also of closed ones: the store may still
    // be about to close its copy.
    std::vector<std::uint64_t> overlapping(const base::SocketAddress& address) const;
    // Sentences for the operator, about what was taken over or closed.
    const std::vector<std::string>& warnings() const { return warnings_; }

  private:
    struct Bound {
        base::SocketAddress address;
        std::uint64_t inode = 0;
    };
    using Places = std::map<std::size_t, base::Descriptor>;

    void close_misfits(Places& places, const state::Address& address);

    std::map<std::string, Places, std::less<>> by_address_;  // by the address's part of the name
    std::vector<Bound> bound_;
    std::vector<std::string> warnings_;
};

}  // namespace s3gate::control
