// Parked connections: the pool lends only silent ones. Otherwise late bytes would become the answer
// to another request.
#include "s3gate/net/backend_pool.hpp"

#include <netinet/tcp.h>

#include <optional>
#include <vector>

#include "loop.hpp"
#include "s3gate/net/listen_socket.hpp"

namespace s3gate::net {
namespace {

struct Pools : testing::Test {
    BackendLease connection(std::uint32_t slot, Fd& peer) {
        TcpPair pair;
        auto lease = std::make_unique<BackendConnection>(loop.reactor, pool, slot);
        EXPECT_TRUE(lease->stream.open(pair.ours.release()));
        loop.settle();
        peer = std::move(pair.theirs);
        return lease;
    }
    bool is_closed(const Fd& peer) {
        std::string bytes;
        return loop.run_until([&] {
            const Received received = receive_some(peer, bytes, 16);
            return received == Received::end || received == Received::reset;
        });
    }
    bool is_alive(const Fd& peer) {
        std::string bytes;
        loop.settle();
        return receive_some(peer, bytes, 16) == Received::nothing;
    }

    Loop loop;
    BackendPool pool{loop.reactor};
    Fd peers[4];
};

TEST_F(Pools, LendTheLatestFirst) {
    BackendConnection* parked[3];
    for (int i = 0; i < 3; ++i) {
        BackendLease lease = connection(7, peers[i]);
        parked[i] = lease.get();
        pool.park(std::move(lease), 10, 1000);
    }
    EXPECT_EQ(pool.parked(), 3u);
    EXPECT_EQ(pool.take(6, 0), nullptr);
    EXPECT_EQ(pool.take(8, 0), nullptr);
    for (int i = 2; i >= 0; --i) {
        const BackendLease lease = pool.take(7, 0);
        EXPECT_EQ(lease.get(), parked[i]);
        EXPECT_EQ(lease->slot(), 7u);
        EXPECT_TRUE(lease->stream.is_silent());
    }
    EXPECT_EQ(pool.parked(), 0u);
    EXPECT_EQ(pool.take(7, 0), nullptr);
}

TEST_F(Pools, CloseTheOldestBeyondTheLimit) {
    for (int i = 0; i < 3; ++i) {
        pool.park(connection(0, peers[i]), 2, 1000);
    }
    EXPECT_EQ(pool.parked(), 2u);
    EXPECT_TRUE(is_closed(peers[0]));
    EXPECT_TRUE(is_alive(peers[1]));
    EXPECT_TRUE(is_alive(peers[2]));
    pool.park(connection(0, peers[3]), 0, 1000);
    EXPECT_EQ(pool.parked(), 2u) << "a limit of 0 parks nothing";
    EXPECT_TRUE(is_closed(peers[3]));
}

// A header of the PROXY protocol names the client of all that follows on the connection.
TEST_F(Pools, LendWithAPreambleOnlyToTheSame) {
    for (int i = 0; i < 4; ++i) {
        BackendLease lease = connection(3, peers[i]);
        lease->preamble = i == 3 ? "" : i == 1 ? "of b" : "of a";
        pool.park(std::move(lease), 10, 1000);
    }
    EXPECT_EQ(pool.parked(), 4u);
    EXPECT_EQ(pool.take_own(3, 0, "of c"), nullptr);
    EXPECT_EQ(pool.take_own(4, 0, "of a"), nullptr);
    const BackendLease plain = pool.take(3, 0);
    ASSERT_TRUE(plain);
    EXPECT_EQ(plain->preamble, "");
    EXPECT_EQ(pool.take(3, 0), nullptr) << "the others carry somebody's name";
    for (const char* preamble : {"of a", "of b", "of a"}) {
        const BackendLease own = pool.take_own(3, 0, preamble);
        ASSERT_TRUE(own);
        EXPECT_EQ(own->preamble, preamble);
    }
    EXPECT_EQ(pool.parked(), 0u);
}

TEST_F(Pools, CloseThoseWithAPreambleLikeAllOthers) {
    for (int i = 0; i < 4; ++i) {
        BackendLease lease = connection(3, peers[i]);
        lease->preamble = i % 2 == 0 ? "of a" : "of b";
        pool.park(std::move(lease), 3, 1000);
    }
    EXPECT_EQ(pool.parked(), 3u);
    EXPECT_TRUE(is_closed(peers[0])) << "the limit holds for all clients together";
    peers[2] = Fd();
    EXPECT_TRUE(loop.run_until([&] { return pool.parked() == 2; }));
    EXPECT_EQ(pool.take_own(3, 0, "of a"), nullptr);
    pool.drop(3);
    EXPECT_EQ(pool.parked(), 0u);
    EXPECT_TRUE(is_closed(peers[1]));
    EXPECT_TRUE(is_closed(peers[3]));
}

TEST_F(Pools, HoldATotalLimit) {
    pool.set_total_limit(2);
    pool.park(connection(0, peers[0]), 10, 1000);
    pool.park(connection(1, peers[1]), 10, 1000);
    pool.park(connection(2, peers[2]), 10, 1000);
    EXPECT_EQ(pool.parked(), 2u) << "another slot has no older one of its own to close";
    EXPECT_TRUE(is_closed(peers[2]));
    pool.park(connection(1, peers[3]), 10, 1000);
    EXPECT_EQ(pool.parked(), 2u);
    EXPECT_TRUE(is_closed(peers[1])) << "the older one of the same slot";
    EXPECT_TRUE(is_alive(peers[0]));
}

TEST_F(Pools, CloseAConnectionThatSpeaksWhileParked) {
    pool.park(connection(0, peers[0]), 10, 1000);
    pool.park(connection(0, peers[1]), 10, 1000);
    ASSERT_EQ(::send(peers[0].get(), "HTTP/1.1 408 \r\n", 15, 0), 15);
    EXPECT_TRUE(loop.run_until([&] { return pool.parked() == 1; }));
    EXPECT_TRUE(is_closed(peers[0]));
    EXPECT_TRUE(is_alive(peers[1]));
}

TEST_F(Pools, CloseAConnectionThatIsClosedWhileParked) {
    pool.park(connection(0, peers[0]), 10, 1000);
    pool.park(connection(0, peers[1]), 10, 1000);
    peers[1].close();
    EXPECT_TRUE(loop.run_until([&] { return pool.parked() == 1; }));
    peers[0].close_with_reset();
    EXPECT_TRUE(loop.run_until([&] { return pool.parked() == 0; }));
    EXPECT_EQ(pool.take(0, 0), nullptr);
}

TEST_F(Pools, ParkNothingThatIsNotSilent) {
    BackendLease spoken = connection(0, peers[0]);
    ASSERT_EQ(::send(peers[0].get(), "x", 1, 0), 1);
    ASSERT_TRUE(loop.run_until([&] { return spoken->stream.is_readable(); }));
    pool.park(std::move(spoken), 10, 1000);
    EXPECT_EQ(pool.parked(), 0u);
    EXPECT_TRUE(is_closed(peers[0]));

    BackendLease finished = connection(0, peers[1]);
    ASSERT_EQ(::shutdown(peers[1].get(), SHUT_WR), 0);
    ASSERT_TRUE(loop.run_until([&] { return finished->stream.peer_finished(); }));
    pool.park(std::move(finished), 10, 1000);
    EXPECT_EQ(pool.parked(), 0u);

    BackendLease closed = connection(0, peers[2]);
    closed->stream.close();
    pool.park(std::move(closed), 10, 1000);
    EXPECT_EQ(pool.parked(), 0u);
}

TEST_F(Pools, ALentConnectionIsNotThePoolsAnyMore) {
    pool.park(connection(0, peers[0]), 10, 2);
    const BackendLease lease = pool.take(0, 0);
    ASSERT_TRUE(lease);
    ASSERT_EQ(::send(peers[0].get(), "answer", 6, 0), 6);
    ASSERT_TRUE(loop.run_until([&] { return lease->stream.is_readable(); }));
    char buffer[16];
    EXPECT_EQ(lease->stream.receive(buffer, sizeof buffer), 6);
    const Tick now = loop.reactor.now();
    ASSERT_TRUE(loop.run_until([&] { return loop.reactor.now() > now + 4; }))
        << "past its idle time";
    EXPECT_TRUE(is_alive(peers[0]));
}

TEST_F(Pools, CloseAfterTheIdleTime) {
    pool.park(connection(0, peers[0]), 10, 1);
    pool.park(connection(0, peers[1]), 10, 1000);
    EXPECT_TRUE(loop.run_until([&] { return pool.parked() == 1; }));
    EXPECT_TRUE(is_closed(peers[0]));
    EXPECT_TRUE(is_alive(peers[1]));
}

TEST_F(Pools, WritesGetOnlyFreshOnes) {
    BackendLease lease = connection(0, peers[0]);
    BackendConnection* raw = lease.get();
    loop.reactor.refresh_clock();
    pool.park(std::move(lease), 10, 1000);
    EXPECT_EQ(raw->last_used_ms, loop.reactor.now_ms());
    raw->last_used_ms -= 6000;
    EXPECT_EQ(pool.take(0, 5000), nullptr);
    EXPECT_EQ(pool.parked(), 1u) << "stays for others";
    lease = pool.take(0, 0);
    EXPECT_EQ(lease.get(), raw) << "reads do not mind";
    pool.park(std::move(lease), 10, 1000);
    lease = pool.take(0, 5000);
    EXPECT_EQ(lease.get(), raw) << "parking is a use";
}

TEST_F(Pools, DropASlotOrAll) {
    pool.park(connection(0, peers[0]), 10, 1000);
    pool.park(connection(1, peers[1]), 10, 1000);
    pool.park(connection(1, peers[2]), 10, 1000);
    pool.drop(9);
    pool.drop(1);
    EXPECT_EQ(pool.parked(), 1u);
    EXPECT_TRUE(is_closed(peers[1]));
    EXPECT_TRUE(is_closed(peers[2]));
    EXPECT_TRUE(is_alive(peers[0]));
    pool.drop_all();
    EXPECT_EQ(pool.parked(), 0u);
    EXPECT_TRUE(is_closed(peers[0]));
    pool.park(connection(1, peers[3]), 10, 1000);
    EXPECT_EQ(pool.parked(), 1u) << "and goes on";
}

detached connect_to(BackendConnection& connection, base::SocketAddress address, Tick timeout,
                    std::optional<ConnectEnd>& end) {
    end = co_await connect_backend(connection, address, timeout);
}

int option(int fd, int level, int name) {
    int value = -1;
    socklen_t length = sizeof value;
    EXPECT_EQ(::getsockopt(fd, level, name, &value, &length), 0);
    return value;
}

base::Descriptor listening_at(base::SocketAddress& address) {
    std::vector<base::Descriptor> sockets = bind_listeners(address, 1);
    start_listening(sockets);
    return std::move(sockets.front());
}

struct Connects : testing::Test {
    ConnectEnd run(Tick timeout) {
        std::optional<ConnectEnd> end;
        connect_to(connection, address, timeout, end);
        EXPECT_TRUE(loop.run_until([&] { return end.has_value(); }));
        return end.value_or(ConnectEnd::no_descriptor);
    }
    Loop loop;
    BackendPool pool{loop.reactor};
    BackendConnection connection{loop.reactor, pool, 0};
    base::SocketAddress address = *base::SocketAddress::parse("127.0.0.1:0");
};

TEST_F(Connects, OpenWithTheOptionsOfTheDesign) {
    const base::Descriptor listener = listening_at(address);
    ASSERT_EQ(run(20), ConnectEnd::connected);
    const int fd = connection.stream.descriptor();
    EXPECT_EQ(option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    EXPECT_EQ(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    EXPECT_EQ(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 5);
    EXPECT_EQ(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 2);
    EXPECT_EQ(option(fd, IPPROTO_TCP, TCP_KEEPCNT), 3);
    EXPECT_EQ(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 10000);
    EXPECT_NE(::fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    loop.settle();
    EXPECT_TRUE(connection.stream.is_silent()) << "a fresh connection has said nothing";
    EXPECT_TRUE(connection.stream.is_writable());
    const Fd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    const iovec piece{const_cast<char*>("hi"), 2};
    EXPECT_EQ(connection.stream.send(&piece, 1, false), 2);
    std::string bytes;
    EXPECT_TRUE(loop.run_until([&] { return receive_some(accepted, bytes) == Received::bytes; }));
    EXPECT_EQ(bytes, "hi");
}

TEST_F(Connects, AreRefusedByADeadAddress) {
    {
        const base::Descriptor listener = listening_at(address);
    }
    EXPECT_EQ(run(20), ConnectEnd::refused);
    EXPECT_FALSE(connection.stream.is_open());
}

TEST_F(Connects, TimeOutWhereNobodyAnswers) {
    // A listener whose queue is full drops further connection attempts.
    Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage storage;
    socklen_t length = address.to_sockaddr(storage);
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
    ASSERT_EQ(::listen(listener.get(), 0), 0);
    ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&storage), &length), 0);
    address = *base::SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), length);
    Fd fillers[4];
    for (Fd& filler : fillers) {
        filler = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        ::connect(filler.get(), reinterpret_cast<sockaddr*>(&storage), length);
    }
    const Tick begin = loop.reactor.now();
    EXPECT_EQ(run(1), ConnectEnd::timed_out);
    EXPECT_GE(loop.reactor.now() - begin, 1u);
    EXPECT_FALSE(connection.stream.is_open());

    std::optional<ConnectEnd> end;
    connect_to(connection, address, 1000, end);
    EXPECT_FALSE(end);
    connection.stream.interrupt_write();
    ASSERT_TRUE(loop.run_until([&] { return end.has_value(); }));
    EXPECT_EQ(*end, ConnectEnd::interrupted);
}

}  // namespace
}  // namespace s3gate::net
