#include "admin_listeners.hpp"

#include <spdlog/fmt/fmt.h>
#include <sys/socket.h>

#include <cstddef>
#include <optional>
#include <utility>

#include "s3gate/net/listen_socket.hpp"

namespace s3gate::control {
namespace {

std::optional<base::SocketAddress> peer_of(int socket) {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    auto* const address = reinterpret_cast<sockaddr*>(&storage);
    return ::getpeername(socket, address, &length) == 0
               ? base::SocketAddress::from_sockaddr(address, length)
               : std::nullopt;
}

}  // namespace

struct AdminListeners::Rule {
    // nullopt for a client that may not connect, or has gone.
    std::optional<Asker> recognize(int socket) {
        const auto peer = peer_of(socket);
        const auto own = net::bound_address(socket);
        if (!peer || !own) {
            return std::nullopt;
        }
        std::string name = peer->ip().to_string();
        if (!base::contains(allow, peer->ip())) {
            commands.lines().note({.topic = Topic::denied,
                                   .text = fmt::format("admin.listen: a connection from {} is "
                                                       "closed: not in admin.allow",
                                                       name)},
                                  base::Clock::now());
            return std::nullopt;
        }
        return Asker{.rights = Rights::only_look,
                     .name = std::move(name),
                     .own_names = OwnNames{own->ip(), host}};
    }

    Commands& commands;
    std::string host;
    std::vector<base::Cidr> allow = {};
};

AdminListeners::AdminListeners(boost::asio::io_context& context, Commands& commands,
                               std::string host)
    : context_(context),
      door_(std::make_shared<AdminDoor>(commands)),
      rule_(std::make_shared<Rule>(commands, std::move(host))) {}

AdminListeners::~AdminListeners() {
    while (!open_.empty()) {
        close(*open_.begin()->second.listener);
    }
}

void AdminListeners::use(const std::vector<std::shared_ptr<proxy::Listener>>& listeners,
                         std::vector<base::Cidr> allow) {
    rule_->allow = std::move(allow);
    const auto recognize = [rule = rule_](int socket) { return rule->recognize(socket); };
    for (const auto& listener : listeners) {
        const auto [place, is_new] = open_.try_emplace(listener.get(), Open{listener, {}});
        for (std::size_t i = 0; is_new && i < listener->places(); ++i) {
            if (listener->socket(i) >= 0) {
                place->second.acceptors.push_back(std::make_unique<AdminAcceptor>(
                    context_, listener->socket(i), door_, recognize));
            }
        }
    }
}

void AdminListeners::close(proxy::Listener& listener) {
    if (!listener.is_admin()) {
        return;
    }
    const auto open = open_.extract(&listener);
    if (open) {
        open.mapped().acceptors.clear();
    }
    for (std::size_t i = 0; i < listener.places(); ++i) {
        listener.close(i);
    }
}

}  // namespace s3gate::control
