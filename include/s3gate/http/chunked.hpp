// Strict incremental decoder of the chunked coding (RFC 9112 §7.1): plain hexadecimal sizes, CRLF
// only, extensions skipped and trailers collected within bounds. Accepts input in any split and
// never reads ahead. Pure; one object per body.
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
        std::size_t consumed;      // bytes of the input that were processed
        std::string_view payload;  // for Kind::payload: view into the input
    };

    // Limit on the bytes of chunk extensions in one chunk line, and on those of a trailer section.
    static constexpr std::size_t kMaxLine = 4096;
    static constexpr std::size_t kMaxTrailers = 64 * 1024;

    // Processes the front of `input`. need_more has consumed all of it. After done or bad, no
    // further call is allowed.
    Step step(std::string_view input);
    // Payload bytes that the current chunk still lacks.
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
    // Each takes one byte outside the payload, or the payload from `position` on. False for an
    // invalid byte.
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

// Appends the trailer lines that may be forwarded to `out`, with CRLF. Lines about framing,
// routing, authentication or the connection are left out (RFC 9110 §6.5.1). False if the section is
// malformed. Control bytes in a backend's values are softened, as in its heads.
enum class TrailersOf { client, backend };
bool filter_trailers(std::string_view lines, TrailersOf sender, std::string& out);

}  // namespace s3gate::http
