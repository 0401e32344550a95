// An address that the daemon listens on: one object for all workers, which lives as long as some
// generation has the address. Owns one listening socket per worker, or more if an earlier process
// with more workers left them. Made by the control side; afterwards only close() changes it. For an
// address of admin.listen the control thread is the one worker.
#pragma once

#include <sys/types.h>

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
    // Takes over sockets that are bound to `bound`: the first `workers` belong to one worker each,
    // and so on in turn; some of the further ones may be missing. `index` is the listener's
    // place in tables by listener, unique in the process.
    Listener(std::uint32_t index, const state::ListenAddress& address,
             const base::SocketAddress& bound, std::size_t workers,
             std::vector<base::Descriptor> sockets);
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

    std::uint32_t index() const { return index_; }
    // Identity in the snapshot of every generation that has the address.
    const std::string& identity() const { return identity_; }
    bool is_admin() const { return is_admin_; }
    // The bound address, with the real port.
    const base::SocketAddress& address() const { return address_; }
    // Places of sockets. The places of a worker are its index and every workers() from there.
    std::size_t places() const { return sockets_.size(); }
    std::size_t workers() const { return workers_; }
    // The socket at that place; negative where there is none, and after close().
    int socket(std::size_t place) const { return sockets_[place].get(); }
    // Closes the socket at that place, if there is one. Called by the thread of its worker, or when
    // no worker runs.
    void close(std::size_t place);
    // The kernel accepts clients from now on. Throws std::system_error. Control thread.
    void listen() const;
    // Makes `user` the owner of the sockets. Throws std::system_error. Needs root; before there are
    // workers.
    void give_to(uid_t user) const;
    // True once no worker can accept from it any more. Any thread.
    bool is_closed() const { return open_.load(std::memory_order_acquire) == 0; }
    // Completes handshakes in progress and begins no new ones. Call it a moment before close(), so
    // that the close resets no client. Control thread, while the workers' sockets are open.
    void refuse_handshakes() const;

  private:
    std::uint32_t index_;
    std::string identity_;
    bool is_admin_;
    base::SocketAddress address_;
    std::size_t workers_;
    std::vector<base::Descriptor> sockets_;
    std::atomic<std::size_t> open_;  // of them
};

// A listener for `address` with at least one socket for each of `workers`, of which the new ones do
// not listen yet. `adopted`, by place, are there already; net::adopt_listener() approved of them.
// Throws std::system_error when a socket cannot be made.
std::shared_ptr<Listener> bind_listener(std::uint32_t index, const state::ListenAddress& address,
                                        std::size_t workers,
                                        std::vector<base::Descriptor> adopted = {});

}  // namespace s3gate::proxy
