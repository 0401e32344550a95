#include "s3gate/net/body_relay.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <iterator>
#include <utility>

#include "sink_wait.hpp"

namespace s3gate::net {
namespace {

// Fairness (docs/architecture.md): what one relay may do before others get their turn.
constexpr std::size_t kTurnBytes = Reactor::kRelayedPerRound;
constexpr unsigned kTurnCalls = 16;
// sendmsg takes at most UIO_MAXIOV (1024) pieces.
constexpr std::size_t kMaxPieces = 512;
// Pieces of a head that is sent at once. It has more only if many of its lines are left out, one
// here and one there.
constexpr std::size_t kMaxHeadAtOnce = 16;
// A larger piece goes out alone: the call saved is nothing beside it, and two buffers would be held
// for as long as the receiver takes.
constexpr std::uint64_t kJoinBelow = 64 * 1024;

iovec piece_of(std::string_view bytes) {
    return {const_cast<char*>(bytes.data()), bytes.size()};
}

// Removes `sent` bytes from the front of the list, whose first unsent entry is `first`.
std::size_t advance(std::vector<iovec>& iov, std::size_t first, std::size_t sent) {
    while (sent > 0 && first < iov.size()) {
        if (sent < iov[first].iov_len) {
            iov[first].iov_base = static_cast<char*>(iov[first].iov_base) + sent;
            iov[first].iov_len -= sent;
            break;
        }
        sent -= iov[first].iov_len;
        ++first;
    }
    while (first < iov.size() && iov[first].iov_len == 0) {
        ++first;
    }
    return first;
}

// Payload bytes of a batch that went out before it was cut, as near as framing bytes in between
// allow.
std::uint64_t sent_of(const std::vector<iovec>& iov, std::size_t first, std::uint64_t batch) {
    std::uint64_t unsent = 0;
    for (std::size_t i = first; i < iov.size(); ++i) {
        unsent += iov[i].iov_len;
    }
    return batch > unsent ? batch - unsent : 0;
}

// The line in front of a chunk of `payload` bytes; nothing for none, which would end the message.
iovec chunk_line(BodyRelay& relay, std::size_t payload) {
    char* const line = relay.chunk_lines[relay.chunk_count++ % std::size(relay.chunk_lines)];
    const int length =
        payload > 0 ? std::snprintf(line, sizeof relay.chunk_lines[0], "%zx\r\n", payload) : 0;
    return {line, static_cast<std::size_t>(length)};
}

enum class Fill { bytes, end, malformed, need_more };

// Turns received bytes into output pieces. `input` is consumed as far as the body goes.
Fill take_input(BodyRelay& relay, std::string_view& input, bool stable) {
    BodySource& source = *relay.source;
    const std::size_t slot = relay.iov.size();
    if (relay.chunked_out) {
        relay.iov.push_back({});  // the chunk line, known once the payload is
    }
    std::size_t payload = 0;
    const auto emit = [&](std::string_view bytes) {
        if (bytes.empty()) {
            return;
        }
        relay.iov.push_back(piece_of(bytes));
        payload += bytes.size();
        if (relay.replay != nullptr) {
            relay.replay->add(bytes, stable);
        }
    };
    Fill result = Fill::bytes;
    if (source.kind == http::BodyKind::chunked) {
        while (relay.iov.size() < kMaxPieces) {
            const http::ChunkDecoder::Step step = source.decoder.step(input);
            input.remove_prefix(step.consumed);
            if (step.kind == http::ChunkDecoder::Kind::payload) {
                emit(step.payload);
                continue;
            }
            if (step.kind == http::ChunkDecoder::Kind::bad) {
                return Fill::malformed;
            }
            if (step.kind == http::ChunkDecoder::Kind::done) {
                source.complete = true;
            }
            break;
        }
    } else {
        const std::uint64_t bound =
            source.kind == http::BodyKind::length ? source.remaining : input.size();
        const std::size_t take =
            static_cast<std::size_t>(std::min<std::uint64_t>(bound, input.size()));
        emit(input.substr(0, take));
        input.remove_prefix(take);
        if (source.kind == http::BodyKind::length) {
            source.remaining -= take;
            source.complete = source.remaining == 0;
        }
    }
    source.received += payload;
    if (relay.chunked_out) {
        relay.iov[slot] = chunk_line(relay, payload);
        if (payload > 0) {
            relay.iov.push_back(piece_of("\r\n"));
        }
    }
    if (payload == 0 && !source.complete) {
        result = Fill::need_more;
    }
    return result;
}

// How much of the body can be received where it is kept anyway, without a copy: all that is to
// come, or nothing.
std::size_t room_to_keep(const BodyRelay& relay) {
    return relay.replay != nullptr && relay.source->kind == http::BodyKind::length &&
                   !relay.chunked_out && relay.replay->has_room(relay.source->remaining)
               ? static_cast<std::size_t>(relay.source->remaining)
               : 0;
}

// take_input() for bytes that were received into the replay buffer's room.
void take_in_place(BodyRelay& relay, std::size_t bytes) {
    BodySource& source = *relay.source;
    relay.iov.push_back(piece_of(relay.replay->keep(bytes)));
    source.remaining -= bytes;
    source.complete = source.remaining == 0;
    source.received += bytes;
}

// True if what comes next is long and plain and at hand, and there is a pipe for it.
bool is_to_be_spliced(const BodyRelay& relay) {
    const BodySource& source = *relay.source;
    return source.kind == http::BodyKind::length && source.remaining >= kSpliceFrom &&
           source.prefix.empty() && source.stream->is_readable() &&
           (relay.replay == nullptr || !relay.replay->is_whole()) &&
           relay.pipes->offers(source.remaining);
}

// True for what has taken a whole turn already: short messages go before its news.
bool is_long(const BodyRelay& relay) {
    return relay.payload_sent >= kTurnBytes;
}

SinkWait sink_wait_of(const BodyRelay& relay) {
    return {relay.write_timeout, relay.sink_is_backend, &relay.cancelled};
}

// The end of a chunked message: last chunk, trailers that may go on, empty line (RFC 9112 §7.1).
// False for malformed trailers, also where the receiver gets no chunks and they go nowhere: a
// message with such did not end well.
bool append_end(BodyRelay& relay) {
    relay.trailer_text = "0\r\n";
    const auto sender =
        relay.sink_is_backend ? http::TrailersOf::client : http::TrailersOf::backend;
    if (relay.source->kind == http::BodyKind::chunked &&
        !http::filter_trailers(relay.source->decoder.trailers(), sender, relay.trailer_text)) {
        return false;
    }
    if (relay.chunked_out) {
        relay.trailer_text += "\r\n";
        relay.iov.push_back(piece_of(relay.trailer_text));
    }
    return true;
}

}  // namespace

void BodySource::begin(Stream& from, const http::Framing& framing,
                       std::string_view received_already) {
    stream = &from;
    kind = framing.kind;
    remaining = framing.length;
    prefix = received_already;
    prefix_is_stable = false;
    decoder.reset();
    received = 0;
    surplus = nullptr;
    complete = kind == http::BodyKind::none || (kind == http::BodyKind::length && remaining == 0);
}

void BodyRelay::begin(BodySource& from, Stream& to, BufferPool& buffer_pool, PipePool& pipe_pool) {
    source = &from;
    sink = &to;
    buffers = &buffer_pool;
    pipes = &pipe_pool;
    head = nullptr;
    replay = nullptr;
    resend = chunked_out = sink_is_backend = false;
    payload_sent = 0;
    head_sent = any_sent = body_sent = cancelled = false;
    error = 0;
    sent_ahead = 0;
    iov.clear();
    buffer.release();
    prefix_buffer.release();
}

task<RelayEnd> relay_body(BodyRelay& relay) {
    BodySource& source = *relay.source;
    Stream& sink = *relay.sink;
    std::size_t first = 0;      // first unsent piece of relay.iov
    std::uint64_t batch = 0;    // payload bytes in relay.iov
    std::size_t head_left = 0;  // head bytes in front of it
    std::size_t turn_bytes = 0;
    unsigned turn_calls = 0;
    bool is_end_queued = false;
    bool is_buffer_used = false;  // pieces of relay.iov, or what is unread, lie in relay.buffer
    bool is_held_back = false;    // sent with MSG_MORE, and nothing behind it yet
    bool resent = false;
    bool was_complete = source.complete;
    std::string_view
        unread;  // received, not yet turned into pieces (chunked with very many chunks)
    // What is unread dies with this relay and cannot be received again: what was kept is then no
    // longer all of the body.
    struct UnreadGuard {
        BodyRelay& relay;
        const std::string_view& unread;
        ~UnreadGuard() {
            if (!unread.empty() && !relay.source->complete && relay.replay != nullptr) {
                relay.replay->drop();
            }
        }
    };
    const UnreadGuard guard{relay, unread};
    // Before a wait for the sink. A long relay sends what it holds then, and with that its turn is
    // over.
    const auto begin_turn = [&] {
        turn_calls = 0;
        turn_bytes = is_long(relay) ? kTurnBytes : 0;
    };

    const auto note_sent = [&](std::size_t bytes) {
        relay.any_sent = true;
        turn_bytes += bytes;
        sink.reactor().note_relayed(bytes);
        if (bytes > head_left) {
            relay.body_sent = true;  // chunk framing counts: an empty chunked body is a body
            head_left = 0;
        } else {
            head_left -= bytes;
        }
        relay.head_sent = relay.head_sent || head_left == 0;
        first = advance(relay.iov, first, bytes);
    };

    if (relay.head != nullptr) {
        for (const std::string_view piece : *relay.head) {
            relay.iov.push_back(piece_of(piece));
            head_left += piece.size();
        }
    } else {
        relay.head_sent = true;
    }

    for (;;) {
        if (relay.cancelled) {
            co_return RelayEnd::interrupted;
        }
        // 1. Gather: what was kept from an earlier attempt, what came with the head, what the
        // socket has.
        if (relay.resend && !resent) {
            resent = true;
            const std::size_t kept = relay.replay->size();
            if (kept > 0) {
                if (relay.chunked_out) {
                    relay.iov.push_back(chunk_line(relay, kept));
                }
                relay.iov.push_back(piece_of(relay.replay->front()));
                relay.iov.push_back(piece_of(relay.replay->rest()));
                if (relay.chunked_out) {
                    relay.iov.push_back(piece_of("\r\n"));
                }
                batch += kept;
            }
        } else if (!source.complete && batch == 0) {
            const std::uint64_t before = source.received;
            bool may_join = true;  // what arrived since goes out together with what was at hand
            if (!source.prefix.empty() || !unread.empty()) {
                const bool from_prefix = !source.prefix.empty();
                std::string_view& input = from_prefix ? source.prefix : unread;
                if (take_input(relay, input, from_prefix && source.prefix_is_stable) ==
                    Fill::malformed) {
                    co_return RelayEnd::source_malformed;
                }
                batch = source.received - before;
                // What was unread lies in the buffer that would be received into.
                may_join = batch == 0 || (from_prefix && batch <= kJoinBelow);
            } else if (first == relay.iov.size() && is_to_be_spliced(relay)) {
                // Long and plain: through a pipe, without touching the bytes.
                Pipe pipe = relay.pipes->acquire();
                if (pipe) {
                    // A pipe counts segments, and one of them may be a whole 32 KiB piece of a
                    // socket buffer: more fits than its capacity in pages says.
                    const std::size_t want = static_cast<std::size_t>(
                        std::min<std::uint64_t>(source.remaining, kTurnBytes));
                    const ssize_t moved = source.stream->splice_to_pipe(pipe.write_end(), want);
                    ++turn_calls;
                    if (moved == 0) {
                        relay.error = 0;
                        co_return RelayEnd::source_closed;
                    }
                    if (moved < 0 && errno != EAGAIN && errno != EINTR) {
                        relay.error = errno;
                        co_return RelayEnd::source_closed;
                    }
                    if (moved > 0) {
                        pipe.held = static_cast<std::size_t>(moved);
                        source.remaining -= pipe.held;
                        source.received += pipe.held;
                        source.complete = source.remaining == 0;
                        while (pipe.held > 0) {
                            const ssize_t out =
                                sink.splice_from_pipe(pipe.read_end(), pipe.held, false);
                            ++turn_calls;
                            if (out > 0) {
                                is_held_back = false;
                                pipe.held -= static_cast<std::size_t>(out);
                                relay.payload_sent += static_cast<std::uint64_t>(out);
                                relay.any_sent = relay.body_sent = true;
                                turn_bytes += static_cast<std::size_t>(out);
                                sink.reactor().note_relayed(static_cast<std::size_t>(out));
                                continue;
                            }
                            if (out < 0 && (errno == EAGAIN || errno == EINTR)) {
                                begin_turn();
                                const Wake wake = co_await wait_for_sink(sink, sink_wait_of(relay));
                                if (relay.cancelled) {
                                    co_return RelayEnd::interrupted;
                                }
                                if (wake == Wake::timed_out) {
                                    co_return RelayEnd::sink_timed_out;
                                }
                                continue;
                            }
                            relay.error = errno;
                            co_return RelayEnd::sink_closed;
                        }
                    }
                    if (turn_bytes >= kTurnBytes || turn_calls >= kTurnCalls) {
                        turn_bytes = turn_calls = 0;
                        co_await sink.reactor().yield();
                    }
                    continue;
                }
            }
            // A head that waits goes out first (MSG_MORE) when the body is going to be spliced
            // behind it.
            const bool head_first = first < relay.iov.size() && is_to_be_spliced(relay);
            if (may_join && !head_first && !source.complete && source.prefix.empty() &&
                unread.empty() && source.stream->is_readable()) {
                if (!relay.buffer) {
                    relay.buffer = relay.buffers->acquire();
                }
                // Always a whole buffer, also where less remains: only a short read proves that the
                // socket is drained, and what lies behind the body is needed anyway (the next
                // request) or damning (a backend's surplus).
                const std::size_t kept = room_to_keep(relay);
                iovec places[] = {{kept > 0 ? relay.replay->room(kept) : nullptr, kept},
                                  {relay.buffer.data(), Buffer::size()}};
                const ssize_t got =
                    kept > 0 ? source.stream->receive(places, std::size(places))
                             : source.stream->receive(relay.buffer.data(), Buffer::size());
                ++turn_calls;
                if (got > 0) {
                    const auto bytes = static_cast<std::size_t>(got);
                    const std::size_t in_place = std::min(bytes, kept);
                    if (in_place > 0) {
                        take_in_place(relay, in_place);
                    }
                    std::string_view input(relay.buffer.data(), bytes - in_place);
                    if (!input.empty() && !source.complete) {
                        is_buffer_used = true;
                        if (take_input(relay, input, false) == Fill::malformed) {
                            co_return RelayEnd::source_malformed;
                        }
                    }
                    batch = source.received - before;
                    unread = input;
                } else if (batch > 0) {
                    // What is at hand goes out before the end is acted on: it is reported again.
                } else if (got == 0) {
                    if (source.kind != http::BodyKind::until_close) {
                        relay.error = 0;
                        co_return RelayEnd::source_closed;
                    }
                    source.complete = true;
                } else if (errno != EAGAIN && errno != EINTR) {
                    relay.error = errno;
                    co_return RelayEnd::source_closed;
                }
            }
        }
        if (source.complete && !was_complete) {
            was_complete = true;
            if (source.surplus != nullptr) {
                // Bytes behind the body belong to the next message; `unread` does not outlive this
                // relay.
                source.surplus->assign(unread.empty() ? source.prefix : unread);
                source.prefix = {};
                unread = {};
            }
        }
        if (source.complete && !is_end_queued &&
            (relay.chunked_out || source.kind == http::BodyKind::chunked)) {
            is_end_queued = true;
            if (!append_end(relay)) {
                co_return RelayEnd::source_malformed;
            }
        }
        // 2. Send all that was gathered; that may take long.
        if (!is_buffer_used && unread.empty()) {
            relay.buffer.release();
        }
        if (first < relay.iov.size()) {
            first = advance(relay.iov, first, 0);
        }
        if (relay.sent_ahead > 0) {
            note_sent(std::exchange(relay.sent_ahead, 0));
        }
        while (first < relay.iov.size()) {
            // The head, and what came with it, wait for body bytes only when they are about to be
            // spliced behind it.
            const bool more = is_to_be_spliced(relay);
            const ssize_t sent = sink.send(relay.iov.data() + first,
                                           std::min(relay.iov.size() - first, kMaxPieces), more);
            ++turn_calls;
            if (sent > 0) {
                is_held_back = more;
                note_sent(static_cast<std::size_t>(sent));
                continue;
            }
            if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
                begin_turn();
                const Wake wake = co_await wait_for_sink(sink, sink_wait_of(relay));
                if (relay.cancelled) {
                    relay.payload_sent += sent_of(relay.iov, first, batch);
                    co_return RelayEnd::interrupted;
                }
                if (wake == Wake::timed_out) {
                    relay.payload_sent += sent_of(relay.iov, first, batch);
                    co_return RelayEnd::sink_timed_out;
                }
                continue;
            }
            relay.error = errno;
            relay.payload_sent += sent_of(relay.iov, first, batch);
            co_return RelayEnd::sink_closed;
        }
        relay.payload_sent += batch;
        batch = 0;
        first = 0;
        relay.iov.clear();
        if (unread.empty()) {
            relay.buffer.release();
            is_buffer_used = false;
        }
        if (source.prefix.empty()) {
            relay.prefix_buffer.release();
        }
        if (source.complete && (!relay.chunked_out || is_end_queued)) {
            if (!unread.empty() || (source.surplus == nullptr && !source.prefix.empty())) {
                relay.error =
                    EPROTO;  // bytes behind the message: whoever sent them is not to be used again
            }
            relay.buffer.release();
            co_return RelayEnd::complete;
        }
        if (turn_bytes >= kTurnBytes || turn_calls >= kTurnCalls) {
            turn_bytes = turn_calls = 0;
            co_await sink.reactor().yield();
            continue;
        }
        // 3. Wait for more, holding nothing.
        if (source.prefix.empty() && unread.empty() && !source.stream->is_readable()) {
            turn_bytes = turn_calls = 0;
            if (is_held_back) {
                is_held_back = false;
                sink.flush();
            }
            const Wake wake = co_await source.stream->readable(relay.read_timeout);
            if (wake != Wake::timed_out && !relay.cancelled && is_long(relay)) {
                co_await sink.reactor().yield();
            }
            if (relay.cancelled) {
                co_return RelayEnd::interrupted;
            }
            if (wake == Wake::timed_out) {
                co_return RelayEnd::source_timed_out;
            }
        }
    }
}

bool relay_at_once(BodyRelay& relay) {
    BodySource& source = *relay.source;
    const bool has_plain_end =
        source.kind == http::BodyKind::none || source.kind == http::BodyKind::length;
    const std::size_t body = source.complete ? 0 : static_cast<std::size_t>(source.remaining);
    if (!has_plain_end || relay.chunked_out || relay.resend || relay.cancelled ||
        relay.head == nullptr || relay.head->size() > kMaxHeadAtOnce ||
        body > source.prefix.size()) {
        return false;
    }
    iovec pieces[kMaxHeadAtOnce + 1];
    std::size_t count = 0;
    std::size_t size = body;
    for (const std::string_view piece : *relay.head) {
        pieces[count++] = piece_of(piece);
        size += piece.size();
    }
    if (body > 0) {
        pieces[count++] = piece_of(source.prefix.substr(0, body));
    }
    const ssize_t sent = relay.sink->send(pieces, count, false);
    if (sent != static_cast<ssize_t>(size)) {
        // What failed fails again in relay_body(), which knows what to do about it.
        relay.sent_ahead = static_cast<std::size_t>(std::max<ssize_t>(sent, 0));
        return false;
    }
    relay.sink->reactor().note_relayed(size);
    relay.any_sent = relay.head_sent = true;
    if (!source.complete) {
        relay.body_sent = true;
        relay.payload_sent = body;
        take_input(relay, source.prefix, source.prefix_is_stable);
        relay.iov.clear();  // it is sent
        if (source.surplus != nullptr) {
            source.surplus->assign(source.prefix);
            source.prefix = {};
        }
    }
    if (source.prefix.empty()) {
        relay.prefix_buffer.release();
    } else if (source.surplus == nullptr) {
        relay.error = EPROTO;  // as in relay_body()
    }
    return true;
}

task<RelayEnd> send_all(Stream& to, std::string_view bytes, Tick write_timeout) {
    while (!bytes.empty()) {
        const iovec piece = piece_of(bytes);
        const ssize_t sent = to.send(&piece, 1, false);
        if (sent > 0) {
            bytes.remove_prefix(static_cast<std::size_t>(sent));
            continue;
        }
        if (sent < 0 && errno != EAGAIN && errno != EINTR) {
            co_return RelayEnd::sink_closed;
        }
        const Wake wake = co_await to.writable(write_timeout);
        if (wake != Wake::ready) {
            co_return wake == Wake::timed_out ? RelayEnd::sink_timed_out : RelayEnd::interrupted;
        }
    }
    co_return RelayEnd::complete;
}

}  // namespace s3gate::net
