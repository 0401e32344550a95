// An address that is listened on: one object for all workers and all generations for as long as
// some generation has the address. Owns the listening sockets, one a worker. Made by the control
// side; afterwards only close() changes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "s3gate/base/address.hpp"
#include "s3gate/base/descriptor.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::proxy {

class Listener {
  public:
    // Where `address` is listened on already: at `bound`, with one socket for each worker, which
    // are the listener's from now on. `index`: its place in tables that go by listener; no other
    // listener of the process has it.
    Listener(std::uint32_t index, const state::Address& address, const base::SocketAddress& bound,
             std::vector<base::Descriptor> sockets);
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

    std::uint32_t index() const { return index_; }
    // Of Snapshot::addresses, in every generation that has it.
    const std::string& identity() const { return identity_; }
    // As bound: the port is the real one.
    const base::SocketAddress& address() const { return address_; }
    // The socket of that worker; -1 once it is closed.
    int socket(std::size_t worker) const { return sockets_[worker].get(); }
    // Closes the socket of that worker. By its own thread, or when no worker runs.
    void close(std::size_t worker) { sockets_[worker].close(); }

  private:
    std::uint32_t index_;
    std::string identity_;
    base::SocketAddress address_;
    std::vector<base::Descriptor> sockets_;  // by worker
};

// Listens on `address` with one socket for each of `workers`; throws std::system_error when one
// cannot be made.
std::shared_ptr<Listener> listen_on(std::uint32_t index, const state::Address& address,
                                    std::size_t workers);

}  // namespace s3gate::proxy
