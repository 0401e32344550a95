// The body format of streaming signatures inside the HTTP body: "size;chunk-signature=…" lines,
// data, and trailers (x-amz-content-sha256: STREAMING-…). Signatures are not checked. Pure state
// machine; accepts pieces of any size.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace s3gate::demo {

class AwsChunkedDecoder {
  public:
    // Appends the payload found in `bytes` to `payload`. False if the bytes are not of this format.
    bool decode(std::string_view bytes, std::string& payload);
    // True after the last chunk; trailers may follow.
    bool is_complete() const { return state_ == State::trailers; }

  private:
    enum class State { size_line, data, data_end, trailers };
    State state_ = State::size_line;
    std::string line_;
    std::uint64_t left_ = 0;
};

}  // namespace s3gate::demo
