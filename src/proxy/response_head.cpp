// The head of a backend's answer: what there is of it, what ends the wait for it, strictness.
// Exchange::attempt() waits.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "client_connection.hpp"
#include "exchange.hpp"
#include "s3gate/http/upgrade.hpp"

namespace s3gate::proxy {
namespace {

// How long a backend that stopped reading the request may take to send its answer.
constexpr net::Tick kAnswerAfterClose = 40;  // 10 s
// One read takes the head and a small body; of a long body only its beginning is copied.
constexpr std::size_t kFirstRead = 16 * 1024;
// What a client gets is often like what it got before: behind a long answer less is copied until
// the next one is known to be long. A real head fits.
constexpr std::size_t kFirstReadOfLong = 8 * 1024;
// How long the code of a 503 may come after its head. Servers send both at once; a body that is
// longer in coming says nothing by then.
constexpr net::Tick kCodePatience = 4;  // 1 s, and up to a tick

}  // namespace

// A backend that stopped reading may have answered all the same (an early 403 before a close), but
// not for long.
net::Tick Exchange::answer_patience() const {
    const net::Tick patience = head_ticks();
    return upload_end_ == net::RelayEnd::complete ? patience
                                                  : std::min(patience, kAnswerAfterClose);
}

// What ends the wait for an answer whatever the backend sends.
Exchange::HeadEnd Exchange::before_answer() {
    if (client_gone_ || cut_) {
        return HeadEnd::client_gone;
    }
    if (taken_down_) {
        record_.error = "backend taken down";
        facts_.outcome = policy::Outcome::taken_down;
        return HeadEnd::failed;
    }
    if (upload_running_) {
        return HeadEnd::pending;
    }
    switch (upload_end_) {
        case net::RelayEnd::source_timed_out:
            if (is_continue_due() && !up_.body_sent) {
                // The client waited for a word that this backend never gave.
                return answer_timed_out();
            }
            return HeadEnd::upload_failed;
        case net::RelayEnd::source_closed:
        case net::RelayEnd::source_malformed:
            return HeadEnd::upload_failed;
        case net::RelayEnd::sink_timed_out:
            bump(worker_.counters.backend_write_timeouts);
            record_.error = "backend stopped reading";
            facts_.outcome = policy::Outcome::timed_out;
            return HeadEnd::failed;
        default:
            return HeadEnd::pending;
    }
}

Exchange::HeadEnd Exchange::answer_timed_out() {
    bump(worker_.counters.backend_head_timeouts);
    record_.error = "backend response timeout";
    facts_.outcome = policy::Outcome::timed_out;
    return HeadEnd::failed;
}

Exchange::HeadEnd Exchange::answer_malformed(std::string_view why) {
    record_.error = why;
    malformed_ = true;
    facts_.outcome = policy::Outcome::broken;
    return HeadEnd::failed;
}

// Takes what there is of an answer, without waiting; `pending` if that is no whole head.
Exchange::HeadEnd Exchange::receive_answer() {
    net::Stream& stream = backend_->stream;
    if (!stream.is_readable()) {
        return HeadEnd::pending;
    }
    if (!response_buffer_) {
        response_buffer_ = worker_.buffers.acquire();
        response_fill_ = response_begin_ = 0;
        response_scanner_.reset();
    }
    if (response_fill_ == net::Buffer::size() && response_begin_ > 0) {
        // Interim heads that were relayed made way for the next one.
        response_fill_ -= response_begin_;
        std::memmove(response_buffer_.data(), response_buffer_.data() + response_begin_,
                     response_fill_);
        response_begin_ = 0;
    }
    if (response_fill_ == net::Buffer::size()) {
        return answer_malformed("response head too large");
    }
    const std::size_t first = client_->had_long_answer ? kFirstReadOfLong : kFirstRead;
    const ssize_t got = stream.receive(response_buffer_.data() + response_fill_,
                                       std::min(first, net::Buffer::size() - response_fill_));
    if (got > 0) {
        response_fill_ += static_cast<std::size_t>(got);
        response_byte_seen_ = true;
        return scan_answer();
    }
    if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        record_.error = response_byte_seen_ ? "backend closed in head" : "backend closed";
        facts_.outcome = policy::Outcome::broken;
        return HeadEnd::failed;
    }
    return HeadEnd::pending;
}

// Looks for the next head in what was received.
Exchange::HeadEnd Exchange::scan_answer() {
    if (response_fill_ == response_begin_) {
        return HeadEnd::pending;
    }
    const std::size_t limit =
        std::min<std::size_t>(site_->config->limits.response_head, net::Buffer::size());
    const std::string_view bytes(response_buffer_.data() + response_begin_,
                                 response_fill_ - response_begin_);
    const http::HeadScanner::State state = response_scanner_.scan(bytes, response_);
    if (state == http::HeadScanner::State::incomplete) {
        return bytes.size() >= limit ? answer_malformed("response head too large")
                                     : HeadEnd::pending;
    }
    http::HeadError error = response_scanner_.error();
    if (state == http::HeadScanner::State::complete) {
        const std::string_view raw = bytes.substr(0, response_scanner_.end());
        if (raw.size() > limit) {
            error = http::HeadError::too_many_fields;
        } else if (response_.raw.empty()) {
            error = http::parse_response_head_softly(
                {response_buffer_.data() + response_begin_, raw.size()}, response_);
        }
        if (error == http::HeadError::none) {
            response_meaning_ = http::meaning_of(response_, method_ == policy::MethodClass::head);
            error = response_meaning_.error;
        }
    }
    if (error != http::HeadError::none) {
        return answer_malformed("malformed response");
    }
    response_begin_ += response_scanner_.end();
    response_scanner_.reset();
    if (response_.status == 101) {
        const bool matches =
            meaning_.wants_upgrade && !upload_running_ && http::is_offer_accepted(head_, response_);
        return matches ? HeadEnd::switching : answer_malformed("unrequested 101");
    }
    if (response_.status >= 200) {
        return HeadEnd::final_head;
    }
    had_odd_interim_ = had_odd_interim_ || response_meaning_.is_oddly_framed;
    // Interim responses are relayed, but a backend cannot keep us busy with them for ever.
    return ++interim_count_ > kMaxInterim ? answer_malformed("too many interim responses")
                                          : HeadEnd::interim;
}

// What there is of a 503's body, at most as much as may hold its code. Uses `reply_` where the body
// is chunked.
Exchange::ErrorBody Exchange::error_body() {
    std::string_view bytes(response_buffer_.data() + response_begin_,
                           response_fill_ - response_begin_);
    const http::Framing& framing = response_meaning_.body;
    bool is_whole = framing.kind == http::BodyKind::none;
    if (framing.kind == http::BodyKind::length) {
        is_whole = bytes.size() >= framing.length;
        bytes = bytes.substr(0, framing.length);
    } else if (framing.kind == http::BodyKind::chunked) {
        reply_.clear();
        http::ChunkDecoder decoder;
        auto step = decoder.step(bytes);
        while (step.kind == http::ChunkDecoder::Kind::payload) {
            reply_.append(step.payload);
            bytes.remove_prefix(step.consumed);
            step = decoder.step(bytes);
        }
        is_whole = step.kind != http::ChunkDecoder::Kind::need_more;
        bytes = reply_;
    }
    is_whole = is_whole || bytes.size() >= policy::kErrorCodeWithin;
    return {bytes.substr(0, policy::kErrorCodeWithin), is_whole};
}

// True if the code of a 503 decides anything: whether row 5 repeats, or whether a passive mark is
// lifted. Servers of plain sites have no codes.
bool Exchange::is_code_wanted() const {
    if (site_->config->type != config::SiteType::s3) {
        return false;
    }
    const bool may_repeat = group_->retry->on.http_503 && is_in_hand() &&
                            policy::may_follow_503(facts_);
    return may_repeat ||
           policy::is_marked(worker_.shared.board->passive(group_->peers[peer_].slot));
}

// True while the rest of a 503's body may still name its code.
bool Exchange::is_code_open() {
    if (!response_.find(http::FieldId::x_minio_error_code).empty()) {
        return false;
    }
    const ErrorBody body = error_body();
    return !body.is_whole && policy::error_code_in(body.text).empty();
}

// The head of a 503 is here; whether it says load may be in a body that comes in a later packet.
net::task<void> Exchange::await_error_code() {
    if (!is_code_wanted()) {
        co_return;
    }
    net::Stream& stream = backend_->stream;
    const net::Tick end = worker_.reactor.now() + kCodePatience;
    while (!client_gone_ && is_code_open() && response_fill_ < net::Buffer::size()) {
        const ssize_t got = stream.receive(response_buffer_.data() + response_fill_,
                                           net::Buffer::size() - response_fill_);
        if (got > 0) {
            response_fill_ += static_cast<std::size_t>(got);
            continue;
        }
        const auto left = static_cast<std::int32_t>(end - worker_.reactor.now());
        if (got == 0 || (errno != EAGAIN && errno != EINTR) || left <= 0) {
            co_return;  // the relay meets the same end
        }
        if (errno == EAGAIN) {
            co_await stream.readable(static_cast<net::Tick>(left));
        }
    }
}

// The code that a 503 names; empty when it names none. A view into what error_body() left.
std::string_view Exchange::error_code() {
    const std::string_view code = response_.find(http::FieldId::x_minio_error_code);
    return code.empty() ? policy::error_code_in(error_body().text) : code;
}

// True for an answer that shows a marked server to be well again.
bool Exchange::lifts_mark(std::string_view code) const {
    if (site_->config->type == config::SiteType::http) {
        return response_.status < 500;
    }
    // A server that names no code and closes is about to end (MinIO: "http: Server closed").
    const bool is_ending = code.empty() && !response_meaning_.keep_alive;
    return response_.status != 503 || (!facts_.not_ready && !is_ending);
}

// Nothing of a next head yet: a backend that thinks for minutes does not hold a buffer.
void Exchange::release_read_answer() {
    if (response_buffer_ && response_begin_ == response_fill_) {
        response_buffer_.release();
        response_fill_ = response_begin_ = 0;
    }
}

// Only what a GET got tells what the next one will get: clients ask for heads, or upload, in
// between.
void Exchange::remember_length() {
    if (method_ == policy::MethodClass::get) {
        client_->had_long_answer =
            response_meaning_.body.kind == http::BodyKind::length &&
            response_meaning_.body.length >= kFirstReadOfLong + net::kSpliceFrom;
    }
}

}  // namespace s3gate::proxy
