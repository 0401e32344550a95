// Reads the heads of one backend's answer: checks them, and finds the code in a 503's body. Never
// waits; the attempt does. One per attempt.
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

// Progress of an answer.
enum class AnswerHead : std::uint8_t {
    pending,  // incomplete
    interim,  // a 1xx to relay
    final_head,
    switching,  // a 101 that the client asked for
    closed,     // the connection ended before the head was complete
    malformed,  // AnswerReader::error() tells the reason
};

// Size of the first read when a long answer is likely, as after a previous long answer: it copies
// less of the body. A real head fits.
inline constexpr std::size_t kFirstReadOfLong = 8 * 1024;

class AnswerReader {
  public:
    // Reused between attempts.
    struct Memory {
        http::ResponseHead head;
        std::string error_body;  // of a chunked 503
    };

    AnswerReader(ExchangeContext& context, Request& request, Memory& memory)
        : context_(context), request_(request), memory_(memory) {}

    // Receives the available part of an answer.
    AnswerHead receive(net::Stream& stream, bool is_uploading);
    // Scans the received bytes for the next head.
    AnswerHead scan(bool is_uploading);
    // Refuses the answer; `why` (static) is the result of error() then.
    AnswerHead refuse(std::string_view why);
    // Releases the buffer if no byte of the next head has arrived, so a slow backend does not hold
    // one.
    void release_read();

    const http::ResponseHead& head() const { return memory_.head; }
    const http::ResponseMeaning& meaning() const { return meaning_; }
    std::string_view error() const { return error_; }
    bool has_begun() const { return has_begun_; }
    // After `closed`: errno of the connection; 0 = the backend closed it.
    int close_error() const { return close_error_; }
    // True if an interim head was oddly framed.
    bool had_odd_interim() const { return had_odd_interim_; }
    // The bytes after the last head. Valid until the buffer is taken.
    std::string_view rest() { return {buffer_.data() + begin_, fill_ - begin_}; }
    net::Buffer take_buffer() { return std::move(buffer_); }

    // True while the rest of a 503's body may still contain its code, and there is room for it.
    bool is_code_open();
    // Receives more of that body, as Stream::receive().
    ssize_t receive_more(net::Stream& stream);
    // The code in a 503; empty if there is none. Valid until the next call.
    std::string_view error_code();

  private:
    // `is_whole`: no further bytes will come.
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
    std::size_t begin_ = 0;  // beginning of the next head, or of the body
    http::HeadScanner scanner_{http::HeadScanner::Kind::response};
    http::ResponseMeaning meaning_;
    std::string_view error_;
    int close_error_ = 0;
    bool has_begun_ = false;
    bool had_odd_interim_ = false;
};

}  // namespace s3gate::proxy
