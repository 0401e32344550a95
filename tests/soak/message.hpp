// A reader for one HTTP/1.1 message, for both ends of the soak test. It shares no code with the
// daemon, so it does not repeat the daemon's mistakes. It is strict: an ambiguous message is an
// error.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace soak {

struct Field {
    std::string_view name;
    std::string_view value;
};

class Message {
  public:
    enum class State {
        head,    // the head is incomplete
        body,    // the body is incomplete
        done,    // complete
        broken,  // no HTTP message; see `problem`
    };
    enum class Framing { none, length, chunked, until_close };

    void expect_request();
    // `has_body`: false for the answer to HEAD.
    void expect_response(bool has_body);

    // Takes bytes of this message and passes its decoded body to `sink(std::string_view)`. Stops
    // after a completed head (call again for the body) and after the message. Returns the number of
    // bytes taken.
    template <class Sink>
    std::size_t take(std::string_view bytes, Sink&& sink);
    // Called at the stream's end: completes a message that lasts until then.
    void end_of_stream();

    State state() const { return state_; }
    // True if no byte of the message has arrived.
    bool is_untouched() const { return state_ == State::head && text_.empty(); }
    const char* problem() const { return problem_; }
    Framing framing() const { return framing_; }
    std::uint64_t length() const { return length_; }
    // Requests
    std::string_view method() const { return method_; }
    std::string_view target() const { return target_; }
    // Responses
    int status() const { return status_; }
    // Both. The views are valid until the next expect_….
    int minor_version() const { return minor_; }
    // The value of the only field of this name; empty if there is none or several.
    std::string_view field(std::string_view name) const;
    std::size_t count(std::string_view name) const;
    // True if `Connection` (or HTTP/1.0 without keep-alive) announces the last message.
    bool closes() const;

  private:
    enum class Part { size, data, data_end, trailer };
    void reset();
    void fail(const char* why) {
        state_ = State::broken;
        problem_ = why;
    }
    void read_head();
    bool read_start(std::string_view line);
    bool read_framing();
    // A complete line of the chunked coding.
    void on_chunk_line(std::string_view line);

    State state_ = State::head;
    const char* problem_ = "";
    bool is_request_ = true;
    bool has_body_ = true;
    std::string text_;  // the head
    std::string line_;  // an unfinished line of the chunked coding
    std::string_view method_, target_;
    std::vector<Field> fields_;
    int status_ = 0;
    int minor_ = 1;
    Framing framing_ = Framing::none;
    std::uint64_t length_ = 0;
    std::uint64_t left_ = 0;  // of the body, or of a chunk
    Part part_ = Part::size;
};

bool equals_folded(std::string_view a, std::string_view b);

template <class Sink>
std::size_t Message::take(std::string_view bytes, Sink&& sink) {
    constexpr std::size_t kHeadLimit = 64 << 10;
    constexpr std::size_t kLineLimit = 4096;
    if (state_ == State::head) {
        // The end may be split over two pieces, so the search starts three bytes earlier.
        const std::size_t before = text_.size();
        text_.append(bytes.substr(0, kHeadLimit));
        const std::size_t end = text_.find("\r\n\r\n", before < 3 ? 0 : before - 3);
        if (end == std::string::npos) {
            if (text_.size() >= kHeadLimit) {
                fail("head too long");
            }
            return std::min(bytes.size(), kHeadLimit);
        }
        text_.resize(end + 4);
        read_head();
        return end + 4 - before;
    }
    std::size_t taken = 0;
    while (state_ == State::body && taken < bytes.size()) {
        const std::string_view rest = bytes.substr(taken);
        if (framing_ == Framing::until_close) {
            sink(rest);
            return bytes.size();
        }
        if (framing_ == Framing::length || part_ == Part::data) {
            const std::size_t now =
                static_cast<std::size_t>(std::min<std::uint64_t>(rest.size(), left_));
            sink(rest.substr(0, now));
            taken += now;
            left_ -= now;
            if (left_ == 0) {
                if (framing_ == Framing::length) {
                    state_ = State::done;
                } else {
                    part_ = Part::data_end;
                }
            }
            continue;
        }
        const std::size_t newline = rest.find('\n');
        line_.append(rest.substr(0, newline == std::string_view::npos ? newline : newline + 1));
        taken += newline == std::string_view::npos ? rest.size() : newline + 1;
        if (line_.size() > kLineLimit) {
            fail("line of the chunked coding too long");
        } else if (newline != std::string_view::npos) {
            on_chunk_line(line_);
            line_.clear();
        }
    }
    return taken;
}

}  // namespace soak
