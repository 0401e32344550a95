#include "s3gate/net/body_relay.hpp"

#include <algorithm>
#include <cerrno>

#include "relay_run.hpp"
#include "sink_wait.hpp"

namespace s3gate::net {
namespace {

// Pieces of a head that is sent at once. A head has more only if many scattered lines are removed.
constexpr std::size_t kMaxHeadAtOnce = 16;

// True if no body follows, so it is complete from the start.
bool is_complete(const http::Framing& framing) {
    return framing.kind == http::BodyKind::none ||
           (framing.kind == http::BodyKind::length && framing.length == 0);
}

}  // namespace

BodySource::BodySource(Stream& from, const http::Framing& framing,
                       std::string_view received_already)
    : stream(&from),
      kind(framing.kind),
      remaining(framing.length),
      prefix(received_already),
      complete(is_complete(framing)) {
    if (kind == http::BodyKind::chunked) {
        decoder.emplace();
    }
}

void BodySource::note_received(std::uint64_t payload) {
    received += payload;
    if (kind == http::BodyKind::length) {
        remaining -= payload;
        complete = remaining == 0;
    }
}

BodyRelay::BodyRelay(BodySource& from, Stream& to, const RelayMeans& means)
    : source(&from), sink(&to), buffers(&means.buffers), pipes(&means.pipes), lists(&means.lists) {}

task<RelayEnd> relay_body(BodyRelay& relay) {
    Stream& sink = *relay.sink;
    RelayRun run(relay);
    while (!run.end()) {
        run.gather();
        run.splice();
        run.send();
        // The waits are awaited here, because each coroutine in between would cost a frame.
        switch (run.wait()) {
            case RelayRun::Wait::for_nothing:
                break;
            case RelayRun::Wait::for_sink: {
                const SinkWait limits{relay.write_timeout, relay.sink_is_backend, &relay.cancelled};
                const Wake wake = co_await wait_for_sink(sink, limits);
                run.on_sink(wake);
                break;
            }
            case RelayRun::Wait::for_turn:
                co_await sink.reactor().yield();
                break;
            case RelayRun::Wait::for_source: {
                const Wake wake = co_await relay.source->stream->readable(relay.read_timeout);
                run.on_source(wake);
                if (!run.end() && !relay.cancelled && run.is_long()) {
                    co_await sink.reactor().yield();
                }
                break;
            }
        }
    }
    co_return *run.end();
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
        // After a failure relay_body() meets the same error and handles it.
        relay.sent_ahead = static_cast<std::size_t>(std::max<ssize_t>(sent, 0));
        return false;
    }
    relay.sink->reactor().note_relayed(size);
    relay.any_sent = relay.head_sent = true;
    if (!source.complete) {
        relay.body_sent = true;
        relay.payload_sent = body;
        if (relay.replay != nullptr) {
            relay.replay->add(source.prefix.substr(0, body), source.prefix_is_stable);
        }
        source.note_received(body);
        source.prefix.remove_prefix(body);
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
