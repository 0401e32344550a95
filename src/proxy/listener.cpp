#include "s3gate/proxy/listener.hpp"

#include <utility>

#include "s3gate/net/listen_socket.hpp"

namespace s3gate::proxy {

Listener::Listener(std::uint32_t index, const state::Address& address,
                   const base::SocketAddress& bound, std::vector<base::Descriptor> sockets)
    : index_(index),
      identity_(address.identity),
      address_(bound),
      sockets_(std::move(sockets)),
      open_(sockets_.size()) {}

void Listener::close(std::size_t worker) {
    if (sockets_[worker]) {
        sockets_[worker].close();
        open_.fetch_sub(1, std::memory_order_release);
    }
}

void Listener::refuse_handshakes() const {
    for (const base::Descriptor& socket : sockets_) {
        net::refuse_handshakes(socket.get());
    }
}

void Listener::listen() const {
    net::start_listening(sockets_);
}

std::shared_ptr<Listener> bind_listener(std::uint32_t index, const state::Address& address,
                                        std::size_t workers) {
    base::SocketAddress bound = address.address;
    std::vector<base::Descriptor> sockets = net::bind_listeners(bound, workers);
    return std::make_shared<Listener>(index, address, bound, std::move(sockets));
}

}  // namespace s3gate::proxy
