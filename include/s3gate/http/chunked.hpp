// Strict incremental decoder of the chunked coding (RFC 9112 §7.1): sizes of plain hexadecimal
// digits, CRLF only, extensions skipped within a bound, trailers collected within a bound. Never
// looks ahead, may be fed any split. Pure; one per body, made anew for each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace s3gate::http {

class ChunkDecoder {
  public:
    enum class Kind { need_more, payload, done, bad };
    struct Step {
        Kind kind;
        std::size_t consumed;      // bytes of the input that are finished with
        std::string_view payload;  // for Kind::payload: view into the input
    };

    // Most bytes of chunk extensions in one chunk line, and of a whole trailer section.
    static constexpr std::size_t kMaxLine = 4096;
    static constexpr std::size_t kMaxTrailers = 64 * 1024;

    // Takes from the front of `input`. After need_more all input was consumed. After done or bad it
    // must not be called again.
    Step step(std::string_view input);
    // Payload bytes of the present chunk still to come.
    std::uint64_t chunk_left() const { return left_; }
    bool is_done() const { return state_ == State::done; }
    // The trailer field lines with their CRLFs, without the final empty line. Complete after done.
    const std::string& trailers() const { return trailers_; }

  private:
    enum class State : std::uint8_t {
        size_first,
        size,
        extension,
        size_lf,
        data,
        data_cr,
        data_lf,
        trailer_begin,
        trailer_line,
        trailer_lf,
        final_lf,
        done,
        bad
    };
    // Each takes one byte of what is no payload, or the payload from `position` on. False for a
    // byte that must not stand there.
    bool take(char c);
    bool take_size(char c);
    bool take_extension(char c);
    bool take_trailer(char c);
    bool take_only(char expected, char c, State next);
    Step take_payload(std::string_view input, std::size_t position);

    State state_ = State::size_first;
    std::uint64_t left_ = 0;
    std::size_t line_length_ = 0;
    unsigned digits_ = 0;
    std::string trailers_;
};

// Trailer lines that may go on: those that do not name framing, routing, authentication or
// connection matters (RFC 9110 §6.5.1). False when the section is malformed. Appends the kept lines
// with CRLF to `out`. A backend's control bytes in values are softened, as in its heads.
enum class TrailersOf { client, backend };
bool filter_trailers(std::string_view lines, TrailersOf sender, std::string& out);

}  // namespace s3gate::http
