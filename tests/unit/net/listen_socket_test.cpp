#include "s3gate/net/listen_socket.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
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

base::SocketAddress address_of(const std::string& text) {
    return *base::SocketAddress::parse(text);
}

struct Option {
    int level;
    int name;
};

constexpr std::array kOptions = {
    Option{SOL_SOCKET, SO_REUSEADDR},  Option{SOL_SOCKET, SO_REUSEPORT},
    Option{SOL_SOCKET, SO_KEEPALIVE},  Option{SOL_SOCKET, SO_ACCEPTCONN},
    Option{IPPROTO_IP, IP_FREEBIND},   Option{IPPROTO_TCP, TCP_NODELAY},
    Option{IPPROTO_TCP, TCP_KEEPIDLE}, Option{IPPROTO_TCP, TCP_KEEPINTVL},
    Option{IPPROTO_TCP, TCP_KEEPCNT},  Option{IPPROTO_TCP, TCP_DEFER_ACCEPT}};

// All that a client could notice of a listening socket.
std::vector<int> settings_of(int socket) {
    std::vector<int> out;
    for (const Option& option : kOptions) {
        int value = -1;
        socklen_t length = sizeof value;
        ::getsockopt(socket, option.level, option.name, &value, &length);
        out.push_back(value);
    }
    tcp_info info{};
    socklen_t length = sizeof info;
    ::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &length);
    out.push_back(static_cast<int>(info.tcpi_sacked));  // of a listening socket: its backlog
    out.push_back(::fcntl(socket, F_GETFL));
    out.push_back(::fcntl(socket, F_GETFD));
    return out;
}

// A socket that somebody else made.
struct Foreign {
    explicit Foreign(const std::string& address, std::vector<Option> options = {},
                     int type = SOCK_STREAM) {
        sockaddr_storage storage;
        const socklen_t length = address_of(address).to_sockaddr(storage);
        socket = base::Descriptor(::socket(storage.ss_family, type, 0));
        const int one = 1;
        for (const Option& option : options) {
            ::setsockopt(socket.get(), option.level, option.name, &one, sizeof one);
        }
        EXPECT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
        if (type == SOCK_STREAM) {
            EXPECT_EQ(::listen(socket.get(), 1), 0);
        }
    }
    int fd() const { return socket.get(); }
    base::SocketAddress bound() const { return *bound_address(fd()); }

    base::Descriptor socket;
};

constexpr Option kShared{SOL_SOCKET, SO_REUSEPORT};

// Drops every packet.
void attach_filter(int socket) {
    sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
    const sock_fprog filter{1, &drop};
    ASSERT_EQ(::setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter), 0);
}

TEST(AdoptListener, MakesItEqualToAFreshOne) {
    base::SocketAddress address = address_of("127.0.0.1:0");
    const base::Descriptor fresh = listening_at(address);
    const Foreign foreign("127.0.0.1:0", {kShared, {IPPROTO_TCP, TCP_DEFER_ACCEPT}});
    attach_filter(foreign.fd());
    ASSERT_NE(Client(foreign.bound()).error, 0);
    ASSERT_NE(settings_of(foreign.fd()), settings_of(fresh.get()));
    EXPECT_EQ(adopt_listener(foreign.fd(), foreign.bound()), "");
    EXPECT_EQ(settings_of(foreign.fd()), settings_of(fresh.get()));
    EXPECT_EQ(Client(foreign.bound()).error, 0);
}

TEST(AdoptListener, ChangesNothingOfOurOwn) {
    for (const std::string text : {"127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"}) {
        base::SocketAddress address = address_of(text);
        const base::Descriptor socket = listening_at(address);
        const std::vector<int> before = settings_of(socket.get());
        EXPECT_EQ(adopt_listener(socket.get(), address), "") << text;
        EXPECT_EQ(adopt_listener(socket.get(), address_of(text)), "") << text;
        EXPECT_EQ(settings_of(socket.get()), before) << text;
    }
}

TEST(AdoptListener, RefusesWhatBindFixed) {
    const Foreign alone("127.0.0.1:0");
    EXPECT_EQ(adopt_listener(alone.fd(), alone.bound()), "it has no SO_REUSEPORT");
    const Foreign both("[::]:0", {kShared});
    EXPECT_EQ(adopt_listener(both.fd(), both.bound()), "it has no IPV6_V6ONLY");
    const Foreign shared("127.0.0.1:0", {kShared});
    EXPECT_EQ(adopt_listener(shared.fd(), address_of("127.0.0.2:0")),
              "it listens on " + shared.bound().to_string());
    EXPECT_EQ(adopt_listener(shared.fd(), address_of("127.0.0.1:1")),
              "it listens on " + shared.bound().to_string());
    EXPECT_EQ(adopt_listener(shared.fd(), address_of("0.0.0.0:0")),
              "it listens on " + shared.bound().to_string());
    EXPECT_EQ(adopt_listener(shared.fd(), shared.bound()), "");
    refuse_handshakes(shared.fd());
    EXPECT_EQ(adopt_listener(shared.fd(), shared.bound()), "it is bound to an interface");
}

TEST(AdoptListener, RefusesWhatIsNoListener) {
    const std::string reason = "it is no listening TCP socket";
    const Foreign datagrams("127.0.0.1:0", {kShared}, SOCK_DGRAM);
    EXPECT_EQ(adopt_listener(datagrams.fd(), datagrams.bound()), reason);
    const base::Descriptor unbound(::socket(AF_INET, SOCK_STREAM, 0));
    EXPECT_EQ(adopt_listener(unbound.get(), address_of("0.0.0.0:0")), reason);
    const base::Descriptor local(::socket(AF_UNIX, SOCK_STREAM, 0));
    EXPECT_EQ(adopt_listener(local.get(), address_of("127.0.0.1:0")), reason);
    const base::Descriptor file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(adopt_listener(file.get(), address_of("127.0.0.1:0")), reason);
    EXPECT_EQ(adopt_listener(-1, address_of("127.0.0.1:0")), reason);
}

TEST(ListenSockets, AreBoundWhereTheyAreMissing) {
    base::SocketAddress address = address_of("127.0.0.1:0");
    std::vector<base::Descriptor> left = bind_listeners(address, 6);
    const int second = left[1].get();
    const int last = left[5].get();
    left[0].close();
    left[4].close();
    base::SocketAddress again = address_of("127.0.0.1:0");
    const auto sockets = bind_listeners(again, 3, std::move(left));
    EXPECT_EQ(again, address) << "the port is that of the sockets that are there";
    ASSERT_EQ(sockets.size(), 6u);
    EXPECT_TRUE(sockets[0]);
    EXPECT_EQ(bound_address(sockets[0].get()), address);
    EXPECT_EQ(sockets[1].get(), second);
    EXPECT_FALSE(sockets[4]) << "no worker needs it";
    EXPECT_EQ(sockets[5].get(), last);
    start_listening(sockets);
    EXPECT_EQ(Client(address).error, 0);
}

}  // namespace
}  // namespace s3gate::net
