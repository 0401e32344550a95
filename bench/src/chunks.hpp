// Chunked bodies (RFC 9112 §7.1) for the bench: units that are sent repeatedly, and a reader that
// only finds the end. The reader trusts its peer; the proxy is strict.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

inline constexpr std::size_t kChunk = 32 * 1024;  // the chunk size of Go's io.Copy, and so of MinIO
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

// One encoded chunk, for a body of `length` bytes: a multiple of kChunk, or less than kChunk.
inline std::string chunk_unit(std::uint64_t length, char filler) {
    const std::size_t payload = static_cast<std::size_t>(std::min<std::uint64_t>(length, kChunk));
    char line[24];
    std::snprintf(line, sizeof line, "%zx\r\n", payload);
    return line + std::string(payload, filler) + "\r\n";
}

// Encoded length without the last chunk.
inline std::uint64_t chunked_length(std::uint64_t length, std::size_t unit) {
    return (length + kChunk - 1) / kChunk * unit;
}

class ChunkReader {
  public:
    void reset() { *this = ChunkReader(); }
    bool is_done() const { return state_ == State::done; }
    // Payload bytes that follow and need not be read.
    std::uint64_t payload_left() const { return state_ == State::payload ? left_ : 0; }
    std::uint64_t payload() const { return payload_; }
    void skip_payload(std::uint64_t count) {
        payload_ += count;
        left_ -= count;
        if (left_ == 0) {
            state_ = State::payload_end;
        }
    }
    // Consumes bytes up to the end of the body; returns the count.
    std::size_t feed(std::string_view bytes) {
        std::size_t at = 0;
        while (at < bytes.size() && state_ != State::done) {
            if (state_ == State::payload) {
                const auto count = std::min<std::uint64_t>(left_, bytes.size() - at);
                skip_payload(count);
                at += static_cast<std::size_t>(count);
                continue;
            }
            step(bytes[at++]);
        }
        return at;
    }

  private:
    enum class State { size, extension, payload, payload_end, trailer, done };

    void step(char c) {
        switch (state_) {
            case State::size:
                if (c == '\n') {
                    state_ = left_ == 0 ? State::trailer : State::payload;
                    line_ = 0;
                } else if (c == ';') {
                    state_ = State::extension;
                } else if (c != '\r') {
                    const int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
                    left_ = left_ * 16 + static_cast<unsigned>(digit);
                }
                break;
            case State::extension:
                if (c == '\n') {
                    state_ = left_ == 0 ? State::trailer : State::payload;
                    line_ = 0;
                }
                break;
            case State::payload_end:
                if (c == '\n') {
                    state_ = State::size;
                }
                break;
            case State::trailer:
                if (c == '\n') {
                    state_ = line_ == 0 ? State::done : State::trailer;
                    line_ = 0;
                } else if (c != '\r') {
                    ++line_;
                }
                break;
            case State::payload:
            case State::done:
                break;
        }
    }

    State state_ = State::size;
    std::uint64_t left_ = 0;
    std::uint64_t payload_ = 0;
    std::size_t line_ = 0;
};
