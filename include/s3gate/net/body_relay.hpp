// Bytes of one message from one stream to another: head pieces first, then the body, decoded and
// framed anew where it is chunked, spliced where it is long and plain, copied through one pooled
// buffer otherwise. Nothing is held beyond that buffer (or pipe) per direction. Decides nothing: it
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

// The sending side's view of a body as it arrives. Lives as long as the message, across attempts;
// made anew for each message.
struct BodySource {
    BodySource() = default;
    // A body that `from` sends. `received_already` are the bytes of it that came with the head, and
    // must stay where they are until they are taken.
    BodySource(Stream& from, const http::Framing& framing, std::string_view received_already);
    // `payload` bytes more of it have come.
    void note_received(std::uint64_t payload);

    Stream* stream = nullptr;
    http::BodyKind kind = http::BodyKind::none;
    std::uint64_t remaining = 0;    // BodyKind::length
    std::string_view prefix;        // bytes already received; not part of the body beyond its end
    bool prefix_is_stable = false;  // they outlive the relay (head buffer of the request)
    std::optional<http::ChunkDecoder> decoder;  // BodyKind::chunked
    bool complete = false;
    std::uint64_t received = 0;  // payload bytes
    std::string* surplus =
        nullptr;  // where bytes behind the end of a chunked body go (next pipelined request)
};

// What relays need beside the streams. All of it must outlive the relay.
struct RelayMeans {
    // Lists that keep their memory from relay to relay. One relay at a time uses them.
    struct Lists {
        std::vector<iovec> pieces;  // of what is being sent
        std::string last_chunk;     // with the trailers
    };
    BufferPool& buffers;
    PipePool& pipes;
    Lists& lists;
};

// One relay: what it is to do, and how far it got. Made anew for each. It decides nothing and owns
// nothing but the buffer that its first bytes lie in.
struct BodyRelay {
    BodyRelay() = default;
    BodyRelay(BodySource& from, Stream& to, const RelayMeans& means);

    BodySource* source = nullptr;
    Stream* sink = nullptr;
    BufferPool* buffers = nullptr;
    PipePool* pipes = nullptr;
    RelayMeans::Lists* lists = nullptr;
    const std::vector<std::string_view>* head =
        nullptr;  // sent first, with the first body bytes where they are at hand
    ReplayBuffer* replay = nullptr;
    bool resend = false;  // begin with what the replay buffer holds
    bool chunked_out = false;
    // Its TCP_USER_TIMEOUT is short (see wait_for_sink), and the source is a client.
    bool sink_is_backend = false;
    Tick read_timeout = 1;
    Tick write_timeout = 1;
    Buffer prefix_buffer;  // what source.prefix and the head pieces point into, if it may go once
                           // they are sent
    // Results, also valid while it runs.
    std::uint64_t payload_sent = 0;
    bool head_sent = false;  // every head byte was accepted by the kernel
    bool any_sent = false;   // at least one byte was
    bool body_sent = false;  // at least one body byte was
    bool cancelled = false;  // set by the owner before interrupting the streams: the relay ends
                             // with `interrupted`
    int error = 0;           // errno of a closed end
    // Bytes of the head, and of the body behind it, that relay_at_once() sent of a message that it
    // could not send whole. relay_body() takes them up.
    std::size_t sent_ahead = 0;
};

// Runs until the body is through or something ends it. `relay` must live until then.
task<RelayEnd> relay_body(BodyRelay& relay);

// The same, without a coroutine, for a message that is at hand whole, as most short ones are: no
// body, or one of known length that came with the head, not chunked, nothing kept from an earlier
// attempt. True if the sink took it in one piece; the results are then what relay_body() leaves
// when it is `complete`. Otherwise relay_body() goes on: `sent_ahead` says what went out.
bool relay_at_once(BodyRelay& relay);

// Sends pieces that are no body (local replies, interim responses). Same ends as relay_body.
task<RelayEnd> send_all(Stream& to, std::string_view bytes, Tick write_timeout);

}  // namespace s3gate::net
