#include "s3gate/net/listen_socket.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

namespace s3gate::net {
namespace {

base::SocketAddress at(const char* ip, std::uint16_t port) {
    return *base::SocketAddress::parse(std::string(ip) + ":" + std::to_string(port));
}

// Over loopback a handshake is complete, or refused, when connect() returns. `error` is 0 then.
struct Client {
    explicit Client(const base::SocketAddress& address)
        : socket(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
        sockaddr_storage storage;
        const socklen_t length = address.to_sockaddr(storage);
        const auto* const name = reinterpret_cast<const sockaddr*>(&storage);
        error = ::connect(socket.get(), name, length) == 0 ? 0 : errno;
        if (error == EINPROGRESS) {
            error = ::connect(socket.get(), name, length) == 0 || errno == EISCONN ? 0 : errno;
        }
    }
    base::Descriptor socket;
    int error = 0;
};

TEST(ListenSockets, ShareOnePortAndKeepAStrangerOut) {
    base::SocketAddress address = *base::SocketAddress::parse("127.0.0.1:0");
    std::vector<base::Descriptor> sockets = bind_listeners(address, 3);
    start_listening(sockets);
    ASSERT_EQ(sockets.size(), 3u);
    EXPECT_NE(address.port(), 0);
    for (const base::Descriptor& socket : sockets) {
        sockaddr_storage storage;
        socklen_t length = sizeof storage;
        ASSERT_EQ(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&storage), &length), 0);
        EXPECT_EQ(base::SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), length),
                  address);
    }
    EXPECT_FALSE(probe_bind(address).error.empty())
        << "a second instance would silently share the traffic";
    EXPECT_EQ(bind_error(address), probe_bind(address).error);
    sockets.clear();
    EXPECT_EQ(bind_error(address), "");
    const ProbeResult free = probe_bind(address);
    EXPECT_EQ(free.error, "");
    EXPECT_FALSE(free.no_ipv6);
}

TEST(ListenSockets, OneThatIsOnlyBoundHasNoQueue) {
    base::SocketAddress address = at("127.0.0.1", 0);
    const std::vector<base::Descriptor> sockets = bind_listeners(address, 2);
    EXPECT_EQ(Client(address).error, ECONNREFUSED) << "nobody can be reset by its close";
    start_listening(sockets);
    EXPECT_EQ(Client(address).error, 0);
}

}  // namespace
}  // namespace s3gate::net
