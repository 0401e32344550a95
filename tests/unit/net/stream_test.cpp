#include "s3gate/net/stream.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "loop.hpp"
#include "s3gate/net/task.hpp"

namespace s3gate::net {
namespace {

detached wait_readable(Stream& stream, Tick timeout, std::optional<Wake>& wake) {
    wake = co_await stream.readable(timeout);
}
detached wait_writable(Stream& stream, Tick timeout, std::optional<Wake>& wake) {
    wake = co_await stream.writable(timeout);
}

struct Streams : testing::Test {
    void SetUp() override {
        ASSERT_TRUE(stream.open(pair.ours.release()));
        loop.settle();
    }
    void send(std::string_view bytes) {
        ASSERT_EQ(::send(pair.theirs.get(), bytes.data(), bytes.size(), 0),
                  static_cast<ssize_t>(bytes.size()));
    }
    // Sends each byte in a packet of its own.
    void send_twenty_that_nobody_reads() {
        const int on = 1;
        ASSERT_EQ(::setsockopt(pair.theirs.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
        for (int i = 0; i < 20; ++i) {
            send("x");
            loop.settle();
        }
    }
    void send_until_full_and_room_again() {
        const std::string block(1 << 20, 'x');
        const iovec piece{const_cast<char*>(block.data()), block.size()};
        while (stream.send(&piece, 1, false) > 0) {
        }
        EXPECT_EQ(errno, EAGAIN);
        std::optional<Wake> write;
        wait_writable(stream, 100, write);
        std::string sink;
        ASSERT_TRUE(loop.run_until([&] {
            receive_some(pair.theirs, sink, 1 << 20);
            return write.has_value();
        }));
        EXPECT_EQ(*write, Wake::ready);
        EXPECT_GT(stream.send(&piece, 1, false), 0);
    }
    bool run_until_readable() {
        return loop.run_until([&] { return stream.is_readable(); });
    }
    ssize_t receive(std::size_t size) { return stream.receive(buffer, size); }

    Loop loop;
    TcpPair pair;
    Stream stream{loop.reactor};
    char buffer[64] = {};
};

TEST_F(Streams, KnowWithoutACallWhenThereIsNothing) {
    EXPECT_TRUE(stream.is_silent());
    EXPECT_EQ(receive(10), -1);
    EXPECT_EQ(errno, EAGAIN);
    send("hello");
    ASSERT_TRUE(run_until_readable());
    EXPECT_FALSE(stream.is_silent());
    EXPECT_EQ(receive(3), 3);
    EXPECT_TRUE(stream.is_readable()) << "a full read may have left bytes";
    EXPECT_EQ(receive(10), 2);
    EXPECT_FALSE(stream.is_readable()) << "a short read has drained the socket";
    EXPECT_TRUE(stream.is_silent());
    send("x");
    ASSERT_TRUE(run_until_readable());
    EXPECT_EQ(receive(10), 1);
}

TEST_F(Streams, ReceiveIntoSeveralPlaces) {
    char first[3];
    char second[4];
    const auto receive_both = [&] {
        iovec places[] = {{first, sizeof first}, {second, sizeof second}};
        return stream.receive(places, 2);
    };
    EXPECT_EQ(receive_both(), -1);
    EXPECT_EQ(errno, EAGAIN);
    send("abcdefghi");
    ASSERT_TRUE(run_until_readable());
    EXPECT_EQ(receive_both(), 7);
    EXPECT_EQ(std::string_view(first, 3), "abc");
    EXPECT_EQ(std::string_view(second, 4), "defg");
    EXPECT_TRUE(stream.is_readable()) << "both full: there may be more";
    EXPECT_EQ(receive_both(), 2);
    EXPECT_EQ(std::string_view(first, 2), "hi");
    EXPECT_FALSE(stream.is_readable()) << "a short read has drained the socket";
    ASSERT_EQ(::shutdown(pair.theirs.get(), SHUT_WR), 0);
    ASSERT_TRUE(loop.run_until([&] { return stream.peer_finished(); }));
    EXPECT_EQ(receive_both(), 0);
    EXPECT_EQ(receive_both(), 0);
}

TEST_F(Streams, SendPiecesInTheirOrderHoweverLongTheyAre) {
    std::string text = bytes_of(9000);
    // Pieces of up to 4096 bytes go out as one.
    for (const std::size_t size : {1, 2, 4095, 4096, 4097, 9000}) {
        for (const std::size_t length : {size, size / 2 + 1, std::size_t{997}}) {
            std::vector<iovec> pieces;
            for (std::size_t at = 0; at < size; at += length) {
                pieces.push_back({text.data() + at, std::min(length, size - at)});
                pieces.push_back({nullptr, 0});
            }
            ASSERT_EQ(stream.send(pieces.data(), pieces.size(), false), static_cast<ssize_t>(size));
            std::string arrived;
            ASSERT_TRUE(loop.run_until([&] {
                receive_some(pair.theirs, arrived);
                return arrived.size() >= size;
            }));
            EXPECT_EQ(arrived, text.substr(0, size)) << size << " in pieces of " << length;
        }
    }
}

TEST_F(Streams, SendNothingForNothing) {
    const iovec none[2] = {};
    EXPECT_EQ(stream.send(none, std::size(none), false), 0);
    loop.settle();
    std::string arrived;
    EXPECT_EQ(receive_some(pair.theirs, arrived), Received::nothing);
}

TEST(StreamSend, SaysHowMuchOfThePiecesWentOut) {
    Loop loop;
    // The smallest size that the kernel allows, so it takes parts.
    TcpPair pair({.ours_send = 1, .theirs_receive = 1});
    Stream stream(loop.reactor);
    ASSERT_TRUE(stream.open(pair.ours.release()));
    std::string text = bytes_of(4000);
    const iovec pieces[] = {{text.data(), 1000}, {text.data() + 1000, 3000}};
    std::string sent;
    for (;;) {
        const ssize_t moved = stream.send(pieces, std::size(pieces), false);
        if (moved < 0) {
            EXPECT_EQ(errno, EAGAIN);
            break;
        }
        sent.append(text, 0, static_cast<std::size_t>(moved));
    }
    std::string arrived;
    ASSERT_TRUE(loop.run_until([&] {
        receive_some(pair.theirs, arrived);
        return arrived.size() >= sent.size();
    }));
    loop.settle();
    EXPECT_EQ(receive_some(pair.theirs, arrived), Received::nothing);
    EXPECT_EQ(arrived, sent);
}

TEST_F(Streams, SendNothingBehindASendThatFailed) {
    pair.theirs.close_with_reset();
    ASSERT_TRUE(stream.is_writable()) << "the loop has not told it of the reset";
    const iovec piece{const_cast<char*>("x"), 1};
    EXPECT_EQ(stream.send(&piece, 1, false), -1);
    EXPECT_EQ(errno, ECONNRESET);
    EXPECT_TRUE(stream.is_broken());
    EXPECT_FALSE(stream.is_writable());
    EXPECT_EQ(stream.send(&piece, 1, false), -1);
    EXPECT_EQ(errno, EPIPE);
}

TEST_F(Streams, TellAnEndAgainAndAgain) {
    send("bye");
    ASSERT_EQ(::shutdown(pair.theirs.get(), SHUT_WR), 0);
    ASSERT_TRUE(loop.run_until([&] { return stream.peer_finished(); }));
    EXPECT_EQ(receive(10), 3) << "bytes before the end first";
    EXPECT_EQ(receive(10), 0);
    EXPECT_EQ(receive(10), 0);
    EXPECT_FALSE(stream.is_silent());
    EXPECT_FALSE(stream.is_broken()) << "a half-closed peer may still read";
    const iovec piece{buffer, 1};
    EXPECT_EQ(stream.send(&piece, 1, false), 1);
}

TEST_F(Streams, NeverTakeAResetForAnEnd) {
    pair.theirs.close_with_reset();
    ASSERT_TRUE(loop.run_until([&] { return stream.is_broken(); }));
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(receive(10), -1);
        EXPECT_EQ(errno, ECONNRESET);
    }
    EXPECT_FALSE(stream.is_silent());
}

TEST_F(Streams, WakeTheirWaiter) {
    std::optional<Wake> wake;
    wait_readable(stream, 100, wake);
    EXPECT_TRUE(stream.has_reader());
    loop.settle();
    EXPECT_FALSE(wake);
    send("x");
    ASSERT_TRUE(loop.run_until([&] { return wake.has_value(); }));
    EXPECT_EQ(*wake, Wake::ready);
    EXPECT_FALSE(stream.has_reader());
    wake.reset();
    wait_readable(stream, 100, wake);
    EXPECT_EQ(wake, Wake::ready) << "bytes are still there: no wait";
}

TEST_F(Streams, TimeOutInTicks) {
    std::optional<Wake> wake;
    const Tick begin = loop.reactor.now();
    wait_readable(stream, 1, wake);
    ASSERT_TRUE(loop.run_until([&] { return wake.has_value(); }));
    EXPECT_EQ(*wake, Wake::timed_out);
    EXPECT_GE(loop.reactor.now() - begin, 1u);
    EXPECT_TRUE(stream.is_open()) << "the owner decides what a timeout means";
}

TEST_F(Streams, CanBeInterrupted) {
    std::optional<Wake> read;
    wait_readable(stream, 100, read);
    stream.interrupt_read();
    EXPECT_FALSE(read) << "later, not inside the call";
    ASSERT_TRUE(loop.run_until([&] { return read.has_value(); }));
    EXPECT_EQ(*read, Wake::interrupted);
    stream.interrupt_read();  // no coroutine waits
    stream.interrupt_write();
    loop.settle();
}

TEST_F(Streams, WakeBothSidesWhenTheyClose) {
    // Fills the send buffer so that the write side must wait.
    const std::string block(1 << 20, 'x');
    const iovec piece{const_cast<char*>(block.data()), block.size()};
    while (stream.send(&piece, 1, false) > 0) {
    }
    ASSERT_EQ(errno, EAGAIN);
    EXPECT_FALSE(stream.is_writable());
    std::optional<Wake> read;
    std::optional<Wake> write;
    wait_readable(stream, 100, read);
    wait_writable(stream, 100, write);
    EXPECT_TRUE(stream.has_writer());
    stream.close();
    EXPECT_FALSE(stream.is_open());
    ASSERT_TRUE(loop.run_until([&] { return read && write; }));
    EXPECT_EQ(*read, Wake::interrupted);
    EXPECT_EQ(*write, Wake::interrupted);
    EXPECT_EQ(stream.send(&piece, 1, false), -1);
    EXPECT_EQ(receive(1), -1);
}

TEST_F(Streams, BecomeWritableWhenTheReaderCatchesUp) {
    send_until_full_and_room_again();
}

struct Observer final : StreamObserver {
    void on_stream_event() override { ++events; }
    int events = 0;
};

TEST_F(Streams, TellAnObserverWhatNobodyWaitsFor) {
    Observer observer;
    stream.set_observer(&observer);
    loop.settle();
    EXPECT_EQ(observer.events, 0);
    send("x");
    ASSERT_TRUE(loop.run_until([&] { return observer.events > 0; }));
    EXPECT_EQ(receive(10), 1);
    const int before = observer.events;
    std::optional<Wake> wake;
    wait_readable(stream, 100, wake);
    send("y");
    ASSERT_TRUE(loop.run_until([&] { return wake.has_value(); }));
    EXPECT_EQ(observer.events, before) << "somebody waited";
    EXPECT_EQ(receive(10), 1);
    stream.arm_idle(1);
    ASSERT_TRUE(loop.run_until([&] { return observer.events == before + 1; }))
        << "the idle deadline";
    stream.arm_idle(1);
    stream.disarm_idle();
    const Tick now = loop.reactor.now();
    ASSERT_TRUE(loop.run_until([&] { return loop.reactor.now() > now + 3; }));
    EXPECT_EQ(observer.events, before + 1);
    stream.set_observer(nullptr);
}

// Input after unread bytes is not reported forever, and no byte is lost.
TEST_F(Streams, AreNotToldOfEveryByteThatNobodyReads) {
    Observer observer;
    stream.set_observer(&observer);
    send_twenty_that_nobody_reads();
    const int told = observer.events;
    EXPECT_GE(told, 1);
    EXPECT_LE(told, 5);
    // A partial read, more input, and the rest: nothing was missed.
    EXPECT_EQ(receive(5), 5);
    send("yy");
    loop.settle();
    EXPECT_EQ(observer.events, told);
    EXPECT_EQ(receive(64), 17);
    EXPECT_FALSE(stream.is_readable());
    std::optional<Wake> wake;
    wait_readable(stream, 100, wake);
    send("z");
    ASSERT_TRUE(loop.run_until([&] { return wake.has_value(); }));
    EXPECT_EQ(*wake, Wake::ready);
    EXPECT_EQ(receive(64), 1);
    stream.set_observer(nullptr);
}

// Input between the last read and the wait is reported as well.
TEST_F(Streams, HearAgainAsSoonAsAllIsRead) {
    send_twenty_that_nobody_reads();
    EXPECT_EQ(receive(20), 20) << "a full read: nobody knows whether that was all";
    EXPECT_TRUE(stream.is_readable());
    EXPECT_EQ(receive(20), -1);
    EXPECT_EQ(errno, EAGAIN);
    send("y");
    std::optional<Wake> wake;
    wait_readable(stream, 100, wake);
    ASSERT_TRUE(loop.run_until([&] { return wake.has_value(); }));
    EXPECT_EQ(*wake, Wake::ready);
    EXPECT_EQ(receive(20), 1);
}

// A connection that is parked afterwards still gets events.
TEST_F(Streams, HearAgainWhenTheySettle) {
    send_twenty_that_nobody_reads();
    EXPECT_EQ(receive(20), 20);
    EXPECT_TRUE(stream.is_readable());
    EXPECT_TRUE(stream.settle());
    Observer observer;
    stream.set_observer(&observer);
    send("y");
    EXPECT_TRUE(loop.run_until([&] { return observer.events > 0; }));
    EXPECT_FALSE(stream.is_silent());
    stream.set_observer(nullptr);
}

// An end and a reset are reported despite unread bytes.
TEST_F(Streams, AreToldOfAnEndBehindBytesThatNobodyReads) {
    send_twenty_that_nobody_reads();
    EXPECT_FALSE(stream.peer_finished());
    ::shutdown(pair.theirs.get(), SHUT_WR);
    ASSERT_TRUE(loop.run_until([&] { return stream.peer_finished(); }));
    EXPECT_FALSE(stream.is_broken());
    pair.theirs.close_with_reset();
    ASSERT_TRUE(loop.run_until([&] { return stream.is_broken(); }));
}

// Also then a waiting sender is told of room.
TEST_F(Streams, BecomeWritableBehindBytesThatNobodyReads) {
    send_twenty_that_nobody_reads();
    send_until_full_and_room_again();
    EXPECT_EQ(receive(64), 20);
}

TEST_F(Streams, SayHowTheyClose) {
    std::string sink;
    stream.shutdown_write();
    ASSERT_TRUE(loop.run_until([&] { return receive_some(pair.theirs, sink) == Received::end; }));
    send("still heard");
    ASSERT_TRUE(run_until_readable());
    EXPECT_EQ(receive(64), 11);
    stream.close_with_reset();
    ASSERT_TRUE(loop.run_until([&] { return ::send(pair.theirs.get(), "x", 1, MSG_NOSIGNAL) < 0; }))
        << "the far end learns of the reset";
}

// A fork copies all descriptors. The next client's stream may have the same place in memory.
TEST_F(Streams, HearNothingOfAnEarlierConnectionThatAnotherProcessHolds) {
    const base::Descriptor held(::dup(stream.descriptor()));
    stream.close();
    TcpPair next;
    ASSERT_TRUE(stream.open(next.ours.release()));
    loop.settle();
    send("late");
    pair.theirs.close();
    loop.settle();

    EXPECT_FALSE(stream.is_broken());
    EXPECT_TRUE(stream.is_silent());
}

TEST(StreamOpen, RefusesWhatCannotBeRegistered) {
    Loop loop;
    Stream stream(loop.reactor);
    const int file = ::open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ASSERT_GE(file, 0);
    EXPECT_FALSE(stream.open(file)) << "epoll takes no regular files";
    EXPECT_EQ(errno, EPERM);
    EXPECT_FALSE(stream.is_open());
    EXPECT_EQ(::fcntl(file, F_GETFD), -1) << "the descriptor was closed";
}

}  // namespace
}  // namespace s3gate::net
