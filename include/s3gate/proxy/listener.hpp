// An address that the daemon listens on: one object for all workers, which lives as long as some
// generation has the address. Owns one listening socket per worker. Made by the control side;
// afterwards only close() changes it.
#pragma once

#include <atomic>
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
    // Takes over sockets that are bound to `bound`, one per worker. `index` is the listener's
    // place in tables by listener, unique in the process.
    Listener(std::uint32_t index, const state::Address& address, const base::SocketAddress& bound,
             std::vector<base::Descriptor> sockets);
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

    std::uint32_t index() const { return index_; }
    // Identity in Snapshot::addresses, in every generation that has the address.
    const std::string& identity() const { return identity_; }
    // The bound address, with the real port.
    const base::SocketAddress& address() const { return address_; }
    // The socket of that worker; -1 after close().
    int socket(std::size_t worker) const { return sockets_[worker].get(); }
    // Closes the socket of that worker; does nothing when it is closed. Called by that worker's
    // thread, or when no worker runs.
    void close(std::size_t worker);
    // The kernel accepts clients from now on. Throws std::system_error. Control thread.
    void listen() const;
    // True once no worker can accept from it any more. Any thread.
    bool is_closed() const { return open_.load(std::memory_order_acquire) == 0; }
    // Completes handshakes in progress and begins no new ones. Call it a moment before close(), so
    // that the close resets no client. Control thread, while the workers' sockets are open.
    void refuse_handshakes() const;

  private:
    std::uint32_t index_;
    std::string identity_;
    base::SocketAddress address_;
    std::vector<base::Descriptor> sockets_;  // by worker
    std::atomic<std::size_t> open_;          // of them
};

// A listener for `address` with one socket for each of `workers`, which does not listen yet. Throws
// std::system_error when a socket cannot be made.
std::shared_ptr<Listener> bind_listener(std::uint32_t index, const state::Address& address,
                                        std::size_t workers);

}  // namespace s3gate::proxy
