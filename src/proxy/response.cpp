// Sends a backend's answer to the client: interim heads, commit, body, tunnel. own_answers.cpp has
// the proxy's own answers.
#include "response.hpp"

#include <algorithm>

#include "attempt.hpp"
#include "s3gate/base/text.hpp"
#include "s3gate/policy/waiting_request.hpp"

namespace s3gate::proxy {
namespace {

// Without fields: a field here made real clients hang.
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

bool has_event_stream(const http::ResponseHead& head) {
    return std::ranges::any_of(head.fields, [](const http::Field& field) {
        return base::iequals(field.name, "content-type") && policy::is_event_stream(field.value);
    });
}

bool is_of_known_length(http::BodyKind kind) {
    return kind == http::BodyKind::none || kind == http::BodyKind::length;
}

void join(std::string& text, const http::Pieces& pieces) {
    text.clear();
    for (const std::string_view piece : pieces) {
        text.append(piece);
    }
}

}  // namespace

Response::Response(ExchangeContext& context, Request& request, Memory& memory)
    : context_(context), request_(request), memory_(memory) {
    memory.backend_request_id.clear();
}

net::task<bool> Response::relay_interim(const http::ResponseHead& head) {
    if (head.status == 100) {
        if (!request_.is_continue_due()) {
            // The client did not ask for it (HTTP/1.0 cannot, RFC 9110 §10.1.1), or it is the
            // second one, of another attempt.
            co_return true;
        }
        request_.set_continue_relayed();
        memory_.text.assign(kContinue);
        co_return co_await send_interim();
    }
    if (request_.head().minor == 0) {
        co_return true;
    }
    http::ResponseRules rules;
    rules.drop_framing = true;
    http::forward_response(head, rules, memory_.pieces, memory_.own);
    join(memory_.text, memory_.pieces);
    co_return co_await send_interim();
}

net::task<bool> Response::send_interim() {
    const bool is_taken = co_await send_text();
    is_interim_cut_ = !is_taken;
    co_return is_taken;
}

net::task<bool> Response::send_text() {
    const net::RelayEnd end =
        co_await net::send_all(context_.client.stream, memory_.text, context_.ticks().client_write);
    co_return context_.note_client_end(end);
}

// For `Content-Length: 0` a server never asks for the body (docs/architecture.md "Expect").
inline bool Response::synthesizes_continue() const {
    return request_.is_continue_due() && request_.is_empty_by_length() &&
           context_.site().config->expect_empty_body == config::EmptyExpect::synth100;
}

inline http::ResponseRules Response::rules_for(const Attempt& attempt, bool synthesizes) const {
    const http::ResponseMeaning& meaning = attempt.answer().meaning();
    const http::BodyKind kind = meaning.body.kind;
    const bool is_11 = request_.head().minor == 1;
    http::ResponseRules rules;
    rules.chunked = is_11 && kind == http::BodyKind::until_close;
    rules.drop_coding = !is_11;
    rules.drop_framing = attempt.answer().head().status == 204 || meaning.is_oddly_framed ||
                         (!is_11 && kind == http::BodyKind::chunked);
    rules.stated_length = meaning.stated_length;
    // A client that still waits for a 100 would take the next response for it (docs/architecture.md
    // "Expect").
    const bool stranded = request_.is_continue_due() && !synthesizes;
    rules.close = context_.is_last_answer() || !request_.meaning().keep_alive ||
                  !attempt.has_sent_all() || stranded || (!is_11 && !is_of_known_length(kind));
    rules.keep_alive_10 = !is_11 && !rules.close;
    if (!context_.site().config->session_header.empty()) {
        rules.session_name = context_.site().config->session_header;
        rules.session_value = request_.session_text();
    }
    return rules;
}

void Response::commit(Attempt& attempt) {
    const http::ResponseHead& head = attempt.answer().head();
    const bool synthesizes = synthesizes_continue();
    const http::ResponseRules rules = rules_for(attempt, synthesizes);
    http::forward_response(head, rules, memory_.pieces, memory_.own);
    if (synthesizes) {
        memory_.pieces.insert(memory_.pieces.begin(), kContinue);
    }
    memory_.backend_request_id.assign(head.find(http::FieldId::x_amz_request_id));
    context_.record.status = static_cast<std::uint16_t>(head.status);
    context_.record.error = {};
    if (!context_.record.attempt().error.empty()) {
        context_.blame(policy::Side::backend, policy::Stage::answer);
    }
    context_.record.ttfb_ms = context_.since(context_.started).count();
    has_sent_request_ = attempt.has_sent_all();
    closes_client_ = rules.close;
    is_committed_ = true;
    begin_download(attempt);
    remember_length(attempt);
}

inline void Response::begin_download(Attempt& attempt) {
    AnswerReader& answer = attempt.answer();
    body_kind_ = answer.meaning().body.kind;
    net::BodySource& source =
        download_.emplace(attempt.stream(), answer.meaning().body, answer.rest());
    net::BodyRelay& down = down_.emplace(
        source, context_.client.stream,
        net::RelayMeans{context_.worker.buffers, context_.worker.pipes, memory_.lists});
    down.head = &memory_.pieces;
    down.chunked_out = request_.head().minor == 1 && (body_kind_ == http::BodyKind::until_close ||
                                                      body_kind_ == http::BodyKind::chunked);
    if (request_.waiting() == policy::Waiting::no && !is_of_known_length(body_kind_) &&
        has_event_stream(answer.head())) {
        // MinIO sends reports, which end, as event streams too. Event streams of other servers do
        // not end.
        request_.set_waiting(context_.is_s3() ? policy::Waiting::long_silence
                                              : policy::Waiting::endless);
    }
    down.read_timeout = request_.body_ticks();
    down.write_timeout = context_.ticks().client_write;
    down.prefix_buffer = answer.take_buffer();
}

// Only a GET's answer predicts the next one's length; HEAD requests and uploads may come in
// between.
inline void Response::remember_length(const Attempt& attempt) {
    if (request_.method() == policy::MethodClass::get) {
        const http::Framing& body = attempt.answer().meaning().body;
        context_.client.had_long_answer = body.kind == http::BodyKind::length &&
                                          body.length >= kFirstReadOfLong + net::kSpliceFrom;
    }
}

void Response::release_backend(Attempt& attempt) {
    context_.record.bytes_out = down_->payload_sent;
    const http::ResponseMeaning& meaning = attempt.answer().meaning();
    const bool has_unasked = down_->error != 0 || (meaning.body.kind == http::BodyKind::none &&
                                                   !download_->prefix.empty());
    const bool is_expect_settled = !request_.meaning().expects_continue ||
                                   attempt.has_continued() || request_.is_empty_by_length();
    if (has_unasked) {
        state::bump(context_.worker.counters.backend_unasked_bytes);
    }
    if (!has_unasked && meaning.keep_alive && !attempt.answer().had_odd_interim() &&
        has_sent_request_ && is_expect_settled) {
        attempt.park();
    } else {
        attempt.close();
    }
    // A client that asked for the close sends nothing after its complete request.
    const bool is_last = !request_.meaning().keep_alive && has_sent_request_;
    fate_ = !closes_client_ ? ClientFate::keep : is_last ? ClientFate::finish : ClientFate::linger;
}

net::task<net::RelayEnd> Response::relay(Attempt& attempt) {
    net::RelayEnd end = net::RelayEnd::complete;
    if (!is_all_out_) {
        end = co_await net::relay_body(*down_);
    }
    if (attempt.is_uploading()) {
        // The answer ended before the request did, so the rest of the request is not needed.
        co_await attempt.end_upload();
    }
    context_.record.bytes_out = down_->payload_sent;
    co_return end;
}

net::task<void> Response::end_broken(net::RelayEnd end) {
    const policy::Side side = note_broken(end);
    const bool is_backends_fault = net::is_end_of_source(end);
    if (is_backends_fault && !down_->any_sent && !context_.is_abandoned()) {
        // No byte reached the client, so it can still get an error answer.
        co_await reply(answer_to_broken_body(end == net::RelayEnd::source_timed_out,
                                             context_.record.error, side));
        co_return;
    }
    state::bump(context_.worker.counters.aborted_responses);
    // A message with a known length is visibly cut by a FIN, and the client gets every received
    // byte. A message that lasts until the connection closes needs a reset.
    const bool is_self_delimiting = down_->chunked_out || body_kind_ == http::BodyKind::length;
    fate_ = is_backends_fault && is_self_delimiting ? ClientFate::cut : ClientFate::reset;
}

policy::Side Response::note_broken(net::RelayEnd end) {
    state::WorkerCounters& counters = context_.worker.counters;
    std::string_view& error = context_.record.error;
    std::string_view& word = context_.record.attempt().error;
    policy::Side side = policy::Side::backend;
    switch (end) {
        case net::RelayEnd::source_closed:
            state::bump(counters.backend_cut_responses);
            error = "backend closed in body";
            word = "cut answer";
            side = net::is_network_error(down_->error) ? policy::Side::network : side;
            break;
        case net::RelayEnd::source_timed_out:
            state::bump(counters.backend_body_timeouts);
            error = "backend body timeout";
            word = "stalled answer";
            break;
        case net::RelayEnd::source_malformed:
            state::bump(counters.backend_malformed);
            error = "malformed response body";
            word = "broken answer";
            break;
        default:
            context_.note_client(end == net::RelayEnd::sink_timed_out ? ClientFault::stuck
                                                                      : ClientFault::gone);
            error = context_.client_error();
            word = context_.client_word();
            side = context_.side_of_abandon();
            break;
    }
    context_.blame(side, policy::Stage::body);
    return side;
}

net::task<void> Response::tunnel(Attempt& attempt) {
    const std::size_t head_bytes = begin_tunnel(attempt);
    std::string& leftover = context_.client.leftover;
    net::Tunnel& tunnel = tunnel_.emplace();
    const net::TunnelEnd end = co_await tunnel.run(
        {&context_.client.stream, &attempt.stream(), leftover, memory_.text},
        context_.worker.buffers, context_.worker.pipes, context_.ticks().tunnel_idle);
    leftover.clear();
    const std::uint64_t sent = tunnel.bytes_to_client();
    context_.record.bytes_out = sent - std::min<std::uint64_t>(sent, head_bytes);
    request_.body().received = tunnel.bytes_to_backend();
    attempt.add_sent(tunnel.bytes_to_backend());
    tunnel_.reset();
    if (end == net::TunnelEnd::finished) {
        attempt.close();
        fate_ = ClientFate::finish;
    } else {
        // Bytes in transit are lost, so both sides get a reset, which cannot be taken for a
        // complete end.
        note_tunnel(end);
        fate_ = ClientFate::reset;
    }
}

// Prepares the head of the 101 with the bytes after it, and the bytes after the request for the
// backend. Returns the length of the head.
std::size_t Response::begin_tunnel(Attempt& attempt) {
    AnswerReader& answer = attempt.answer();
    http::ResponseRules rules;
    rules.relay_upgrade = true;
    rules.drop_framing = true;
    http::forward_response(answer.head(), rules, memory_.pieces, memory_.own);
    join(memory_.text, memory_.pieces);
    memory_.backend_request_id.assign(answer.head().find(http::FieldId::x_amz_request_id));
    context_.record.status = 101;
    context_.record.error = {};
    context_.record.ttfb_ms = context_.since(context_.started).count();
    is_committed_ = true;
    const std::size_t head_bytes = memory_.text.size();
    memory_.text.append(answer.rest());
    answer.take_buffer();
    return head_bytes;
}

void Response::note_tunnel(net::TunnelEnd end) {
    std::string_view& error = context_.record.error;
    std::string_view& word = context_.record.attempt().error;
    policy::Side side = policy::Side::proxy;
    switch (end) {
        case net::TunnelEnd::idle:
            error = "tunnel idle timeout";
            word = "tunnel idle";
            state::bump(context_.worker.counters.tunnel_idle_timeouts);
            break;
        case net::TunnelEnd::client_broken:
            error = "client closed tunnel";
            word = "client left";
            side = policy::Side::client;
            break;
        case net::TunnelEnd::backend_broken:
            error = "backend closed tunnel";
            word = "broken tunnel";
            side = policy::Side::backend;
            break;
        default:
            error = context_.cut_reason().tunnel;
            word = "cut";
            break;
    }
    context_.blame(side, policy::Stage::tunnel);
}

void Response::on_client_lost() {
    if (down_) {
        down_->cancelled = true;
    }
    if (tunnel_) {
        tunnel_->on_client_broken();
    }
}

void Response::cut() {
    if (down_) {
        down_->cancelled = true;
    }
    if (tunnel_) {
        tunnel_->cut();
    }
}

}  // namespace s3gate::proxy
