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

base::Descriptor listening_at(base::SocketAddress& address) {
    std::vector<base::Descriptor> sockets = bind_listeners(address, 1);
    start_listening(sockets);
    return std::move(sockets.front());
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

bool accepts(const base::Descriptor& listener) {
    return bool(base::Descriptor(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)));
}

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

// A SYN that is lost costs its client a second.
TEST(ListenSockets, OneThatLeavesGivesItsClientsToTheWildcardAtOnce) {
    base::SocketAddress wildcard = at("0.0.0.0", 0);
    const base::Descriptor stays = listening_at(wildcard);
    base::SocketAddress address = at("127.0.0.1", wildcard.port());
    const base::Descriptor leaves = listening_at(address);
    const Client early(address);
    refuse_handshakes(leaves.get());
    const Client late(address);
    EXPECT_EQ(early.error, 0);
    EXPECT_EQ(late.error, 0);
    EXPECT_TRUE(accepts(leaves)) << "whose handshake was complete";
    EXPECT_FALSE(accepts(leaves));
    EXPECT_TRUE(accepts(stays));
}

TEST(ListenSockets, OneThatLeavesAloneRefuses) {
    base::SocketAddress address = at("127.0.0.1", 0);
    const base::Descriptor leaves = listening_at(address);
    const Client early(address);
    refuse_handshakes(leaves.get());
    EXPECT_EQ(Client(address).error, ECONNREFUSED);
    EXPECT_EQ(early.error, 0);
    EXPECT_TRUE(accepts(leaves));
}

}  // namespace
}  // namespace s3gate::net
