// Relays one message from one stream to another: head pieces first, then the body. A chunked body
// is decoded and framed anew, a long plain one is spliced, others are copied through a pooled
// buffer. A direction holds at most one such buffer or pipe. The relay makes no decisions; it
// reports how it ended.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "s3gate/http/chunked.hpp"
#include "s3gate/http/framing.hpp"
#include "s3gate/net/buffer_pool.hpp"
#include "s3gate/net/replay_buffer.hpp"
#include "s3gate/net/stream.hpp"
#include "s3gate/net/task.hpp"

namespace s3gate::net {

// Bodies at least this long are spliced (docs/architecture.md).
inline constexpr std::uint64_t kSpliceFrom = 32 * 1024;

enum class RelayEnd : std::uint8_t {
    complete,
    source_closed,  // ended or reset before the body was complete
    source_timed_out,
    source_malformed,  // bad chunk
    sink_closed,
    sink_timed_out,
    interrupted,
};

// True if the source did not send its whole body as it should.
constexpr bool is_end_of_source(RelayEnd end) {
    return end == RelayEnd::source_closed || end == RelayEnd::source_timed_out ||
           end == RelayEnd::source_malformed;
}

// A body from the sender's side, as it arrives. Lives as long as the message, across attempts; one
// object per message.
struct BodySource {
    BodySource() = default;
    // A body sent by `from`. `received_already` are the bytes that came with the head; they must
    // stay in place until they are taken.
    BodySource(Stream& from, const http::Framing& framing, std::string_view received_already);
    // Counts `payload` more received bytes.
    void note_received(std::uint64_t payload);

    Stream* stream = nullptr;
    http::BodyKind kind = http::BodyKind::none;
    std::uint64_t remaining = 0;  // BodyKind::length
    // Received bytes; those beyond the body's end belong to the next message.
    std::string_view prefix;
    bool prefix_is_stable = false;  // the prefix outlives the relay (head buffer of the request)
    std::optional<http::ChunkDecoder> decoder;  // BodyKind::chunked
    bool complete = false;
    std::uint64_t received = 0;  // payload bytes
    std::string* surplus =
        nullptr;  // receives the bytes after a chunked body (next pipelined request)
};

// Resources of relays besides the streams. They must outlive the relay.
struct RelayMeans {
    // Lists that keep their memory between relays. Only one relay uses them at a time.
    struct Lists {
        std::vector<iovec> pieces;  // of the current send
        std::string last_chunk;     // including the trailers
    };
    BufferPool& buffers;
    PipePool& pipes;
    Lists& lists;
};

// One relay: its task and its progress. One object per relay. It owns only the buffer with its
// first bytes.
struct BodyRelay {
    BodyRelay() = default;
    BodyRelay(BodySource& from, Stream& to, const RelayMeans& means);

    BodySource* source = nullptr;
    Stream* sink = nullptr;
    BufferPool* buffers = nullptr;
    PipePool* pipes = nullptr;
    RelayMeans::Lists* lists = nullptr;
    const std::vector<std::string_view>* head =
        nullptr;  // sent first, together with body bytes that are at hand
    ReplayBuffer* replay = nullptr;
    bool resend = false;  // send the content of the replay buffer first
    bool chunked_out = false;
    // The sink has a short TCP_USER_TIMEOUT (see wait_for_sink), and the source is a client.
    bool sink_is_backend = false;
    Tick read_timeout = 1;
    Tick write_timeout = 1;
    Buffer prefix_buffer;  // the memory of source.prefix and the head pieces, if it may be freed
                           // after they were sent
    // Results, also valid while the relay runs.
    std::uint64_t payload_sent = 0;
    bool head_sent = false;  // the kernel accepted every head byte
    bool any_sent = false;   // the kernel accepted at least one byte
    bool body_sent = false;  // the kernel accepted at least one body byte
    bool cancelled = false;  // the owner sets this before it interrupts the streams; the relay ends
                             // with `interrupted`
    int error = 0;           // errno of a stream that closed
    // Bytes of the head and the following body that relay_at_once() sent before the sink was full.
    // relay_body() continues there.
    std::size_t sent_ahead = 0;
};

// Runs until the body is complete or the relay fails. `relay` must live until then.
task<RelayEnd> relay_body(BodyRelay& relay);

// The same without a coroutine, for a message that is complete in memory, as most short ones are:
// no body, or a body of known length that came with the head, not chunked, nothing kept from an
// earlier attempt. True if the sink took it in one piece; the results are then those of
// relay_body() at `complete`. Otherwise call relay_body(), which continues at `sent_ahead`.
bool relay_at_once(BodyRelay& relay);

// Sends bytes that are no body (local replies, interim responses). Ends as relay_body() does.
task<RelayEnd> send_all(Stream& to, std::string_view bytes, Tick write_timeout);

}  // namespace s3gate::net
