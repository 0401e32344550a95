// The heads of one backend's answer: what there is of them, strictness, and what a 503's body says.
// Never waits: the attempt does. One per attempt.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "request.hpp"
#include "s3gate/http/framing.hpp"
#include "s3gate/http/head.hpp"
#include "s3gate/net/buffer_pool.hpp"
#include "s3gate/net/stream.hpp"

namespace s3gate::proxy {

// How far an answer has come.
enum class AnswerHead : std::uint8_t {
    pending,  // more is to come
    interim,  // 1xx, to be relayed
    final_head,
    switching,  // a 101 that was asked for
    closed,     // the connection ended before the head did
    malformed,  // AnswerReader::error() says how
};

// What a client gets is often like what it got before: behind a long answer less is copied at first
// until the next one is known to be long. A real head fits.
inline constexpr std::size_t kFirstReadOfLong = 8 * 1024;

class AnswerReader {
  public:
    // Reused from attempt to attempt.
    struct Memory {
        http::ResponseHead head;
        std::string error_body;  // of a chunked 503
    };

    AnswerReader(ExchangeContext& context, Request& request, Memory& memory)
        : context_(context), request_(request), memory_(memory) {}

    // Takes what there is of an answer.
    AnswerHead receive(net::Stream& stream, bool is_uploading);
    // Looks for the next head in what was received.
    AnswerHead scan(bool is_uploading);
    // `why` (static) is what error() says then.
    AnswerHead refuse(std::string_view why);
    // Lets the buffer go while nothing of a next head is there: a backend that thinks for minutes
    // does not hold one.
    void release_read();

    const http::ResponseHead& head() const { return memory_.head; }
    const http::ResponseMeaning& meaning() const { return meaning_; }
    std::string_view error() const { return error_; }
    bool has_begun() const { return has_begun_; }
    // An interim head was oddly framed.
    bool had_odd_interim() const { return had_odd_interim_; }
    // What was received behind the last head. Lives until the buffer is taken.
    std::string_view rest() { return {buffer_.data() + begin_, fill_ - begin_}; }
    net::Buffer take_buffer() { return std::move(buffer_); }

    // True while the rest of a 503's body may still name its code, and there is room for it.
    bool is_code_open();
    // Takes more of that body; as Stream::receive().
    ssize_t receive_more(net::Stream& stream);
    // The code that a 503 names; empty when it names none. A view that lives until the next call.
    std::string_view error_code();

  private:
    // `is_whole`: nothing more of it is to come.
    struct ErrorBody {
        std::string_view text;
        bool is_whole = false;
    };
    ErrorBody error_body();
    http::HeadError parse(std::string_view bytes, std::size_t limit);
    AnswerHead take_head(bool is_uploading);

    ExchangeContext& context_;
    Request& request_;
    Memory& memory_;
    net::Buffer buffer_;
    std::size_t fill_ = 0;
    std::size_t begin_ = 0;  // where the next head, or the body, begins
    http::HeadScanner scanner_{http::HeadScanner::Kind::response};
    http::ResponseMeaning meaning_;
    std::string_view error_;
    bool has_begun_ = false;
    bool had_odd_interim_ = false;
};

}  // namespace s3gate::proxy
