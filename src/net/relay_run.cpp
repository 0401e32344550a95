#include "relay_run.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <iterator>
#include <utility>

namespace s3gate::net {
namespace {

// Fairness (docs/architecture.md): bytes and calls of one relay before others get a turn.
constexpr std::size_t kTurnBytes = Reactor::kRelayedPerRound;
constexpr unsigned kTurnCalls = 16;
// sendmsg takes at most UIO_MAXIOV (1024) pieces.
constexpr std::size_t kMaxPieces = 512;
// A larger piece is sent alone. The saved call would be negligible, and two buffers would be held
// as long as the receiver takes.
constexpr std::uint64_t kJoinBelow = 64 * 1024;

// True if the failed call must be repeated once the stream is ready.
bool is_to_be_repeated() {
    return errno == EAGAIN || errno == EINTR;
}

// Removes `sent` bytes from the list, whose first unsent entry is `first`.
std::size_t advance(std::vector<iovec>& pieces, std::size_t first, std::size_t sent) {
    while (sent > 0 && first < pieces.size()) {
        if (sent < pieces[first].iov_len) {
            pieces[first].iov_base = static_cast<char*>(pieces[first].iov_base) + sent;
            pieces[first].iov_len -= sent;
            break;
        }
        sent -= pieces[first].iov_len;
        ++first;
    }
    while (first < pieces.size() && pieces[first].iov_len == 0) {
        ++first;
    }
    return first;
}

}  // namespace

bool RelayRun::Turn::is_over() const {
    return bytes >= kTurnBytes || calls >= kTurnCalls;
}

RelayRun::RelayRun(BodyRelay& relay)
    : relay_(relay),
      source_(*relay.source),
      sink_(*relay.sink),
      pieces_(relay.lists->pieces),
      was_complete_(source_.complete) {
    pieces_.clear();
}

RelayRun::~RelayRun() {
    if (!unread_.empty() && !source_.complete && relay_.replay != nullptr) {
        relay_.replay->drop();
    }
}

bool RelayRun::is_long() const {
    return relay_.payload_sent >= kTurnBytes;
}

// True if the next bytes are long, plain and available, and a pipe is available for them.
bool RelayRun::is_to_be_spliced() const {
    return source_.kind == http::BodyKind::length && source_.remaining >= kSpliceFrom &&
           source_.prefix.empty() && source_.stream->is_readable() &&
           (relay_.replay == nullptr || !relay_.replay->is_whole()) &&
           relay_.pipes->offers(source_.remaining);
}

// Bytes of the body that can be received directly into the replay buffer: the whole rest, or none.
std::size_t RelayRun::room_to_keep() const {
    return relay_.replay != nullptr && source_.kind == http::BodyKind::length &&
                   !relay_.chunked_out && relay_.replay->has_room(source_.remaining)
               ? static_cast<std::size_t>(source_.remaining)
               : 0;
}

void RelayRun::end_with(RelayEnd end, int error) {
    relay_.error = error;
    relay_.payload_sent += payload_sent_of_batch();
    end_ = end;
}

// Payload bytes of a batch that were sent before it was cut; framing bytes in between make it
// approximate.
std::uint64_t RelayRun::payload_sent_of_batch() const {
    std::uint64_t unsent = 0;
    for (std::size_t i = batch_.first; i < pieces_.size(); ++i) {
        unsent += pieces_[i].iov_len;
    }
    return batch_.payload > unsent ? batch_.payload - unsent : 0;
}

void RelayRun::gather() {
    if (relay_.cancelled) {
        end_with(RelayEnd::interrupted);
        return;
    }
    if (is_sending()) {
        return;
    }
    const bool is_first = !std::exchange(has_begun_, true);
    if (is_first) {
        add_head();
    }
    if (is_first && relay_.resend) {
        add_kept();
    } else if (!source_.complete) {
        add_body();
    }
}

void RelayRun::add_head() {
    if (relay_.head == nullptr) {
        relay_.head_sent = true;
        return;
    }
    for (const std::string_view piece : *relay_.head) {
        pieces_.push_back(piece_of(piece));
        batch_.head_left += piece.size();
    }
}

// Adds the bytes that an earlier attempt received.
void RelayRun::add_kept() {
    const std::size_t kept = relay_.replay->size();
    if (kept == 0) {
        return;
    }
    const std::size_t slot = pieces_.size();
    if (relay_.chunked_out) {
        pieces_.push_back({});
    }
    pieces_.push_back(piece_of(relay_.replay->front()));
    pieces_.push_back(piece_of(relay_.replay->rest()));
    if (relay_.chunked_out) {
        add_chunk_line(slot, kept);
    }
    batch_.payload += kept;
}

void RelayRun::add_body() {
    bool may_join = true;  // later input is sent together with the bytes at hand
    if (!source_.prefix.empty() || !unread_.empty()) {
        may_join = add_received();
    } else if (pieces_.empty() && is_to_be_spliced()) {
        pipe_ = relay_.pipes->acquire();
        may_join = !pipe_;
    }
    // A waiting head is sent first (MSG_MORE) if the body after it will be spliced.
    const bool head_first = !pieces_.empty() && is_to_be_spliced();
    if (may_join && !head_first && !source_.complete && source_.prefix.empty() && unread_.empty() &&
        source_.stream->is_readable()) {
        receive();
    }
}

// Takes bytes that were received before. True if more may join them.
bool RelayRun::add_received() {
    if (source_.prefix.empty()) {
        // They lie in the buffer that the next receive would use.
        batch_.lies_in_buffer = true;
        return add_input(unread_, false) && batch_.payload == 0;
    }
    return add_input(source_.prefix, source_.prefix_is_stable) && batch_.payload <= kJoinBelow;
}

// Turns received bytes into pieces and removes them from `input`, up to the body's end. False if
// they are malformed, which ends the relay. `stable` as in ReplayBuffer::add().
bool RelayRun::add_input(std::string_view& input, bool stable) {
    const std::size_t slot = pieces_.size();
    if (relay_.chunked_out) {
        pieces_.push_back({});  // place of the chunk line, whose size is known after the payload
    }
    const std::optional<std::size_t> payload = source_.kind == http::BodyKind::chunked
                                                   ? add_chunks(input, stable)
                                                   : add_plain(input, stable);
    if (!payload) {
        end_with(RelayEnd::source_malformed);
        return false;
    }
    source_.note_received(*payload);
    batch_.payload += *payload;
    if (relay_.chunked_out) {
        add_chunk_line(slot, *payload);
    }
    return true;
}

// The payload of as many chunks as the batch has room for; nullopt if one is malformed.
std::optional<std::size_t> RelayRun::add_chunks(std::string_view& input, bool stable) {
    std::size_t payload = 0;
    while (pieces_.size() < kMaxPieces) {
        const http::ChunkDecoder::Step step = source_.decoder->step(input);
        input.remove_prefix(step.consumed);
        if (step.kind == http::ChunkDecoder::Kind::bad) {
            return std::nullopt;
        }
        if (step.kind != http::ChunkDecoder::Kind::payload) {
            source_.complete = step.kind == http::ChunkDecoder::Kind::done;
            break;
        }
        add_payload(step.payload, stable);
        payload += step.payload.size();
    }
    return payload;
}

std::size_t RelayRun::add_plain(std::string_view& input, bool stable) {
    const std::uint64_t bound =
        source_.kind == http::BodyKind::length ? source_.remaining : input.size();
    const auto payload = static_cast<std::size_t>(std::min<std::uint64_t>(bound, input.size()));
    add_payload(input.substr(0, payload), stable);
    input.remove_prefix(payload);
    return payload;
}

void RelayRun::add_payload(std::string_view bytes, bool stable) {
    if (bytes.empty()) {
        return;
    }
    pieces_.push_back(piece_of(bytes));
    if (relay_.replay != nullptr) {
        relay_.replay->add(bytes, stable);
    }
}

// Makes the payload after pieces_[slot] one chunk. Adds no chunk for an empty payload: it would end
// the message.
void RelayRun::add_chunk_line(std::size_t slot, std::size_t payload) {
    if (payload == 0) {
        return;
    }
    char* const line = chunk_lines_[chunk_count_++ % std::size(chunk_lines_)];
    const int length = std::snprintf(line, sizeof chunk_lines_[0], "%zx\r\n", payload);
    pieces_[slot] = {line, static_cast<std::size_t>(length)};
    pieces_.push_back(piece_of("\r\n"));
}

void RelayRun::receive() {
    if (!buffer_) {
        buffer_ = relay_.buffers->acquire();
    }
    // Always reads a whole buffer, even if less of the body remains. Only a short read proves that
    // the socket is drained. Bytes after the body are needed (the next request) or prove a fault (a
    // backend's surplus).
    const std::size_t kept = room_to_keep();
    iovec places[] = {{kept > 0 ? relay_.replay->room(kept) : nullptr, kept},
                      {buffer_.data(), Buffer::size()}};
    const ssize_t got = kept > 0 ? source_.stream->receive(places, std::size(places))
                                 : source_.stream->receive(buffer_.data(), Buffer::size());
    ++turn_.calls;
    if (got > 0) {
        take_received(static_cast<std::size_t>(got), kept);
    } else if (batch_.payload > 0) {
        // Sends the bytes at hand first; the next receive reports the end again.
    } else if (got == 0) {
        if (source_.kind == http::BodyKind::until_close) {
            source_.complete = true;
        } else {
            end_with(RelayEnd::source_closed);
        }
    } else if (!is_to_be_repeated()) {
        end_with(RelayEnd::source_closed, errno);
    }
}

// Distributes received `bytes`: the first `kept` are in the replay buffer's room, the rest in the
// relay's buffer.
void RelayRun::take_received(std::size_t bytes, std::size_t kept) {
    const std::size_t in_place = std::min(bytes, kept);
    if (in_place > 0) {
        pieces_.push_back(piece_of(relay_.replay->keep(in_place)));
        source_.note_received(in_place);
        batch_.payload += in_place;
    }
    std::string_view input(buffer_.data(), bytes - in_place);
    if (!input.empty() && !source_.complete) {
        batch_.lies_in_buffer = true;
        if (!add_input(input, false)) {
            return;
        }
    }
    unread_ = input;
}

void RelayRun::splice() {
    if (end_ || !pipe_) {
        return;
    }
    if (pipe_.held == 0) {
        fill_pipe();
    }
    while (pipe_.held > 0) {
        const ssize_t out = sink_.splice_from_pipe(pipe_.read_end(), pipe_.held, false);
        ++turn_.calls;
        if (out <= 0) {
            if (out == 0 || !is_to_be_repeated()) {
                end_with(RelayEnd::sink_closed, errno);
            }
            return;
        }
        is_held_back_ = false;
        pipe_.held -= static_cast<std::size_t>(out);
        relay_.payload_sent += static_cast<std::uint64_t>(out);
        relay_.body_sent = true;
        note_sent(static_cast<std::size_t>(out));
    }
    pipe_.release();
}

void RelayRun::fill_pipe() {
    // A pipe counts segments, and one segment may be a whole 32 KiB piece of a socket buffer. So
    // more fits than its capacity in pages.
    const auto want =
        static_cast<std::size_t>(std::min<std::uint64_t>(source_.remaining, kTurnBytes));
    const ssize_t moved = source_.stream->splice_to_pipe(pipe_.write_end(), want);
    ++turn_.calls;
    if (moved > 0) {
        pipe_.held = static_cast<std::size_t>(moved);
        source_.note_received(pipe_.held);
    } else if (moved == 0) {
        end_with(RelayEnd::source_closed);
    } else if (!is_to_be_repeated()) {
        end_with(RelayEnd::source_closed, errno);
    }
}

void RelayRun::send() {
    if (!end_ && source_.complete && !has_end_) {
        add_end();
    }
    if (end_ || pipe_.held > 0) {
        return;
    }
    if (!batch_.lies_in_buffer && unread_.empty()) {
        buffer_.release();
    }
    batch_.first = advance(pieces_, batch_.first, 0);
    if (relay_.sent_ahead > 0) {
        note_sent_of_batch(std::exchange(relay_.sent_ahead, 0));
    }
    while (batch_.first < pieces_.size()) {
        // The head and the bytes with it wait for body bytes only if those are about to be spliced.
        const bool more = is_to_be_spliced();
        const ssize_t sent = sink_.send(pieces_.data() + batch_.first,
                                        std::min(pieces_.size() - batch_.first, kMaxPieces), more);
        ++turn_.calls;
        if (sent <= 0) {
            if (sent == 0 || !is_to_be_repeated()) {
                end_with(RelayEnd::sink_closed, errno);
            }
            return;
        }
        is_held_back_ = more;
        note_sent_of_batch(static_cast<std::size_t>(sent));
    }
    end_batch();
}

// The body is complete: later bytes belong to the next message, and a chunked body gets its end.
void RelayRun::add_end() {
    has_end_ = true;
    if (!was_complete_ && source_.surplus != nullptr) {
        // Copied: `unread_` ends with this run.
        source_.surplus->assign(unread_.empty() ? source_.prefix : unread_);
        source_.prefix = {};
        unread_ = {};
    }
    if (relay_.chunked_out || source_.kind == http::BodyKind::chunked) {
        add_last_chunk();
    }
}

// Adds the last chunk, the trailers that may be forwarded, and the empty line (RFC 9112 §7.1).
// Malformed trailers end the relay, even if the receiver gets no chunks: such a message did not end
// well.
void RelayRun::add_last_chunk() {
    std::string& lines = relay_.lists->last_chunk;
    lines = "0\r\n";
    const auto sender =
        relay_.sink_is_backend ? http::TrailersOf::client : http::TrailersOf::backend;
    if (source_.kind == http::BodyKind::chunked &&
        !http::filter_trailers(source_.decoder->trailers(), sender, lines)) {
        end_with(RelayEnd::source_malformed);
    } else if (relay_.chunked_out) {
        lines += "\r\n";
        pieces_.push_back(piece_of(lines));
    }
}

void RelayRun::note_sent(std::size_t bytes) {
    relay_.any_sent = true;
    turn_.bytes += bytes;
    sink_.reactor().note_relayed(bytes);
}

void RelayRun::note_sent_of_batch(std::size_t bytes) {
    note_sent(bytes);
    // Chunk framing counts: an empty chunked body is a body.
    relay_.body_sent = relay_.body_sent || bytes > batch_.head_left;
    batch_.head_left -= std::min(bytes, batch_.head_left);
    relay_.head_sent = relay_.head_sent || batch_.head_left == 0;
    batch_.first = advance(pieces_, batch_.first, bytes);
}

void RelayRun::end_batch() {
    relay_.payload_sent += batch_.payload;
    batch_ = {};
    pieces_.clear();
    if (unread_.empty()) {
        buffer_.release();
    }
    if (source_.prefix.empty()) {
        relay_.prefix_buffer.release();
    }
    if (source_.complete) {
        // Bytes after the message: such a connection must not be reused.
        const bool has_surplus =
            !unread_.empty() || (source_.surplus == nullptr && !source_.prefix.empty());
        end_with(RelayEnd::complete, has_surplus ? EPROTO : 0);
    }
}

RelayRun::Wait RelayRun::wait() {
    if (end_) {
        return Wait::for_nothing;
    }
    if (is_sending()) {
        // A long relay sends what it holds and then gives up its turn.
        turn_ = {is_long() ? kTurnBytes : 0, 0};
        return Wait::for_sink;
    }
    const bool is_turn_over = turn_.is_over();
    if (is_turn_over || !has_input()) {
        turn_ = {};
    }
    if (is_turn_over) {
        return Wait::for_turn;
    }
    if (has_input()) {
        return Wait::for_nothing;
    }
    // Bytes that were held back go out before the wait.
    if (std::exchange(is_held_back_, false)) {
        sink_.flush();
    }
    return Wait::for_source;
}

void RelayRun::on_sink(Wake wake) {
    if (wake == Wake::timed_out && !relay_.cancelled) {
        end_with(RelayEnd::sink_timed_out);
    }
}

void RelayRun::on_source(Wake wake) {
    if (wake == Wake::timed_out && !relay_.cancelled) {
        end_with(RelayEnd::source_timed_out);
    }
}

}  // namespace s3gate::net
