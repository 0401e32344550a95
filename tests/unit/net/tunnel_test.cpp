// Tunnels over real loopback connections: bytes both ways, unchanged on every path; ends and breaks
// are passed on; a tunnel that is silent or whose receiver has stalled holds nothing.
#include "s3gate/net/tunnel.hpp"

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "loop.hpp"

namespace s3gate::net {

void PrintTo(TunnelEnd end, std::ostream* out) {
    static constexpr const char* kNames[] = {"finished", "idle", "client_broken", "backend_broken",
                                             "cut"};
    *out << kNames[static_cast<int>(end)];
}

namespace {

constexpr Tick kLong = 400;

detached run_tunnel(Tunnel& tunnel, Tunnel::Ends ends, BufferPool& buffers, PipePool& pipes,
                    Tick idle, std::optional<TunnelEnd>& end) {
    end = co_await tunnel.run(ends, buffers, pipes, idle);
}

class TunnelTest : public testing::Test {
  protected:
    void start(Tick idle = kLong, std::string_view to_backend = {}, std::string_view to_client = {},
               BufferSizes client_sizes = {}) {
        client.emplace(client_sizes);
        backend.emplace();
        client_stream.emplace(loop.reactor);
        backend_stream.emplace(loop.reactor);
        ASSERT_TRUE(client_stream->open(client->ours.release()));
        ASSERT_TRUE(backend_stream->open(backend->ours.release()));
        run_tunnel(tunnel, {&*client_stream, &*backend_stream, to_backend, to_client}, buffers,
                   *pipes, idle, end);
    }
    // Sends `forth` from the client and `back` from the backend at the same time.
    void exchange(const std::string& forth, const std::string& back) {
        std::string_view forth_left = forth;
        std::string_view back_left = back;
        std::string at_backend;
        std::string at_client;
        ASSERT_TRUE(loop.run_until([&] {
            send_some(client->theirs, forth_left);
            send_some(backend->theirs, back_left);
            receive_some(backend->theirs, at_backend);
            receive_some(client->theirs, at_client);
            return at_backend.size() >= forth.size() && at_client.size() >= back.size();
        }));
        EXPECT_TRUE(at_backend == forth) << "bytes changed on their way to the backend";
        EXPECT_TRUE(at_client == back) << "bytes changed on their way to the client";
    }
    bool ends() {
        return loop.run_until([&] { return end.has_value(); });
    }

    Loop loop;
    BufferPool buffers;
    std::unique_ptr<PipeBudget> budget = std::make_unique<PipeBudget>(8);
    std::unique_ptr<PipePool> pipes = std::make_unique<PipePool>(*budget);
    std::optional<TcpPair> client;
    std::optional<TcpPair> backend;
    std::optional<Stream> client_stream;
    std::optional<Stream> backend_stream;
    Tunnel tunnel;
    std::optional<TunnelEnd> end;
};

TEST_F(TunnelTest, GluedBytesComeFirst) {
    start(kLong, "forth", "back");
    std::string at_backend;
    std::string at_client;
    ASSERT_TRUE(loop.run_until([&] {
        receive_some(backend->theirs, at_backend);
        receive_some(client->theirs, at_client);
        return at_backend.size() >= 5 && at_client.size() >= 4;
    }));
    EXPECT_EQ(at_backend, "forth");
    EXPECT_EQ(at_client, "back");
    EXPECT_EQ(tunnel.bytes_to_backend(), 5u);
    EXPECT_EQ(tunnel.bytes_to_client(), 4u);
    client->theirs.close();
    backend->theirs.close();
    ASSERT_TRUE(ends());
}

TEST_F(TunnelTest, LongRunsAreSplicedShortOnesAreNot) {
    start();
    exchange("ping", "pong");
    EXPECT_EQ(budget->in_use(), 0u);
    exchange(bytes_of(5'000'000), bytes_of(3'000'001));
    EXPECT_GT(budget->in_use(), 0u) << "kept for the next taker";
    EXPECT_EQ(tunnel.bytes_to_backend(), 5'000'004u);
    EXPECT_EQ(tunnel.bytes_to_client(), 3'000'005u);
    loop.settle();
    EXPECT_EQ(buffers.in_use(), 0u) << "a tunnel that is silent holds nothing";
    client->theirs.close();
    backend->theirs.close();
    ASSERT_TRUE(ends());
}

TEST_F(TunnelTest, WithoutPipesTheBytesAreCopied) {
    while (budget->take()) {
    }
    const std::uint64_t taken = budget->in_use();
    start();
    exchange(bytes_of(2'000'000), bytes_of(4'000'000));
    EXPECT_EQ(budget->in_use(), taken);
    client->theirs.close();
    backend->theirs.close();
    ASSERT_TRUE(ends());
}

TEST_F(TunnelTest, HalfCloseIsPassedOnAndTheOtherDirectionGoesOn) {
    start();
    ::shutdown(client->theirs.get(), SHUT_WR);
    std::string got;
    ASSERT_TRUE(
        loop.run_until([&] { return receive_some(backend->theirs, got) == Received::end; }));
    EXPECT_FALSE(end.has_value());
    exchange("", bytes_of(1'000'000));
    ::shutdown(backend->theirs.get(), SHUT_WR);
    ASSERT_TRUE(ends());
    EXPECT_EQ(*end, TunnelEnd::finished);
    EXPECT_EQ(receive_some(client->theirs, got), Received::end);
}

TEST_F(TunnelTest, BytesBeforeAHalfCloseArrive) {
    start(kLong, {}, {}, {4096, 4096});
    const std::string bytes = bytes_of(600'000);
    std::string_view left = bytes;
    std::string got;
    bool closed = false;
    ASSERT_TRUE(loop.run_until([&] {
        send_some(backend->theirs, left);
        if (left.empty() && !closed) {
            closed = true;
            ::shutdown(backend->theirs.get(), SHUT_WR);
        }
        return receive_some(client->theirs, got, 10'000) == Received::end;
    }));
    EXPECT_TRUE(got == bytes);
    ::shutdown(client->theirs.get(), SHUT_WR);
    ASSERT_TRUE(ends());
    EXPECT_EQ(*end, TunnelEnd::finished);
}

TEST_F(TunnelTest, AResetOfEitherSideEndsIt) {
    for (const bool by_client : {true, false}) {
        end.reset();
        tunnel.reset();
        start();
        exchange("a", "b");
        (by_client ? client : backend)->theirs.close_with_reset();
        ASSERT_TRUE(ends());
        EXPECT_EQ(*end, by_client ? TunnelEnd::client_broken : TunnelEnd::backend_broken);
    }
}

// The direction from the backend has ended, the other one waits for the client.
TEST_F(TunnelTest, AResetOfABackendThatHadHalfClosedIsNoticed) {
    start();
    ::shutdown(backend->theirs.get(), SHUT_WR);
    std::string got;
    ASSERT_TRUE(loop.run_until([&] { return receive_some(client->theirs, got) == Received::end; }));
    backend->theirs.close_with_reset();
    ASSERT_TRUE(ends());
    EXPECT_EQ(*end, TunnelEnd::backend_broken);
}

TEST_F(TunnelTest, SilenceEndsItAndOneDirectionIsEnoughToKeepIt) {
    start(6);  // 1.5 s
    const Tick begun = loop.reactor.now();
    Tick spoken = begun;
    std::string got;
    ASSERT_TRUE(loop.run_until([&] {
        if (loop.reactor.now() - spoken >= 3 && loop.reactor.now() - begun < 12) {
            spoken = loop.reactor.now();
            std::string_view word = "x";
            send_some(backend->theirs, word);
        }
        receive_some(client->theirs, got);
        return end.has_value();
    }));
    EXPECT_EQ(*end, TunnelEnd::idle);
    EXPECT_GE(loop.reactor.now() - spoken, 6u);
    EXPECT_LE(loop.reactor.now() - spoken, 9u) << "the limit counts from the last byte";
    EXPECT_GE(got.size(), 3u);
}

TEST_F(TunnelTest, AStalledReceiverGivesItsPipeBackAndLosesNothing) {
    start(kLong, {}, {}, {4096, 4096});
    const std::string bytes = bytes_of(3'000'000);
    std::string_view left = bytes;
    std::string got;
    ASSERT_TRUE(loop.run_until([&] {
        send_some(backend->theirs, left);
        receive_some(client->theirs, got);  // the first long read is copied
        return pipes->lent() > 0;
    })) << "never spliced";
    ASSERT_TRUE(loop.run_until([&] { return pipes->lent() == 0; })) << "the pipe stays with it";
    EXPECT_EQ(buffers.in_use(), 1u) << "what was in the pipe";
    ASSERT_TRUE(loop.run_until([&] {
        send_some(backend->theirs, left);
        receive_some(client->theirs, got);
        return got.size() >= bytes.size();
    }));
    EXPECT_TRUE(got == bytes);
    tunnel.cut();
    ASSERT_TRUE(ends());
    EXPECT_EQ(*end, TunnelEnd::cut);
    EXPECT_EQ(buffers.in_use(), 0u);
}

TEST_F(TunnelTest, CutBeforeItBegan) {
    tunnel.cut();
    start(kLong, "forth", "back");
    ASSERT_TRUE(ends());
    EXPECT_EQ(*end, TunnelEnd::cut);
    EXPECT_EQ(tunnel.bytes_to_backend(), 0u);
    tunnel.reset();
    end.reset();
    start(kLong, "forth");
    std::string got;
    ASSERT_TRUE(loop.run_until([&] {
        receive_some(backend->theirs, got);
        return got == "forth";
    }));
    tunnel.on_client_broken();
    ASSERT_TRUE(ends());
    EXPECT_EQ(*end, TunnelEnd::client_broken);
}

}  // namespace
}  // namespace s3gate::net
