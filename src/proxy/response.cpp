// The answer's way to the client: interim responses, commit, body, tunnel.
#include <algorithm>
#include <cerrno>

#include "client_connection.hpp"
#include "exchange.hpp"
#include "s3gate/base/text.hpp"

namespace s3gate::proxy {
namespace {

// Bare, without any field: a field inside it has hung real clients.
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

bool has_event_stream(const http::ResponseHead& head) {
    return std::ranges::any_of(head.fields, [](const http::Field& field) {
        return base::iequals(field.name, "content-type") && policy::is_event_stream(field.value);
    });
}

}  // namespace

net::task<bool> Exchange::relay_interim() {
    if (response_.status == 100) {
        continue_seen_ = true;
        if (!meaning_.expects_continue || continue_relayed_) {
            // Nobody asked for it (an HTTP/1.0 client cannot, RFC 9110 §10.1.1), or a further
            // attempt brings a second one.
            co_return true;
        }
        continue_relayed_ = true;
        if (!has_client_taken(
                co_await net::send_all(client_->stream, kContinue, state_->ticks.client_write))) {
            co_return false;
        }
        // From now on it is the client's turn, with the client's limit.
        up_.read_timeout = state_->ticks.client_body;
        client_->stream.interrupt_read();
        co_return true;
    }
    if (head_.minor == 0) {
        co_return true;
    }
    http::ResponseRules rules;
    rules.drop_framing = true;
    http::forward_response(response_, rules, response_pieces_, response_own_);
    reply_.clear();
    for (const std::string_view piece : response_pieces_) {
        reply_.append(piece);
    }
    co_return has_client_taken(
        co_await net::send_all(client_->stream, reply_, state_->ticks.client_write));
}

// From here on nothing is retried: the client gets this answer, or, while none of it is out, a 502
// or 504 of ours.
void Exchange::commit_response() {
    const bool upload_complete =
        body_.complete && !upload_running_ && upload_end_ == net::RelayEnd::complete;
    const bool is_11 = head_.minor == 1;
    const http::BodyKind kind = response_meaning_.body.kind;
    const bool known_length = kind == http::BodyKind::none || kind == http::BodyKind::length;
    const bool synthesize = is_continue_due() && meaning_.body.kind == http::BodyKind::length &&
                            meaning_.body.length == 0 &&
                            site_->config->expect_empty_body == config::EmptyExpect::synth100;

    http::ResponseRules rules;
    rules.chunked = is_11 && kind == http::BodyKind::until_close;
    rules.drop_coding = !is_11;
    rules.drop_framing = response_.status == 204 || response_meaning_.is_oddly_framed ||
                         (!is_11 && kind == http::BodyKind::chunked);
    rules.stated_length = response_meaning_.stated_length;
    // A client that still waits for a 100 would take the next response for it (docs/architecture.md
    // "Expect").
    const bool stranded = is_continue_due() && !synthesize;
    rules.close = worker_.draining || !meaning_.keep_alive || !upload_complete || stranded ||
                  (!is_11 && !known_length);
    rules.keep_alive_10 = !is_11 && !rules.close;
    if (!site_->config->session_header.empty()) {
        rules.session_name = site_->config->session_header;
        rules.session_value = session_text();
    }
    http::forward_response(response_, rules, response_pieces_, response_own_);
    if (synthesize) {
        response_pieces_.insert(response_pieces_.begin(), kContinue);
    }
    backend_request_id_.assign(response_.find(http::FieldId::x_amz_request_id));
    record_.status = static_cast<std::uint16_t>(response_.status);
    record_.error = {};

    download_.begin(backend_->stream, response_meaning_.body,
                    {response_buffer_.data() + response_begin_, response_fill_ - response_begin_});
    down_.begin(download_, client_->stream, worker_.buffers, worker_.pipes);
    down_.head = &response_pieces_;
    down_.chunked_out =
        is_11 && (kind == http::BodyKind::until_close || kind == http::BodyKind::chunked);
    if (waiting_ == policy::Waiting::no && !known_length && has_event_stream(response_)) {
        // MinIO sends reports that do end as event streams too; those of other servers do not end.
        waiting_ = site_->config->type == config::SiteType::s3 ? policy::Waiting::long_silence
                                                               : policy::Waiting::endless;
    }
    down_.read_timeout = body_ticks();
    down_.write_timeout = state_->ticks.client_write;
    down_.prefix_buffer = std::move(response_buffer_);
    record_.ttfb_ms =
        std::chrono::duration_cast<base::Duration>(worker_.reactor.now_point() - started_).count();
    committed_ = true;
    remember_length();
    return_tokens();
    // Its outcome is known: what is left is a transfer like any other, however long it takes.
    release_retry();
    sent_upload_ = upload_complete;
    closes_client_ = rules.close;
}

void Exchange::note_relayed() {
    record_.bytes_out = down_.payload_sent;
    finish_attempt_record();
}

// The client has all of the answer.
void Exchange::end_response() {
    const bool has_unasked =
        down_.error != 0 ||
        (response_meaning_.body.kind == http::BodyKind::none && !download_.prefix.empty());
    const bool clean =
        !has_unasked && response_meaning_.keep_alive && !had_odd_interim_ && sent_upload_ &&
        (!meaning_.expects_continue || continue_seen_ ||
         (meaning_.body.kind == http::BodyKind::length && meaning_.body.length == 0));
    if (has_unasked) {
        bump(worker_.counters.backend_unasked_bytes);
    }
    release_slot();
    if (clean) {
        worker_.pool.park(std::move(backend_), group_->backends->keepalive,
                          group_state_->pool_idle);
    } else {
        backend_->stream.close();
    }
    backend_.reset();
    // A client that asked for the close, and whose request was read to its end, sends nothing
    // more.
    const bool is_last = !meaning_.keep_alive && sent_upload_;
    fate_ = !closes_client_ ? ClientFate::keep : is_last ? ClientFate::finish : ClientFate::linger;
}

net::task<void> Exchange::relay_response(bool is_out) {
    net::RelayEnd end = net::RelayEnd::complete;
    if (!is_out) {
        end = co_await net::relay_body(down_);
    }
    note_relayed();
    if (upload_running_) {
        // The answer is complete before the request is: the rest of the request is nobody's
        // business any more.
        co_await join_upload();
    }
    if (end == net::RelayEnd::complete) {
        end_response();
        co_return;
    }
    const bool nothing_sent = !down_.any_sent;
    discard_attempt();
    switch (end) {
        case net::RelayEnd::source_closed:
            bump(worker_.counters.backend_cut_responses);
            record_.error = "backend closed in body";
            break;
        case net::RelayEnd::source_timed_out:
            bump(worker_.counters.backend_body_timeouts);
            record_.error = "backend body timeout";
            break;
        case net::RelayEnd::source_malformed:
            bump(worker_.counters.backend_malformed);
            record_.error = "malformed response body";
            break;
        case net::RelayEnd::sink_timed_out:
            note_client(ClientFault::stuck);
            record_.error = client_error();
            break;
        default:
            note_client(ClientFault::gone);
            record_.error = client_error();
            break;
    }
    const bool backend_fault = end == net::RelayEnd::source_closed ||
                               end == net::RelayEnd::source_timed_out ||
                               end == net::RelayEnd::source_malformed;
    if (backend_fault && nothing_sent && !client_gone_) {
        // Nothing reached the client yet: it can still be told in words.
        const std::string_view reason = record_.error;
        if (end == net::RelayEnd::source_timed_out) {
            co_await reply(504, "RequestTimeout", "The storage server did not answer in time.",
                           false);
        } else {
            co_await reply(502, "InternalError", "The storage server sent a broken answer.", false);
        }
        record_.error = reason;
        co_return;
    }
    bump(worker_.counters.aborted_responses);
    // A message that says its length is visibly cut by a FIN, and the client gets every byte there
    // was. One that lasts until the connection closes is cut by a reset only.
    const bool self_delimiting =
        down_.chunked_out || response_meaning_.body.kind == http::BodyKind::length;
    fate_ = backend_fault && self_delimiting ? ClientFate::cut : ClientFate::reset;
}

net::task<void> Exchange::tunnel() {
    http::ResponseRules rules;
    rules.relay_upgrade = true;
    rules.drop_framing = true;
    http::forward_response(response_, rules, response_pieces_, response_own_);
    reply_.clear();
    for (const std::string_view piece : response_pieces_) {
        reply_.append(piece);
    }
    note_passive(false);
    backend_request_id_.assign(response_.find(http::FieldId::x_amz_request_id));
    record_.status = 101;
    record_.error = {};
    record_.ttfb_ms =
        std::chrono::duration_cast<base::Duration>(worker_.reactor.now_point() - started_).count();
    committed_ = true;
    // Bytes glued to the 101 go to the client behind it, bytes glued to the request to the backend.
    const std::size_t head_bytes = reply_.size();
    reply_.append(response_buffer_.data() + response_begin_, response_fill_ - response_begin_);
    response_buffer_.release();
    tunnelling_ = true;
    const net::TunnelEnd end =
        co_await tunnel_.run({&client_->stream, &backend_->stream, client_->leftover, reply_},
                             worker_.buffers, worker_.pipes, state_->ticks.tunnel_idle);
    tunnelling_ = false;
    client_->leftover.clear();
    const std::uint64_t sent = tunnel_.bytes_to_client();
    record_.bytes_out = sent - std::min<std::uint64_t>(sent, head_bytes);
    body_.received = tunnel_.bytes_to_backend();
    finish_attempt_record();
    if (end == net::TunnelEnd::finished) {
        release_slot();
        backend_->stream.close();
        backend_.reset();
        fate_ = ClientFate::finish;
        co_return;
    }
    switch (end) {
        case net::TunnelEnd::idle:
            record_.error = "tunnel idle timeout";
            bump(worker_.counters.tunnel_idle_timeouts);
            break;
        case net::TunnelEnd::client_broken:
            record_.error = "client closed tunnel";
            break;
        case net::TunnelEnd::backend_broken:
            record_.error = "backend closed tunnel";
            break;
        default:
            record_.error = "tunnel cut at shutdown";
            break;
    }
    // Whatever was under way is lost: both sides see a reset, never an end that looks whole.
    discard_attempt();
    fate_ = ClientFate::reset;
}

}  // namespace s3gate::proxy
