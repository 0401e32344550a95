#include "s3gate/proxy/listener.hpp"

#include <unistd.h>

#include <utility>

#include "s3gate/net/listen_socket.hpp"

namespace s3gate::proxy {

Listener::Listener(std::uint32_t index, const state::Address& address,
                   const base::SocketAddress& bound, std::vector<int> sockets)
    : index_(index), identity_(address.identity), address_(bound), sockets_(std::move(sockets)) {}

Listener::~Listener() {
    for (std::size_t worker = 0; worker < sockets_.size(); ++worker) {
        close(worker);
    }
}

void Listener::close(std::size_t worker) {
    if (const int socket = std::exchange(sockets_[worker], -1); socket >= 0) {
        ::close(socket);
    }
}

std::shared_ptr<Listener> listen_on(std::uint32_t index, const state::Address& address,
                                    std::size_t workers) {
    base::SocketAddress bound = address.address;
    std::vector<int> sockets = net::open_listeners(bound, workers);
    return std::make_shared<Listener>(index, address, bound, std::move(sockets));
}

}  // namespace s3gate::proxy
