#include "s3gate/proxy/listener.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "s3gate/net/listen_socket.hpp"

namespace s3gate::proxy {

Listener::Listener(std::uint32_t index, const state::ListenAddress& address,
                   const base::SocketAddress& bound, std::size_t workers,
                   std::vector<base::Descriptor> sockets)
    : index_(index),
      identity_(address.identity),
      is_admin_(address.is_admin),
      address_(bound),
      workers_(workers),
      sockets_(std::move(sockets)),
      open_(static_cast<std::size_t>(
          std::ranges::count_if(sockets_, &base::Descriptor::operator bool))) {}

void Listener::close(std::size_t place) {
    if (sockets_[place]) {
        sockets_[place].close();
        open_.fetch_sub(1, std::memory_order_release);
    }
}

void Listener::refuse_handshakes() const {
    for (const base::Descriptor& socket : sockets_) {
        net::refuse_handshakes(socket.get());
    }
}

void Listener::give_to(uid_t user) const {
    for (const base::Descriptor& socket : sockets_) {
        if (socket && ::fchown(socket.get(), user, static_cast<gid_t>(-1)) != 0) {
            throw std::system_error(errno, std::generic_category(), "owner of a socket");
        }
    }
}

void Listener::listen() const {
    net::start_listening(sockets_);
}

std::shared_ptr<Listener> bind_listener(std::uint32_t index, const state::ListenAddress& address,
                                        std::size_t workers,
                                        std::vector<base::Descriptor> adopted) {
    base::SocketAddress bound = address.address;
    std::vector<base::Descriptor> sockets = net::bind_listeners(bound, workers, std::move(adopted));
    return std::make_shared<Listener>(index, address, bound, workers, std::move(sockets));
}

}  // namespace s3gate::proxy
