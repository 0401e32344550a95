// The listening sockets that this process was started with: those of a process that ended without a
// stop, or of the one before in an upgrade. The key of a socket is the address that it listens on
// and its place there. Control thread, during the start.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "s3gate/base/address.hpp"
#include "s3gate/base/descriptor.hpp"
#include "s3gate/control/socket_store.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::control {

// The name of a listener's socket at a place, for the store. `identity` is that of the listener
// (state::ListenAddress). Different sockets have different names; each has at most 255 printable
// characters and no ':', as sd_listen_fds_with_names(3) demands.
std::string socket_name(std::string_view identity, std::size_t place);
// The part of that name that all sockets of the listener have.
std::string listener_name(std::string_view identity);

// Why a process was started with listening sockets.
enum class Heritage : std::uint8_t {
    crash,    // the process before ended without a stop
    upgrade,  // it serves, and keeps the sockets that this one does not use
};

// A listening socket, whoever has it open.
struct BoundSocket {
    base::SocketAddress address;
    std::uint64_t inode = 0;
    bool operator==(const BoundSocket&) const = default;
};
// The inodes of those that share connections with a socket at that address.
std::vector<std::uint64_t> overlapping(std::span<const BoundSocket> sockets,
                                       const base::SocketAddress& address);

class InheritedSockets {
  public:
    InheritedSockets() = default;
    // Closes the sockets that have no name of ours, and says so in warnings(). `closing` are not
    // passed: an earlier process is about to close them.
    explicit InheritedSockets(std::vector<PassedSocket> passed, Heritage heritage = Heritage::crash,
                              std::vector<BoundSocket> closing = {});

    // Closes the sockets that no address of `snapshot` can use: it is not configured any more, or
    // the socket is not as ours are. After a crash clients in their queues are reset.
    void close_unusable(const state::Snapshot& snapshot);
    // The listener_name() of those that close_unusable() closed, for the process before. It must
    // not lose a part of an address, so in an upgrade all sockets of an address are of use or none.
    const std::set<std::string>& unused() const { return unused_; }
    // The sockets of an address, by place; empty if there are none. Call close_unusable() before.
    std::vector<base::Descriptor> take(const state::ListenAddress& address);
    // All sockets, also those that are taken or closed here: the store or an earlier process may
    // still be about to close its copy.
    const std::vector<BoundSocket>& bound() const { return bound_; }
    std::vector<std::uint64_t> overlapping(const base::SocketAddress& address) const {
        return control::overlapping(bound_, address);
    }
    // Sentences for the operator, about what was taken over or closed.
    const std::vector<std::string>& warnings() const { return warnings_; }

  private:
    using Places = std::map<std::size_t, base::Descriptor>;

    void close_misfits(Places& places, const state::ListenAddress& address);
    void report(const std::set<std::string>& taken, const std::set<std::string>& left);

    Heritage heritage_ = Heritage::crash;
    std::map<std::string, Places, std::less<>> by_address_;  // by the address's part of the name
    std::vector<BoundSocket> bound_;
    std::set<std::string> unused_;
    std::vector<std::string> warnings_;
};

}  // namespace s3gate::control
