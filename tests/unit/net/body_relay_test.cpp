// Bodies through the relay over real loopback connections: the bytes arrive unchanged on every path
// and at any speed of both ends, and a cut message never looks complete.
#include "s3gate/net/body_relay.hpp"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "loop.hpp"

namespace s3gate::net {

void PrintTo(RelayEnd end, std::ostream* out) {
    static constexpr const char* kNames[] = {
        "complete",    "source_closed",  "source_timed_out", "source_malformed",
        "sink_closed", "sink_timed_out", "interrupted"};
    *out << kNames[static_cast<int>(end)];
}

namespace {

using http::BodyKind;

enum class Path { splice, copy };

std::string chunked(std::string_view payload, std::size_t chunk, std::string_view trailers = {}) {
    std::string out;
    char line[24];
    for (std::size_t i = 0; i < payload.size(); i += chunk) {
        const std::string_view part = payload.substr(i, chunk);
        std::snprintf(line, sizeof line, "%zx\r\n", part.size());
        out.append(line).append(part).append("\r\n");
    }
    return out.append("0\r\n").append(trailers).append("\r\n");
}

struct Unchunked {
    bool done = false;
    std::size_t chunks = 0;
    std::string payload;
    std::string trailers;
    std::string rest;
};

Unchunked unchunked(std::string_view bytes) {
    Unchunked out;
    http::ChunkDecoder decoder;
    for (;;) {
        const http::ChunkDecoder::Step step = decoder.step(bytes);
        bytes.remove_prefix(step.consumed);
        if (step.kind == http::ChunkDecoder::Kind::payload) {
            out.payload += step.payload;
            ++out.chunks;  // all bytes have arrived, so a step never ends inside a chunk
            continue;
        }
        out.done = step.kind == http::ChunkDecoder::Kind::done;
        out.trailers = decoder.trailers();
        out.rest = bytes;
        return out;
    }
}

// An exchange first sends what it can without a coroutine.
enum class Way { at_once_first, coroutine_only };

detached run_relay(BodyRelay& relay, Way way, std::optional<RelayEnd>& end) {
    // No co_await inside an expression with branches: GCC 12 may run what should be skipped.
    if (way == Way::at_once_first && relay_at_once(relay)) {
        end = RelayEnd::complete;
    } else {
        end = co_await relay_body(relay);
    }
}
detached run_send(Stream& to, std::string_view bytes, Tick timeout, std::optional<RelayEnd>& end) {
    end = co_await send_all(to, bytes, timeout);
}

constexpr Way kWays[] = {Way::at_once_first, Way::coroutine_only};

const std::string kHead = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n";

// A relay from a source to a sink. The test holds the far ends of both.
struct Rig {
    explicit Rig(Path path = Path::splice, BufferSizes sink_sizes = {})
        : sink_pair(sink_sizes), budget(path == Path::splice ? 4 : 1) {
        if (path == Path::copy) {
            EXPECT_TRUE(budget.take());  // exhausted: no relay gets a pipe
        }
        EXPECT_TRUE(source_stream.open(source_pair.ours.release()));
        EXPECT_TRUE(sink_stream->open(sink_pair.ours.release()));
    }
    ~Rig() {
        if (started && !end) {
            relay.cancelled = true;
            source_stream.interrupt_read();
            sink_stream->interrupt_write();
            EXPECT_TRUE(loop.run_until([&] { return end.has_value(); }));
        }
        EXPECT_EQ(buffers.in_use(), 0u) << "a buffer is held only while bytes are in it";
    }

    void begin(BodyKind kind, std::uint64_t length = 0, std::string_view prefix = {}) {
        source = BodySource(source_stream, {kind, length}, prefix);
        prepare();
    }
    void prepare() {
        relay = BodyRelay(source, *sink_stream, {buffers, pipes, lists});
        pieces = {kHead};
        relay.head = &pieces;
        relay.read_timeout = relay.write_timeout = 100;
    }
    void start() {
        started = true;
        end.reset();
        run_relay(relay, way, end);
    }
    // Relays `part` of the body; true once the relay waits for more.
    bool deliver(std::string_view part) {
        const std::size_t size = kHead.size() + part.size();
        return loop.run_until([&] {
            send_some(source_pair.theirs, part);
            receive_some(sink_pair.theirs, arrived);
            return arrived.size() == size && source_stream.has_reader();
        });
    }
    // A second attempt: the same source, a new sink.
    void take_new_sink() {
        sink_pair = TcpPair();
        sink_stream = std::make_unique<Stream>(loop.reactor);
        ASSERT_TRUE(sink_stream->open(sink_pair.ours.release()));
        arrived.clear();
    }

    struct Pace {
        std::size_t write = 256 * 1024;
        std::size_t read = 256 * 1024;
        bool finish = false;  // FIN after the input
    };
    // Feeds the source and reads the sink until the relay ends, then reads the rest.
    RelayEnd transfer(std::string_view input, Pace pace) {
        if (!started) {
            start();
        }
        bool finished = false;
        EXPECT_TRUE(loop.run_until([&] {
            send_some(source_pair.theirs, input, pace.write);
            if (input.empty() && pace.finish && !finished) {
                finished = true;
                ::shutdown(source_pair.theirs.get(), SHUT_WR);
            }
            receive_some(sink_pair.theirs, arrived, pace.read);
            return end.has_value();
        })) << "relay did not end";
        started = false;
        read_rest();
        return end.value_or(RelayEnd::interrupted);
    }
    RelayEnd transfer(std::string_view input) { return transfer(input, Pace()); }
    RelayEnd wait() { return transfer({}); }

    // Reads the sink's peer to the end of the connection, which this closes.
    void read_rest() {
        sink_stream->close();
        EXPECT_TRUE(loop.run_until([&] {
            const Received got = receive_some(sink_pair.theirs, arrived);
            return got == Received::end || got == Received::reset;
        }));
    }
    // The unread bytes of the source.
    std::string left_in_source() {
        std::string out;
        char buffer[256];
        loop.settle();
        for (;;) {
            const ssize_t got = source_stream.receive(buffer, sizeof buffer);
            if (got <= 0) {
                return out;
            }
            out.append(buffer, static_cast<std::size_t>(got));
        }
    }
    std::string body() const {
        EXPECT_EQ(arrived.substr(0, kHead.size()), kHead);
        return arrived.size() < kHead.size() ? std::string() : arrived.substr(kHead.size());
    }

    Loop loop;
    TcpPair source_pair;
    TcpPair sink_pair;
    Stream source_stream{loop.reactor};
    std::unique_ptr<Stream> sink_stream = std::make_unique<Stream>(loop.reactor);
    BufferPool buffers;
    PipeBudget budget;
    PipePool pipes{budget};
    RelayMeans::Lists lists;
    BodySource source;
    BodyRelay relay;
    std::vector<std::string_view> pieces;
    Way way = Way::at_once_first;
    bool started = false;
    std::optional<RelayEnd> end;
    std::string arrived;
};

// A mismatch of megabytes is not printed.
void expect_same(const std::string& got, const std::string& expected) {
    ASSERT_EQ(got.size(), expected.size());
    const auto difference = std::mismatch(got.begin(), got.end(), expected.begin());
    EXPECT_TRUE(difference.first == got.end()) << "at byte " << difference.first - got.begin();
}

constexpr std::size_t kSizes[] = {
    0, 1, 64 * 1024, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 3 * 1024 * 1024};

TEST(BodyRelay, DeliversEveryLengthOnBothPaths) {
    for (const Path path : {Path::splice, Path::copy}) {
        for (const std::size_t size : kSizes) {
            SCOPED_TRACE(testing::Message() << size << (path == Path::copy ? " copied" : ""));
            const std::string payload = bytes_of(size);
            Rig rig(path);
            rig.begin(BodyKind::length, size);
            EXPECT_EQ(rig.transfer(payload), RelayEnd::complete);
            expect_same(rig.body(), payload);
            EXPECT_EQ(rig.relay.payload_sent, size);
            EXPECT_EQ(rig.source.received, size);
            EXPECT_TRUE(rig.source.complete);
            EXPECT_TRUE(rig.relay.head_sent);
            EXPECT_TRUE(rig.relay.any_sent);
            EXPECT_EQ(rig.relay.body_sent, size > 0);
            EXPECT_EQ(rig.relay.error, 0);
            if (path == Path::splice) {
                EXPECT_EQ(rig.budget.in_use(), size >= kSpliceFrom ? 1u : 0u)
                    << "long bodies take a pipe, others none";
            }
        }
    }
}

TEST(BodyRelay, DeliversBodiesThatLastUntilTheClose) {
    for (const std::size_t size : kSizes) {
        for (const bool chunk : {false, true}) {
            SCOPED_TRACE(testing::Message() << size << ' ' << chunk);
            const std::string payload = bytes_of(size);
            Rig rig;
            rig.begin(BodyKind::until_close);
            rig.relay.chunked_out = chunk;
            EXPECT_EQ(rig.transfer(payload, {.finish = true}), RelayEnd::complete);
            EXPECT_EQ(rig.relay.payload_sent, size);
            if (chunk) {
                const Unchunked out = unchunked(rig.body());
                EXPECT_TRUE(out.done);
                EXPECT_EQ(out.rest, "");
                expect_same(out.payload, payload);
            } else {
                expect_same(rig.body(), payload);
            }
        }
    }
}

TEST(BodyRelay, DeliversChunkedBodies) {
    for (const std::size_t size : kSizes) {
        for (const std::size_t chunk :
             {std::size_t{1}, std::size_t{100}, std::size_t{65537}, std::size_t{4} << 20}) {
            if (size / chunk > 100000) {
                continue;
            }
            SCOPED_TRACE(testing::Message() << size << " in chunks of " << chunk);
            const std::string payload = bytes_of(size);
            const std::string input =
                chunked(payload, chunk, "x-amz-checksum-crc32: x\r\nContent-Length: 5\r\n");
            {
                Rig rig;
                rig.begin(BodyKind::chunked);
                rig.relay.chunked_out = true;
                EXPECT_EQ(rig.transfer(input), RelayEnd::complete);
                const Unchunked out = unchunked(rig.body());
                EXPECT_TRUE(out.done);
                EXPECT_EQ(out.rest, "");
                EXPECT_EQ(out.trailers, "x-amz-checksum-crc32: x\r\n") << "those that may go on";
                expect_same(out.payload, payload);
                EXPECT_EQ(rig.relay.payload_sent, size);
                EXPECT_EQ(rig.relay.error, 0);
            }
            {
                Rig rig;  // towards an HTTP/1.0 client
                rig.begin(BodyKind::chunked);
                EXPECT_EQ(rig.transfer(input), RelayEnd::complete);
                expect_same(rig.body(), payload);
            }
        }
    }
}

TEST(BodyRelay, SendsAHeadWithoutBody) {
    for (const BodyKind kind : {BodyKind::none, BodyKind::length}) {
        for (const Way way : kWays) {
            Rig rig;
            rig.way = way;
            rig.begin(kind, 0);
            EXPECT_EQ(rig.wait(), RelayEnd::complete);
            EXPECT_EQ(rig.arrived, kHead);
            EXPECT_TRUE(rig.relay.head_sent);
            EXPECT_TRUE(rig.relay.any_sent);
            EXPECT_FALSE(rig.relay.body_sent);
        }
    }
}

TEST(BodyRelay, SendsHeadsOfManyPieces) {
    // More pieces than one sendmsg takes (1024), as in a head of very many fields with every second
    // one removed.
    for (const BodyKind kind : {BodyKind::length, BodyKind::chunked}) {
        Rig rig;
        const std::string input = kind == BodyKind::chunked ? chunked("hello", 2) : "hello";
        rig.begin(kind, 5, std::string_view(input).substr(0, 3));
        std::vector<std::string> lines;
        std::string expected;
        for (int i = 0; i < 2500; ++i) {
            lines.push_back("field-" + std::to_string(i) + ": x\r\n");
            expected += lines.back();
        }
        rig.pieces.assign(lines.begin(), lines.end());
        EXPECT_EQ(rig.transfer(std::string_view(input).substr(3)), RelayEnd::complete);
        EXPECT_EQ(rig.arrived, expected + "hello");
        EXPECT_TRUE(rig.relay.head_sent);
    }
}

TEST(BodyRelay, DeliversBytesThatCameInAnyPieces) {
    const std::string payload = bytes_of(5000);
    const std::string input = chunked(payload, 777);
    for (const std::size_t step : {std::size_t{1}, std::size_t{3}, std::size_t{100}}) {
        Rig rig;
        rig.begin(BodyKind::chunked, 0, std::string_view(input).substr(0, 2));
        rig.relay.chunked_out = true;
        EXPECT_EQ(rig.transfer(std::string_view(input).substr(2), {.write = step}),
                  RelayEnd::complete);
        const Unchunked out = unchunked(rig.body());
        EXPECT_TRUE(out.done);
        expect_same(out.payload, payload);
    }
}

TEST(BodyRelay, WaitsForASlowReaderOnBothPaths) {
    const std::string payload = bytes_of(700 * 1024);
    for (const Path path : {Path::splice, Path::copy}) {
        Rig rig(path, {.ours_send = 8 * 1024, .theirs_receive = 8 * 1024});
        rig.begin(BodyKind::length, payload.size());
        EXPECT_EQ(rig.transfer(payload, {.read = 20000}), RelayEnd::complete);
        expect_same(rig.body(), payload);
    }
    Rig rig(Path::copy, {.ours_send = 8 * 1024, .theirs_receive = 8 * 1024});
    rig.begin(BodyKind::chunked);
    rig.relay.chunked_out = true;
    EXPECT_EQ(rig.transfer(chunked(payload, 5000), {.read = 20000}), RelayEnd::complete);
    expect_same(unchunked(rig.body()).payload, payload);
}

TEST(BodyRelay, StopsReadingWhileTheSinkIsFull) {
    const std::string payload = bytes_of(32 << 20);
    for (const Path path : {Path::splice, Path::copy}) {
        Rig rig(path, {.ours_send = 8 * 1024, .theirs_receive = 8 * 1024});
        rig.begin(BodyKind::length, payload.size());
        rig.start();
        std::string_view input = payload;
        std::size_t before = 0;
        const Tick now = rig.loop.reactor.now();
        ASSERT_TRUE(rig.loop.run_until([&] {
            before = input.size();
            send_some(rig.source_pair.theirs, input);
            return before == input.size() && rig.loop.reactor.now() > now + 1;
        }));
        EXPECT_FALSE(rig.end);
        EXPECT_LT(rig.source.received, 4u << 20) << "backpressure: a bounded part is taken in";
    }
}

TEST(BodyRelay, ReportsASourceThatEndsEarly) {
    struct Case {
        BodyKind kind;
        std::uint64_t length;
        std::string input;
    };
    const std::string big = bytes_of(400 * 1024);
    const std::vector<Case> cases = {
        {BodyKind::length, 10, ""},
        {BodyKind::length, 10, "nine byte"},
        {BodyKind::length, big.size() + 1, big},
        {BodyKind::length, 3 << 20, big},
        {BodyKind::chunked, 0, ""},
        {BodyKind::chunked, 0, "5\r\nhel"},
        {BodyKind::chunked, 0, "5\r\nhello\r\n"},
        {BodyKind::chunked, 0, "5\r\nhello\r\n0\r\n"},
        {BodyKind::chunked, 0, "5\r\nhello\r\n0\r\n\r"},
    };
    for (const Case& c : cases) {
        for (const Path path : {Path::splice, Path::copy}) {
            SCOPED_TRACE(testing::Message()
                         << static_cast<int>(c.kind) << ' ' << c.length << ' ' << c.input.size());
            Rig rig(path);
            rig.begin(c.kind, c.length);
            rig.relay.chunked_out = c.kind == BodyKind::chunked;
            EXPECT_EQ(rig.transfer(c.input, {.finish = true}), RelayEnd::source_closed);
            EXPECT_EQ(rig.relay.error, 0) << "an end, not a reset";
            EXPECT_FALSE(rig.source.complete);
            if (c.kind == BodyKind::chunked) {
                EXPECT_FALSE(unchunked(rig.body()).done) << "a truncated body never ends cleanly";
            } else {
                expect_same(rig.body(), c.input);
            }
        }
    }
}

TEST(BodyRelay, AResetIsNoEndOfABody) {
    for (const BodyKind kind : {BodyKind::until_close, BodyKind::length, BodyKind::chunked}) {
        Rig rig;
        rig.begin(kind, 1 << 20);
        rig.relay.chunked_out = kind != BodyKind::length;
        rig.start();
        std::string_view input = "5\r\nhello\r\n";
        ASSERT_TRUE(rig.loop.run_until([&] {
            send_some(rig.source_pair.theirs, input);
            return rig.source.received > 0;
        }));
        rig.source_pair.theirs.close_with_reset();
        EXPECT_EQ(rig.wait(), RelayEnd::source_closed);
        EXPECT_EQ(rig.relay.error, ECONNRESET);
        EXPECT_FALSE(kind != BodyKind::length && unchunked(rig.body()).done);
    }
}

TEST(BodyRelay, ReportsASinkThatCloses) {
    const std::string payload = bytes_of(8 << 20);
    for (const Path path : {Path::splice, Path::copy}) {
        Rig rig(path);
        rig.begin(BodyKind::length, payload.size());
        rig.start();
        std::string_view input = payload;
        ASSERT_TRUE(rig.loop.run_until([&] {
            send_some(rig.source_pair.theirs, input);
            receive_some(rig.sink_pair.theirs, rig.arrived, 10000);
            return rig.arrived.size() > 300000;
        }));
        rig.sink_pair.theirs.close_with_reset();
        ASSERT_TRUE(rig.loop.run_until([&] {
            send_some(rig.source_pair.theirs, input);
            return rig.end.has_value();
        }));
        rig.started = false;
        EXPECT_EQ(*rig.end, RelayEnd::sink_closed);
        EXPECT_TRUE(rig.relay.error == EPIPE || rig.relay.error == ECONNRESET) << rig.relay.error;
        EXPECT_TRUE(rig.relay.body_sent);
        EXPECT_LT(rig.relay.payload_sent, payload.size());
    }
}

TEST(BodyRelay, TimesOutASourceThatSendsNothing) {
    for (const BodyKind kind : {BodyKind::length, BodyKind::chunked, BodyKind::until_close}) {
        Rig rig;
        rig.begin(kind, 1 << 20);
        rig.relay.chunked_out = kind == BodyKind::chunked;
        rig.relay.read_timeout = 1;
        const Tick begin = rig.loop.reactor.now();
        EXPECT_EQ(rig.transfer(kind == BodyKind::chunked ? "5\r\nhel" : "hel"),
                  RelayEnd::source_timed_out);
        EXPECT_GE(rig.loop.reactor.now() - begin, 1u);
        EXPECT_TRUE(rig.relay.head_sent);
    }
}

TEST(BodyRelay, MeasuresProgressNotTheWhole) {
    constexpr std::size_t kBytes = 10;
    Rig rig;
    rig.begin(BodyKind::length, kBytes);
    // Long enough for a test process that stalls for a second.
    rig.relay.read_timeout = 6;
    rig.start();
    // One byte per tick: each wait is shorter than the limit, all together are longer.
    Tick last = rig.loop.reactor.now();
    std::size_t sent = 0;
    ASSERT_TRUE(rig.loop.run_until([&] {
        if (rig.loop.reactor.now() != last && sent < kBytes) {
            last = rig.loop.reactor.now();
            std::string_view byte = "x";
            send_some(rig.source_pair.theirs, byte);
            ++sent;
        }
        return rig.end.has_value();
    }));
    EXPECT_EQ(rig.wait(), RelayEnd::complete);
    EXPECT_EQ(rig.body(), std::string(kBytes, 'x'));
    EXPECT_GE(rig.loop.reactor.now(), kBytes);
}

TEST(BodyRelay, TimesOutASinkThatTakesNothing) {
    const std::string payload = bytes_of(16 << 20);
    for (const Path path : {Path::splice, Path::copy}) {
        Rig rig(path, {.ours_send = 8 * 1024, .theirs_receive = 8 * 1024});
        rig.begin(BodyKind::length, payload.size());
        rig.relay.write_timeout = 1;
        rig.start();
        std::string_view input = payload;
        ASSERT_TRUE(rig.loop.run_until([&] {
            send_some(rig.source_pair.theirs, input);
            return rig.end.has_value();
        }));
        rig.started = false;
        EXPECT_EQ(*rig.end, RelayEnd::sink_timed_out);
        if (path == Path::splice) {
            EXPECT_EQ(rig.budget.in_use(), 0u)
                << "the pipe had bytes in it and must not be used again";
        }
    }
}

// Another relay in the queue. It sends `amount` per turn, by default the limit of a round. Outlives
// the Rig, whose destructor turns the loop.
struct Competitor {
    std::size_t amount = Reactor::kRelayedPerRound;
    bool is_stopped = false;
    bool has_ended = false;
};

detached compete(Reactor& reactor, Competitor& self) {
    while (!self.is_stopped) {
        co_await reactor.yield();
        reactor.note_relayed(self.amount);
    }
    self.has_ended = true;
}

detached run_in_turn(Reactor& reactor, bool& has_run) {
    co_await reactor.yield();
    has_run = true;
}

detached relay_in_turn(Reactor& reactor, BodyRelay& relay, bool& is_sent) {
    co_await reactor.yield();
    is_sent = relay_at_once(relay);
}

TEST(BodyRelay, WhatIsSentAtOnceCountsTowardsItsRound) {
    Competitor other;
    bool is_sent = false;
    bool has_run = false;
    Rig rig;
    rig.begin(BodyKind::length, 5, "hello");
    relay_in_turn(rig.loop.reactor, rig.relay, is_sent);
    other.amount = Reactor::kRelayedPerRound - kHead.size() - 5;
    compete(rig.loop.reactor, other);
    run_in_turn(rig.loop.reactor, has_run);
    rig.loop.reactor.turn(std::chrono::milliseconds(0));
    EXPECT_TRUE(is_sent);
    EXPECT_FALSE(has_run) << "both together are all that goes out in a round";
    other.is_stopped = true;
    ASSERT_TRUE(rig.loop.run_until([&] { return has_run && other.has_ended; }));
}

TEST(BodyRelay, ALongOneQueuesForItsNewsAndMayBeCancelledMeanwhile) {
    const std::string payload = bytes_of(3 << 20);
    for (const Path path : {Path::splice, Path::copy}) {
        for (const bool is_cancelled : {false, true}) {
            Competitor other;
            Rig rig(path);
            rig.begin(BodyKind::length, payload.size() + 2);
            rig.start();
            ASSERT_TRUE(rig.deliver(payload));
            compete(rig.loop.reactor, other);
            ASSERT_EQ(::send(rig.source_pair.theirs.get(), "x", 1, 0), 1);
            // The other relay owns the round in which the news arrives.
            ASSERT_TRUE(rig.loop.run_until([&] { return !rig.source_stream.has_reader(); }));
            EXPECT_EQ(rig.relay.payload_sent, payload.size());
            rig.relay.cancelled = is_cancelled;
            rig.loop.reactor.turn(std::chrono::milliseconds(0));
            EXPECT_EQ(rig.relay.payload_sent, payload.size() + (is_cancelled ? 0 : 1));
            EXPECT_EQ(rig.end.has_value(), is_cancelled);
            if (is_cancelled) {
                EXPECT_EQ(*rig.end, RelayEnd::interrupted);
                rig.started = false;
            } else {
                EXPECT_EQ(rig.transfer("y"), RelayEnd::complete);
                EXPECT_EQ(rig.body(), payload + "xy");
            }
            other.is_stopped = true;
            ASSERT_TRUE(rig.loop.run_until([&] { return other.has_ended; }));
        }
    }
}

TEST(BodyRelay, WhatALongOneSendsCountsTowardsItsRound) {
    const std::string payload = bytes_of(3 << 20);
    const std::string rest = bytes_of(64 * 1024);  // enough for its first bytes to be spliced
    for (const Path path : {Path::splice, Path::copy}) {
        Competitor other;
        bool has_run = false;
        Rig rig(path);
        rig.begin(BodyKind::length, payload.size() + rest.size());
        rig.start();
        ASSERT_TRUE(rig.deliver(payload));
        compete(rig.loop.reactor, other);
        ASSERT_EQ(::send(rig.source_pair.theirs.get(), rest.data(), 1, 0), 1);
        ASSERT_TRUE(rig.loop.run_until([&] { return !rig.source_stream.has_reader(); }));
        ASSERT_EQ(rig.relay.payload_sent, payload.size());
        // Now the relay is first in the queue. A round sends only its byte and the other one's
        // amount.
        other.amount = Reactor::kRelayedPerRound - 1;
        run_in_turn(rig.loop.reactor, has_run);
        rig.loop.reactor.turn(std::chrono::milliseconds(0));
        EXPECT_EQ(rig.relay.payload_sent, payload.size() + 1);
        EXPECT_FALSE(has_run);
        ASSERT_TRUE(rig.loop.run_until([&] { return has_run; }));
        other.is_stopped = true;
        ASSERT_TRUE(rig.loop.run_until([&] { return other.has_ended; }));
        EXPECT_EQ(rig.transfer(std::string_view(rest).substr(1)), RelayEnd::complete);
        expect_same(rig.body(), payload + rest);
    }
}

TEST(BodyRelay, ALongOneQueuesBehindAWaitForItsSink) {
    const std::string payload = bytes_of(24 << 20);
    for (const Path path : {Path::splice, Path::copy}) {
        Competitor other;
        Rig rig(path, {.ours_send = 64 * 1024, .theirs_receive = 64 * 1024});
        rig.begin(BodyKind::length, payload.size());
        rig.start();
        std::string_view input = payload;
        ASSERT_TRUE(rig.loop.run_until([&] {
            send_some(rig.source_pair.theirs, input);
            receive_some(rig.sink_pair.theirs, rig.arrived);
            return rig.relay.payload_sent >= Reactor::kRelayedPerRound;
        }));
        ASSERT_TRUE(rig.loop.run_until([&] {
            send_some(rig.source_pair.theirs, input);
            return rig.sink_stream->has_writer();
        }));
        compete(rig.loop.reactor, other);
        // It sends what it holds and takes no more, although input is available: the round belongs
        // to another.
        ASSERT_TRUE(rig.loop.run_until([&] {
            send_some(rig.source_pair.theirs, input);
            receive_some(rig.sink_pair.theirs, rig.arrived, 32 * 1024);
            return rig.source.received == rig.relay.payload_sent || rig.end;
        }));
        EXPECT_FALSE(rig.end) << "it never came to rest between two waits";
        EXPECT_TRUE(rig.source_stream.is_readable());
        other.is_stopped = true;
        ASSERT_TRUE(rig.loop.run_until([&] { return other.has_ended; }));
        EXPECT_EQ(rig.transfer(input), RelayEnd::complete);
        expect_same(rig.body(), payload);
    }
}

TEST(BodyRelay, EndsWhenItIsCancelled) {
    {
        Rig rig;  // waiting for the source
        rig.begin(BodyKind::length, 100);
        rig.start();
        ASSERT_TRUE(rig.loop.run_until(
            [&] { return rig.relay.head_sent && rig.source_stream.has_reader(); }));
        rig.relay.cancelled = true;
        rig.source_stream.interrupt_read();
        EXPECT_EQ(rig.wait(), RelayEnd::interrupted);
    }
    const std::string payload = bytes_of(16 << 20);
    for (const Path path : {Path::splice, Path::copy}) {
        Rig rig(path, {.ours_send = 8 * 1024, .theirs_receive = 8 * 1024});  // waiting for the sink
        rig.begin(BodyKind::length, payload.size());
        rig.start();
        std::string_view input = payload;
        ASSERT_TRUE(rig.loop.run_until([&] {
            send_some(rig.source_pair.theirs, input);
            return rig.sink_stream->has_writer();
        }));
        rig.relay.cancelled = true;
        rig.sink_stream->interrupt_write();
        ASSERT_TRUE(rig.loop.run_until([&] { return rig.end.has_value(); }));
        rig.started = false;
        EXPECT_EQ(*rig.end, RelayEnd::interrupted);
    }
    Rig rig;  // before it began
    rig.begin(BodyKind::length, 5);
    rig.relay.cancelled = true;
    EXPECT_EQ(rig.transfer("hello"), RelayEnd::interrupted);
    EXPECT_EQ(rig.arrived, "");
}

TEST(BodyRelay, AnInterruptWithoutCancelIsNoEnd) {
    Rig rig;
    rig.begin(BodyKind::length, 5);
    rig.start();
    ASSERT_TRUE(rig.loop.run_until([&] { return rig.source_stream.has_reader(); }));
    rig.source_stream.interrupt_read();
    rig.loop.settle();
    EXPECT_FALSE(rig.end);
    EXPECT_EQ(rig.transfer("hello"), RelayEnd::complete);
    EXPECT_EQ(rig.body(), "hello");
}

TEST(BodyRelay, RefusesBadChunksAndTrailers) {
    for (const std::string input :
         {"x\r\n", "5\r\nhello!\r\n", "5\nhello", "0\r\nbad trailer\r\n\r\n",
          "0\r\nA: b\r\n c\r\n\r\n", "fffffffffffffffff\r\n", "5\r\nhello\r\n-1\r\n"}) {
        for (const std::size_t in_prefix : {std::size_t{0}, input.size()}) {
            SCOPED_TRACE(input);
            Rig rig;
            rig.begin(BodyKind::chunked, 0, std::string_view(input).substr(0, in_prefix));
            rig.relay.chunked_out = true;
            EXPECT_EQ(rig.transfer(std::string_view(input).substr(in_prefix)),
                      RelayEnd::source_malformed);
            EXPECT_EQ(rig.arrived.find("0\r\n\r\n"), std::string::npos) << "never ended cleanly";
        }
    }
}

TEST(BodyRelay, KeepsWhatBelongsToTheNextRequestAtEverySplit) {
    const std::string next = "GET /next HTTP/1.1\r\n\r\n";
    struct Case {
        BodyKind kind;
        std::string body;
        bool is_kept;  // received directly into the replay buffer, bytes after the body elsewhere
    };
    const Case cases[] = {{BodyKind::length, "hello world", false},
                          {BodyKind::length, "hello world", true},
                          {BodyKind::chunked, chunked("hello world", 4, "x: y\r\n"), false}};
    for (const Case& c : cases) {
        const std::string all = c.body + next;
        for (std::size_t split = 0; split <= all.size(); ++split) {
            SCOPED_TRACE(testing::Message()
                         << static_cast<int>(c.kind) << c.is_kept << " split at " << split);
            for (const Way way : kWays) {
                ReplayBuffer replay;
                replay.reset(11);
                Rig rig;
                rig.way = way;
                std::string surplus = "left over";
                rig.begin(c.kind, 11, std::string_view(all).substr(0, split));
                rig.source.surplus = &surplus;
                rig.source.prefix_is_stable = true;
                rig.relay.replay = c.is_kept ? &replay : nullptr;
                rig.relay.chunked_out = c.kind == BodyKind::chunked;
                std::string_view rest = std::string_view(all).substr(split);
                send_some(rig.source_pair.theirs, rest);
                ASSERT_TRUE(rest.empty());
                rig.loop.settle();
                ASSERT_EQ(rig.wait(), RelayEnd::complete);
                ASSERT_EQ(c.kind == BodyKind::chunked ? unchunked(rig.body()).payload : rig.body(),
                          "hello world");
                ASSERT_EQ(surplus + rig.left_in_source(), next);
                ASSERT_EQ(rig.relay.error, 0);
                ASSERT_TRUE(rig.source.complete);
                ASSERT_TRUE(rig.relay.head_sent && rig.relay.any_sent && rig.relay.body_sent);
                ASSERT_EQ(rig.relay.payload_sent, 11u);
                ASSERT_EQ(rig.source.received, 11u);
                if (c.is_kept) {
                    ASSERT_EQ(std::string(replay.front()) + std::string(replay.rest()),
                              "hello world");
                }
            }
        }
    }
}

TEST(BodyRelay, MarksABackendThatSendsMoreThanItsAnswer) {
    {
        Rig rig;
        rig.begin(BodyKind::chunked);
        rig.relay.chunked_out = true;
        EXPECT_EQ(rig.transfer(chunked("hello", 5) + "HTTP/1.1 200 OK\r\n\r\n"),
                  RelayEnd::complete);
        EXPECT_EQ(unchunked(rig.body()).payload, "hello");
        EXPECT_EQ(rig.relay.error, EPROTO);
    }
    for (const Way way : kWays) {
        for (const BodyKind kind : {BodyKind::length, BodyKind::none}) {
            Rig rig;
            rig.way = way;
            rig.begin(kind, 5, "hello, and more");
            EXPECT_EQ(rig.wait(), RelayEnd::complete);
            EXPECT_EQ(rig.body(), kind == BodyKind::none ? "" : "hello");
            EXPECT_EQ(rig.relay.error, EPROTO);
        }
    }
}

TEST(BodyRelay, SendsAtOnceWhatIsThereWhole) {
    struct Case {
        const char* what;
        BodyKind kind;
        std::uint64_t length;
        bool is_at_once;
        void (*change)(Rig&) = [](Rig&) {};
    };
    const Case cases[] = {
        {"no body", BodyKind::none, 0, true},
        {"all of it", BodyKind::length, 5, true},
        {"less than there is", BodyKind::length, 4, true},
        {"a byte is missing", BodyKind::length, 6, false},
        {"chunks", BodyKind::chunked, 0, false},
        {"until the close", BodyKind::until_close, 0, false},
        {"to be chunked", BodyKind::length, 5, false,
         [](Rig& rig) { rig.relay.chunked_out = true; }},
        {"a further attempt", BodyKind::length, 5, false,
         [](Rig& rig) { rig.relay.resend = true; }},
        {"a head of many pieces", BodyKind::length, 5, false,
         [](Rig& rig) { rig.pieces.assign(100, "x"); }},
        {"as many pieces as there is room for", BodyKind::length, 5, true,
         [](Rig& rig) { rig.pieces.assign(16, "x"); }},
        {"one more", BodyKind::length, 5, false, [](Rig& rig) { rig.pieces.assign(17, "x"); }},
        {"cancelled", BodyKind::length, 5, false, [](Rig& rig) { rig.relay.cancelled = true; }},
    };
    for (const Case& c : cases) {
        SCOPED_TRACE(c.what);
        Rig rig;
        rig.begin(c.kind, c.length, "hello");
        c.change(rig);
        EXPECT_EQ(relay_at_once(rig.relay), c.is_at_once);
        EXPECT_EQ(rig.relay.sent_ahead, 0u);
        EXPECT_EQ(rig.relay.any_sent, c.is_at_once);
        std::string expected;
        for (const std::string_view piece : rig.pieces) {
            expected += piece;
        }
        expected += std::string_view("hello").substr(0, c.length);
        rig.loop.settle();
        rig.read_rest();
        EXPECT_EQ(rig.arrived, c.is_at_once ? expected : "");
        EXPECT_EQ(rig.source.prefix,
                  c.is_at_once ? std::string_view("hello").substr(c.length) : "hello");
        EXPECT_EQ(rig.source.received, c.is_at_once ? c.length : 0u);
    }
}

TEST(BodyRelay, GoesOnBehindWhatASinkTookAtOnce) {
    // More than the sink takes in one piece: its buffers hold a part of the head or of the body.
    const std::string payload = bytes_of(200 * 1024);
    for (const std::size_t head : {std::size_t{10}, std::size_t{100 * 1024}}) {
        for (const bool is_kept : {false, true}) {
            SCOPED_TRACE(testing::Message() << head << is_kept);
            Rig rig(Path::copy, {.ours_send = 8 * 1024, .theirs_receive = 8 * 1024});
            ReplayBuffer replay;
            replay.reset(payload.size());
            rig.begin(BodyKind::length, payload.size(), payload);
            rig.source.prefix_is_stable = true;
            rig.relay.replay = is_kept ? &replay : nullptr;
            const std::string line(head, 'h');
            rig.pieces = {line, kHead};
            EXPECT_FALSE(relay_at_once(rig.relay));
            EXPECT_GT(rig.relay.sent_ahead, 0u);
            EXPECT_LT(rig.relay.sent_ahead, payload.size());
            rig.way = Way::coroutine_only;
            EXPECT_EQ(rig.transfer({}), RelayEnd::complete);
            expect_same(rig.arrived, line + kHead + payload);
            EXPECT_EQ(rig.relay.sent_ahead, 0u);
            EXPECT_EQ(rig.relay.payload_sent, payload.size());
            EXPECT_TRUE(rig.relay.head_sent && rig.relay.any_sent && rig.relay.body_sent);
            EXPECT_EQ(rig.relay.error, 0);
            EXPECT_EQ(replay.size(), is_kept ? payload.size() : 0u);
        }
    }
}

TEST(BodyRelay, TellsWhatASinkThatDiedHadTakenAtOnce) {
    for (const bool is_in_head : {false, true}) {
        SCOPED_TRACE(is_in_head ? "in the head" : "in the body");
        Rig rig(Path::copy, {.ours_send = 8 * 1024, .theirs_receive = 8 * 1024});
        const std::string payload = bytes_of(200 * 1024);
        rig.begin(BodyKind::length, payload.size(), payload);
        const std::string line(is_in_head ? 200 * 1024 : 10, 'h');
        rig.pieces = {line};
        ASSERT_FALSE(relay_at_once(rig.relay));
        const std::size_t ahead = rig.relay.sent_ahead;
        ASSERT_GT(ahead, is_in_head ? 0 : line.size());
        ASSERT_LT(ahead, is_in_head ? line.size() : payload.size());
        rig.sink_pair.theirs.close_with_reset();
        rig.loop.settle();
        rig.way = Way::coroutine_only;
        rig.start();
        ASSERT_TRUE(rig.loop.run_until([&] { return rig.end.has_value(); }));
        EXPECT_EQ(*rig.end, RelayEnd::sink_closed);
        EXPECT_TRUE(rig.relay.any_sent);
        EXPECT_EQ(rig.relay.head_sent, !is_in_head);
        EXPECT_EQ(rig.relay.body_sent, !is_in_head);
        EXPECT_EQ(rig.relay.payload_sent, is_in_head ? 0 : ahead - line.size());
        rig.relay.sent_ahead = ahead;
        rig.prepare();
        EXPECT_EQ(rig.relay.sent_ahead, 0u) << "of the message before";
    }
}

TEST(BodyRelay, SendsNothingAtOnceToASinkThatIsFullOrGone) {
    for (const bool is_gone : {false, true}) {
        SCOPED_TRACE(is_gone ? "gone" : "full");
        Rig rig(Path::copy, {.ours_send = 8 * 1024, .theirs_receive = 8 * 1024});
        const std::string filler(64 * 1024, 'f');
        const iovec piece{const_cast<char*>(filler.data()), filler.size()};
        std::size_t filled = 0;
        if (is_gone) {
            rig.sink_pair.theirs.close_with_reset();
            rig.loop.settle();
        } else {
            ASSERT_TRUE(rig.loop.run_until([&] {
                const ssize_t sent = rig.sink_stream->send(&piece, 1, false);
                filled += static_cast<std::size_t>(std::max<ssize_t>(sent, 0));
                return sent < 0;
            }));
        }
        rig.begin(BodyKind::length, 5, "hello");
        EXPECT_FALSE(relay_at_once(rig.relay));
        EXPECT_EQ(rig.relay.sent_ahead, 0u);
        rig.way = Way::coroutine_only;
        rig.start();
        EXPECT_FALSE(rig.relay.any_sent);
        if (is_gone) {
            ASSERT_TRUE(rig.loop.run_until([&] { return rig.end.has_value(); }));
            EXPECT_EQ(*rig.end, RelayEnd::sink_closed);
            EXPECT_FALSE(rig.relay.any_sent || rig.relay.head_sent || rig.relay.body_sent);
        } else {
            EXPECT_EQ(rig.transfer({}), RelayEnd::complete);
            EXPECT_EQ(rig.arrived.substr(filled), kHead + "hello");
        }
    }
}

TEST(BodyRelay, LeavesAtOnceWhatItWasGivenWhereItBelongs) {
    const std::string bytes = "hello, and the next";
    for (const Way way : kWays) {
        Rig rig;
        rig.way = way;
        ReplayBuffer replay;
        replay.reset(100);
        std::string surplus;
        rig.begin(BodyKind::length, 5, bytes);
        rig.source.surplus = &surplus;
        rig.source.prefix_is_stable = true;
        rig.relay.replay = &replay;
        rig.relay.prefix_buffer = rig.buffers.acquire();
        rig.start();
        ASSERT_TRUE(rig.end);
        EXPECT_EQ(surplus, ", and the next");
        EXPECT_EQ(rig.source.prefix, "");
        EXPECT_EQ(replay.front().data(), bytes.data()) << "what stays where it is is not copied";
        EXPECT_EQ(replay.front(), "hello");
        EXPECT_FALSE(rig.relay.prefix_buffer) << "what was sent is not held";
    }
}

TEST(BodyRelay, JoinsWhatCameWithTheHeadAndWhatArrivedSince) {
    // The whole body is there at the start and the sink is slow. Meanwhile the bytes stay in place,
    // and a buffer is held only if they are in it.
    struct Case {
        std::size_t size;
        std::size_t in_prefix;
        bool is_kept;
        unsigned buffers;
    };
    for (const Case& c : {Case{60 * 1024, 0, true, 0}, Case{60 * 1024, 1000, true, 0},
                          Case{60 * 1024, 60 * 1024, true, 0}, Case{kSpliceFrom - 1, 0, false, 1},
                          Case{kSpliceFrom + 900, 1000, false, 1}}) {
        const std::string payload = bytes_of(c.size);
        SCOPED_TRACE(testing::Message() << c.in_prefix << ' ' << c.is_kept);
        Rig rig(Path::splice, {.ours_send = 4 * 1024, .theirs_receive = 4 * 1024});
        ReplayBuffer replay;
        replay.reset(payload.size());
        rig.begin(BodyKind::length, payload.size(),
                  std::string_view(payload).substr(0, c.in_prefix));
        rig.source.prefix_is_stable = true;
        rig.relay.replay = c.is_kept ? &replay : nullptr;
        std::string_view rest = std::string_view(payload).substr(c.in_prefix);
        ASSERT_TRUE(rig.loop.run_until([&] {
            send_some(rig.source_pair.theirs, rest);
            return rest.empty() &&
                   (c.in_prefix == payload.size() || rig.source_stream.is_readable());
        }));
        rig.loop.settle();
        rig.start();
        EXPECT_TRUE(rig.source.complete) << "all of it is taken at once";
        EXPECT_EQ(rig.source.received, payload.size());
        ASSERT_TRUE(rig.sink_stream->has_writer()) << "what does not fit waits";
        EXPECT_EQ(rig.buffers.in_use(), c.buffers);
        EXPECT_EQ(rig.transfer({}, {.read = 1000}), RelayEnd::complete);
        expect_same(rig.body(), payload);
        EXPECT_EQ(rig.relay.payload_sent, payload.size());
        if (c.is_kept) {
            expect_same(std::string(replay.front()) + std::string(replay.rest()), payload);
        }
    }
}

TEST(BodyRelay, JoinsChunksToo) {
    // Two chunk lines in one send, or none if the receiver gets no chunks.
    for (const bool chunked_out : {true, false}) {
        const std::string payload = bytes_of(20 * 1024);
        const std::string input = chunked(payload, 900);
        Rig rig;
        rig.begin(BodyKind::chunked, 0, std::string_view(input).substr(0, 5000));
        rig.relay.chunked_out = chunked_out;
        std::string_view rest = std::string_view(input).substr(5000);
        send_some(rig.source_pair.theirs, rest);
        ASSERT_TRUE(rest.empty());
        ASSERT_TRUE(rig.loop.run_until([&] { return rig.source_stream.is_readable(); }));
        rig.loop.settle();
        EXPECT_EQ(rig.wait(), RelayEnd::complete);
        if (chunked_out) {
            const Unchunked out = unchunked(rig.body());
            EXPECT_TRUE(out.done);
            expect_same(out.payload, payload);
            EXPECT_EQ(out.chunks, 2u) << "one for each read, however small those that came are";
        } else {
            expect_same(rig.body(), payload);
        }
    }
}

TEST(BodyRelay, HoldsNothingBackForBytesThatDoNotCome) {
    // A head waits for a body that will be spliced, but no body comes: the read that filled its
    // buffer exactly had taken all.
    Rig rig;
    const std::string payload = bytes_of(100 * 1024);
    rig.begin(BodyKind::length, payload.size(), std::string_view(payload).substr(0, 3000));
    std::string_view rest = std::string_view(payload).substr(3000);
    send_some(rig.source_pair.theirs, rest, 1000);
    ASSERT_TRUE(rig.loop.run_until([&] { return rig.source_stream.is_readable(); }));
    char taken[1000];
    ASSERT_EQ(rig.source_stream.receive(taken, sizeof taken), 1000);
    ASSERT_TRUE(rig.source_stream.is_readable()) << "as far as it knows";
    rig.source.remaining -= 1000;
    rig.start();
    ASSERT_TRUE(rig.source_stream.has_reader());
    int pending = -1;
    ASSERT_EQ(::ioctl(rig.sink_stream->descriptor(), SIOCOUTQNSD, &pending), 0);
    EXPECT_EQ(pending, 0) << "bytes that the kernel keeps back";
    EXPECT_EQ(rig.transfer(rest), RelayEnd::complete);
    expect_same(rig.body(), payload.substr(0, 3000) + payload.substr(4000));
}

TEST(BodyRelay, HoldsNoSecondBufferBehindALargeFirstPiece) {
    const std::string payload = bytes_of(110 * 1024);
    Rig rig(Path::splice, {.ours_send = 4 * 1024, .theirs_receive = 4 * 1024});
    rig.begin(BodyKind::length, payload.size(), std::string_view(payload).substr(0, 100 * 1024));
    std::string_view rest = std::string_view(payload).substr(100 * 1024);
    send_some(rig.source_pair.theirs, rest, 1000);
    ASSERT_TRUE(rig.loop.run_until([&] { return rig.source_stream.is_readable(); }));
    rig.start();
    ASSERT_TRUE(rig.sink_stream->has_writer());
    EXPECT_EQ(rig.buffers.in_use(), 0u);
    EXPECT_EQ(rig.transfer(rest), RelayEnd::complete);
    expect_same(rig.body(), payload);
}

// Sends a body to a sink that breaks at some point, then the whole body to another sink.
void resend_after_failure(BodyKind kind, const std::string& input, const std::string& payload,
                          std::size_t in_prefix, std::size_t limit, std::size_t die_after) {
    Rig rig(Path::splice, {.ours_send = 8 * 1024, .theirs_receive = 8 * 1024});
    ReplayBuffer replay;
    replay.reset(limit);
    rig.begin(kind, payload.size(), std::string_view(input).substr(0, in_prefix));
    rig.source.prefix_is_stable = true;
    rig.relay.replay = &replay;
    rig.relay.chunked_out = kind == BodyKind::chunked;
    rig.start();
    std::string_view rest = std::string_view(input).substr(in_prefix);
    ASSERT_TRUE(rig.loop.run_until([&] {
        send_some(rig.source_pair.theirs, rest);
        receive_some(rig.sink_pair.theirs, rig.arrived, 4000);
        return rig.arrived.size() >= die_after || rig.end.has_value();
    }));
    rig.sink_pair.theirs.close_with_reset();
    ASSERT_TRUE(
        rig.loop.run_until([&] { return rig.end.has_value() || rig.source_stream.has_reader(); }));
    if (!rig.end) {
        // All was sent and the relay waits for more, as with a backend that dies between two pieces
        // of an upload.
        rig.relay.cancelled = true;
        rig.source_stream.interrupt_read();
        ASSERT_TRUE(rig.loop.run_until([&] { return rig.end.has_value(); }));
    }
    rig.started = false;
    if (!replay.is_whole()) {
        EXPECT_EQ(replay.size(), 0u);
        return;  // the relay admits it: this body cannot be sent again
    }
    EXPECT_EQ(replay.size(), rig.source.received);
    rig.take_new_sink();
    rig.prepare();
    rig.relay.replay = &replay;
    rig.relay.resend = true;
    rig.relay.chunked_out = kind == BodyKind::chunked;
    ASSERT_EQ(rig.transfer(rest), RelayEnd::complete);
    if (kind == BodyKind::chunked) {
        const Unchunked out = unchunked(rig.body());
        EXPECT_TRUE(out.done);
        expect_same(out.payload, payload);
    } else {
        expect_same(rig.body(), payload);
    }
    EXPECT_EQ(rig.relay.payload_sent, payload.size());
    EXPECT_TRUE(replay.is_whole());
    EXPECT_EQ(replay.size(), payload.size());
}

TEST(BodyRelay, SendsWhatItKeptToTheNextBackend) {
    const std::string payload = bytes_of(300 * 1024);
    for (const std::size_t in_prefix : {std::size_t{0}, std::size_t{1}, std::size_t{20000}}) {
        for (const std::size_t die_after : {std::size_t{0}, std::size_t{30}, std::size_t{50000}}) {
            SCOPED_TRACE(testing::Message() << in_prefix << ' ' << die_after);
            resend_after_failure(BodyKind::length, payload, payload, in_prefix, 1 << 20, die_after);
            resend_after_failure(BodyKind::chunked, chunked(payload, 7000), payload, in_prefix,
                                 1 << 20, die_after);
            if (testing::Test::HasFatalFailure()) {
                return;
            }
        }
    }
}

TEST(BodyRelay, NeverResendsABodyWithAHole) {
    // Very many small chunks: when the sink breaks, some received bytes may not be decoded, and
    // they cannot be read again.
    const std::string payload = bytes_of(20000);
    for (const std::size_t die_after :
         {std::size_t{0}, std::size_t{30}, std::size_t{2000}, std::size_t{10000}}) {
        SCOPED_TRACE(die_after);
        resend_after_failure(BodyKind::chunked, chunked(payload, 1), payload, 0, 1 << 20,
                             die_after);
        resend_after_failure(BodyKind::chunked, chunked(payload, 3), payload, 3000, 1 << 20,
                             die_after);
    }
}

TEST(BodyRelay, DropsABodyThatOutgrowsItsReplayBuffer) {
    const std::string payload = bytes_of(3 << 20);
    Rig rig;
    ReplayBuffer replay;
    replay.reset(300 * 1024);
    rig.begin(BodyKind::length, payload.size());
    rig.relay.replay = &replay;
    EXPECT_EQ(rig.transfer(payload), RelayEnd::complete);
    expect_same(rig.body(), payload);
    EXPECT_FALSE(replay.is_whole());
    EXPECT_EQ(replay.size(), 0u);
    EXPECT_EQ(rig.budget.in_use(), 1u) << "spliced once nothing is kept any more";
}

TEST(ReplayBuffer, CopiesNothingThatStays) {
    const std::string head = "abcdef";
    ReplayBuffer replay;
    replay.reset(10);
    EXPECT_TRUE(replay.is_whole());
    replay.add(std::string_view(head).substr(0, 2), true);
    replay.add(std::string_view(head).substr(2, 2), true);
    EXPECT_EQ(replay.front().data(), head.data());
    EXPECT_EQ(replay.front(), "abcd");
    replay.add("gh", false);
    replay.add(std::string_view(head).substr(4, 2), true);
    EXPECT_EQ(replay.front(), "abcd");
    EXPECT_EQ(replay.rest(), "ghef") << "order before all";
    replay.add("ij", false);
    EXPECT_EQ(replay.size(), 10u);
    EXPECT_TRUE(replay.is_whole());
    replay.add("k", false);
    EXPECT_FALSE(replay.is_whole());
    EXPECT_EQ(replay.size(), 0u);
    replay.add("l", false);
    EXPECT_EQ(replay.size(), 0u) << "once dropped it stays so until reset";
    replay.reset(1);
    replay.add("l", false);
    EXPECT_TRUE(replay.is_whole());
    // Stable bytes with a gap (payload of two chunks) are kept in order too.
    replay.reset(10);
    replay.add(std::string_view(head).substr(0, 2), true);
    replay.add(std::string_view(head).substr(3, 2), true);
    EXPECT_EQ(std::string(replay.front()) + std::string(replay.rest()), "abde");
}

TEST(ReplayBuffer, KeepsWhatIsReceivedInPlace) {
    const std::string head = "abc";
    ReplayBuffer replay;
    replay.reset(10);
    replay.add(head, true);
    EXPECT_TRUE(replay.has_room(7));
    EXPECT_FALSE(replay.has_room(8));
    char* const room = replay.room(7);
    std::memcpy(room, "defghij", 7);
    EXPECT_EQ(replay.keep(2), "de");
    EXPECT_EQ(replay.room(5), room + 2) << "what was asked for is there: it does not move";
    EXPECT_EQ(replay.keep(5), "fghij");
    EXPECT_EQ(replay.rest(), "defghij");
    EXPECT_TRUE(replay.has_room(0));
    EXPECT_FALSE(replay.has_room(1));
    replay.add("k", false);
    EXPECT_FALSE(replay.has_room(0)) << "dropped";
    // All pieces of a body of unknown length are kept.
    const std::string payload = bytes_of(100 * 1024);
    replay.reset(payload.size());
    for (std::size_t i = 0; i < payload.size(); i += 1000) {
        replay.add(std::string_view(payload).substr(i, 1000), false);
    }
    EXPECT_TRUE(replay.is_whole());
    expect_same(std::string(replay.rest()), payload);
}

TEST(ReplayBuffer, TakesItsMemoryFromThePoolAndGivesItBack) {
    ReplayPool pool;
    const char* block = nullptr;
    for (int i = 0; i < 3; ++i) {
        ReplayBuffer replay(&pool);
        replay.reset(ReplayPool::kBlock);
        replay.add("hello", false);
        EXPECT_TRUE(block == nullptr || replay.rest().data() == block) << "the same once more";
        block = replay.rest().data();
    }
    {
        // A second buffer has its own memory; drop() keeps the memory until reset().
        ReplayBuffer one(&pool);
        ReplayBuffer other(&pool);
        one.reset(10);
        other.reset(10);
        one.add("one", false);
        other.add("other", false);
        EXPECT_EQ(one.rest().data(), block);
        EXPECT_NE(other.rest().data(), block);
        const std::string_view sending = one.rest();
        one.drop();
        EXPECT_EQ(sending, "one");
        ReplayBuffer third(&pool);
        third.reset(10);
        third.add("third", false);
        EXPECT_NE(third.rest().data(), block);
        third.reset(ReplayPool::kBlock + 1);
        one.reset(10);
        const std::string payload = bytes_of(ReplayPool::kBlock + 1);
        third.add(std::string_view(payload).substr(0, 10), false);
        EXPECT_EQ(third.rest().data(), block) << "the last that was given back";
        third.add(std::string_view(payload).substr(10), false);
        expect_same(std::string(third.rest()), payload);
        one.add("again", false);
        EXPECT_EQ(one.rest().data(), block) << "what outgrew its block gave it back";
    }
    // Beyond the pool a buffer allocates its own memory.
    std::vector<std::unique_ptr<ReplayBuffer>> many;
    for (int i = 0; i < 100; ++i) {
        many.push_back(std::make_unique<ReplayBuffer>(&pool));
        many.back()->reset(10);
        many.back()->add(std::to_string(i), false);
    }
    for (int i = 0; i < 100; ++i) {
        EXPECT_EQ(many[static_cast<std::size_t>(i)]->rest(), std::to_string(i));
    }
}

TEST(BodyRelay, SendsWhatCameWithTheHeadBeforeASourceThatBroke) {
    // The next read meets the end, which is reported after the bytes.
    for (const bool reset : {false, true}) {
        for (const bool keep : {false, true}) {
            SCOPED_TRACE(testing::Message() << reset << keep);
            Rig rig;
            ReplayBuffer replay;
            replay.reset(20);
            rig.begin(BodyKind::length, 20, "hello");
            rig.relay.replay = keep ? &replay : nullptr;
            if (reset) {
                rig.source_pair.theirs.close_with_reset();
            } else {
                ::shutdown(rig.source_pair.theirs.get(), SHUT_WR);
            }
            ASSERT_TRUE(rig.loop.run_until([&] { return rig.source_stream.peer_finished(); }));
            EXPECT_EQ(rig.wait(), RelayEnd::source_closed);
            EXPECT_EQ(rig.body(), "hello");
            EXPECT_EQ(rig.relay.payload_sent, 5u);
            EXPECT_EQ(rig.relay.error != 0, reset);
            if (keep) {
                EXPECT_EQ(replay.size(), 5u);
            }
        }
    }
}

TEST(SendAll, SendsAllOrSaysWhyNot) {
    const std::string text = bytes_of(2 << 20);
    {
        Rig rig(Path::copy, {.ours_send = 8 * 1024, .theirs_receive = 8 * 1024});
        std::optional<RelayEnd> end;
        run_send(*rig.sink_stream, text, 100, end);
        ASSERT_TRUE(rig.loop.run_until([&] {
            receive_some(rig.sink_pair.theirs, rig.arrived, 100000);
            return end.has_value();
        }));
        EXPECT_EQ(*end, RelayEnd::complete);
        rig.read_rest();
        expect_same(rig.arrived, text);
    }
    {
        Rig rig(Path::copy, {.ours_send = 8 * 1024, .theirs_receive = 8 * 1024});
        std::optional<RelayEnd> end;
        run_send(*rig.sink_stream, text, 1, end);
        ASSERT_TRUE(rig.loop.run_until([&] { return end.has_value(); }));
        EXPECT_EQ(*end, RelayEnd::sink_timed_out);
        end.reset();
        run_send(*rig.sink_stream, text, 100, end);
        rig.sink_stream->interrupt_write();
        ASSERT_TRUE(rig.loop.run_until([&] { return end.has_value(); }));
        EXPECT_EQ(*end, RelayEnd::interrupted);
        end.reset();
        run_send(*rig.sink_stream, text, 100, end);
        rig.sink_pair.theirs.close_with_reset();
        ASSERT_TRUE(rig.loop.run_until([&] { return end.has_value(); }));
        EXPECT_EQ(*end, RelayEnd::sink_closed);
    }
    Rig rig;
    std::optional<RelayEnd> end;
    run_send(*rig.sink_stream, "", 1, end);
    EXPECT_EQ(end, RelayEnd::complete);
}

}  // namespace
}  // namespace s3gate::net
