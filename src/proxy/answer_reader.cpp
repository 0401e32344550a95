#include "answer_reader.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "s3gate/http/chunked.hpp"
#include "s3gate/http/upgrade.hpp"
#include "s3gate/s3/error_document.hpp"

namespace s3gate::proxy {
namespace {

// One read takes the head and a small body, and copies only the beginning of a long body.
constexpr std::size_t kFirstRead = 16 * 1024;

}  // namespace

AnswerHead AnswerReader::refuse(std::string_view why) {
    error_ = why;
    return AnswerHead::malformed;
}

AnswerHead AnswerReader::receive(net::Stream& stream, bool is_uploading) {
    if (!stream.is_readable()) {
        return AnswerHead::pending;
    }
    if (!buffer_) {
        buffer_ = context_.worker.buffers.acquire();
    }
    if (fill_ == net::Buffer::size() && begin_ > 0) {
        // Removes the relayed interim heads to make room for the next head.
        fill_ -= begin_;
        std::memmove(buffer_.data(), buffer_.data() + begin_, fill_);
        begin_ = 0;
    }
    if (fill_ == net::Buffer::size()) {
        return refuse("response head too large");
    }
    const std::size_t first = context_.client.had_long_answer ? kFirstReadOfLong : kFirstRead;
    const ssize_t got =
        stream.receive(buffer_.data() + fill_, std::min(first, net::Buffer::size() - fill_));
    if (got > 0) {
        fill_ += static_cast<std::size_t>(got);
        has_begun_ = true;
        return scan(is_uploading);
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return AnswerHead::pending;
    }
    close_error_ = got < 0 ? errno : 0;
    return AnswerHead::closed;
}

AnswerHead AnswerReader::scan(bool is_uploading) {
    if (fill_ == begin_) {
        return AnswerHead::pending;
    }
    const std::size_t limit =
        std::min<std::size_t>(context_.site().config->limits.response_head, net::Buffer::size());
    const std::string_view bytes = rest();
    const http::HeadScanner::State state = scanner_.scan(bytes, memory_.head);
    if (state == http::HeadScanner::State::incomplete) {
        return bytes.size() >= limit ? refuse("response head too large") : AnswerHead::pending;
    }
    const http::HeadError error =
        state == http::HeadScanner::State::complete ? parse(bytes, limit) : scanner_.error();
    if (error != http::HeadError::none) {
        return refuse("malformed response");
    }
    begin_ += scanner_.end();
    scanner_.reset();
    return take_head(is_uploading);
}

// Parses the complete head; the scanner may have done so already.
inline http::HeadError AnswerReader::parse(std::string_view bytes, std::size_t limit) {
    const std::string_view raw = bytes.substr(0, scanner_.end());
    if (raw.size() > limit) {
        return http::HeadError::too_many_fields;
    }
    if (memory_.head.raw.empty()) {
        const http::HeadError error =
            http::parse_response_head_softly({buffer_.data() + begin_, raw.size()}, memory_.head);
        if (error != http::HeadError::none) {
            return error;
        }
    }
    meaning_ = http::meaning_of(memory_.head, request_.method() == policy::MethodClass::head);
    return meaning_.error;
}

inline AnswerHead AnswerReader::take_head(bool is_uploading) {
    const http::ResponseHead& head = memory_.head;
    if (head.status == 101) {
        const bool matches = request_.meaning().wants_upgrade && !is_uploading &&
                             http::is_offer_accepted(request_.head(), head);
        return matches ? AnswerHead::switching : refuse("unrequested 101");
    }
    if (head.status >= 200) {
        return AnswerHead::final_head;
    }
    had_odd_interim_ = had_odd_interim_ || meaning_.is_oddly_framed;
    return AnswerHead::interim;
}

void AnswerReader::release_read() {
    if (buffer_ && begin_ == fill_) {
        buffer_.release();
        fill_ = begin_ = 0;
    }
}

// The part of the body that may contain the code.
AnswerReader::ErrorBody AnswerReader::error_body() {
    std::string_view bytes = rest();
    const http::Framing& framing = meaning_.body;
    bool is_whole = framing.kind == http::BodyKind::none;
    if (framing.kind == http::BodyKind::length) {
        is_whole = bytes.size() >= framing.length;
        bytes = bytes.substr(0, framing.length);
    } else if (framing.kind == http::BodyKind::chunked) {
        std::string& body = memory_.error_body;
        body.clear();
        http::ChunkDecoder decoder;
        auto step = decoder.step(bytes);
        while (step.kind == http::ChunkDecoder::Kind::payload) {
            body.append(step.payload);
            bytes.remove_prefix(step.consumed);
            step = decoder.step(bytes);
        }
        is_whole = step.kind != http::ChunkDecoder::Kind::need_more;
        bytes = body;
    }
    is_whole = is_whole || bytes.size() >= s3::kErrorCodeWithin;
    return {bytes.substr(0, s3::kErrorCodeWithin), is_whole};
}

bool AnswerReader::is_code_open() {
    if (!memory_.head.find(http::FieldId::x_minio_error_code).empty()) {
        return false;
    }
    const ErrorBody body = error_body();
    return !body.is_whole && s3::error_code_in(body.text).empty() && fill_ < net::Buffer::size();
}

ssize_t AnswerReader::receive_more(net::Stream& stream) {
    const ssize_t got = stream.receive(buffer_.data() + fill_, net::Buffer::size() - fill_);
    fill_ += got > 0 ? static_cast<std::size_t>(got) : 0;
    return got;
}

std::string_view AnswerReader::error_code() {
    const std::string_view code = memory_.head.find(http::FieldId::x_minio_error_code);
    return code.empty() ? s3::error_code_in(error_body().text) : code;
}

}  // namespace s3gate::proxy
