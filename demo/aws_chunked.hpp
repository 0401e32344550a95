// The body format of streaming signatures: "size;chunk-signature=…" lines, data, and trailers,
// inside the HTTP body (x-amz-content-sha256: STREAMING-…). Signatures are not checked. Pure state
// machine, fed in pieces of any size.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace s3gate::demo {

class AwsChunkedDecoder {
  public:
    // Appends the payload found in `bytes` to `payload`. False if the bytes are not of this format.
    bool decode(std::string_view bytes, std::string& payload);
    // True once the last chunk was seen; trailers may follow.
    bool is_complete() const { return state_ == State::trailers; }

  private:
    enum class State { size_line, data, data_end, trailers };
    State state_ = State::size_line;
    std::string line_;
    std::uint64_t left_ = 0;
};

}  // namespace s3gate::demo
