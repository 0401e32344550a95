#include "aws_chunked.hpp"

#include <algorithm>

#include "s3gate/base/text.hpp"

namespace s3gate::demo {
namespace {

// Longer than any signature line; a peer without line ends must not fill the memory.
constexpr std::size_t kLongestLine = 1024;

}  // namespace

bool AwsChunkedDecoder::decode(std::string_view bytes, std::string& payload) {
    while (!bytes.empty() && state_ != State::trailers) {
        if (state_ == State::data) {
            const auto count =
                static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size()));
            payload += bytes.substr(0, count);
            bytes.remove_prefix(count);
            left_ -= count;
            state_ = left_ == 0 ? State::data_end : State::data;
            continue;
        }
        const char c = bytes.front();
        bytes.remove_prefix(1);
        if (c != '\n') {
            line_ += c;
            if (line_.size() > kLongestLine) {
                return false;
            }
            continue;
        }
        if (!line_.ends_with('\r')) {
            return false;
        }
        line_.pop_back();
        if (state_ == State::data_end) {
            if (!line_.empty()) {
                return false;
            }
            state_ = State::size_line;
            continue;
        }
        const auto size = base::parse_hex(std::string_view(line_).substr(0, line_.find(';')));
        if (!size) {
            return false;
        }
        line_.clear();
        left_ = *size;
        state_ = left_ == 0 ? State::trailers : State::data;
    }
    return true;
}

}  // namespace s3gate::demo
