// The chunked decoder gives the same result for any segmentation. Its result, encoded again,
// decodes to the same.
#include <string>

#include "fuzz_target.hpp"
#include "s3gate/http/chunked.hpp"

namespace {

using s3gate::http::ChunkDecoder;

struct Decoded {
    ChunkDecoder::Kind end = ChunkDecoder::Kind::need_more;
    std::size_t consumed = 0;
    std::string payload;
    std::string trailers;
    bool operator==(const Decoded&) const = default;
};

// `seed` 0 = all at once, 1 = byte by byte, else random steps.
Decoded decode(std::string_view bytes, std::uint32_t seed) {
    ChunkDecoder decoder;
    Decoded result;
    std::uint32_t state = seed;
    std::size_t given = 0;
    while (given < bytes.size()) {
        state = state * 1664525u + 1013904223u;
        const std::size_t step = seed == 0 ? bytes.size() : seed == 1 ? 1 : 1 + (state >> 24) % 19;
        const std::string_view part = bytes.substr(given, step);
        given += part.size();
        std::string_view rest = part;
        for (;;) {
            const ChunkDecoder::Step taken = decoder.step(rest);
            FUZZ_CHECK(taken.consumed <= rest.size());
            result.consumed += taken.consumed;
            rest.remove_prefix(taken.consumed);
            if (taken.kind == ChunkDecoder::Kind::payload) {
                FUZZ_CHECK(!taken.payload.empty());
                result.payload += taken.payload;
                continue;
            }
            if (taken.kind == ChunkDecoder::Kind::need_more) {
                FUZZ_CHECK(rest.empty());
                break;
            }
            result.end = taken.kind;
            result.trailers = decoder.trailers();
            FUZZ_CHECK(decoder.is_done() == (taken.kind == ChunkDecoder::Kind::done));
            return result;
        }
    }
    return result;
}

}  // namespace

FUZZ_TARGET(input) {
    const Decoded whole = decode(input, 0);
    FUZZ_CHECK(decode(input, 1) == whole);
    FUZZ_CHECK(decode(input, 2) == whole);
    FUZZ_CHECK(decode(input, 0x5eed) == whole);
    FUZZ_CHECK(whole.payload.size() <= input.size());
    FUZZ_CHECK(whole.trailers.size() <= ChunkDecoder::kMaxTrailers + 2);
    if (whole.end != ChunkDecoder::Kind::done) {
        return;
    }
    char size[24];
    std::string again;
    for (std::size_t i = 0; i < whole.payload.size(); i += 1000) {
        const std::string_view part = std::string_view(whole.payload).substr(i, 1000);
        std::snprintf(size, sizeof size, "%zx\r\n", part.size());
        again.append(size).append(part).append("\r\n");
    }
    again.append("0\r\n").append(whole.trailers).append("\r\n");
    const Decoded second = decode(again + "surplus", 3);
    FUZZ_CHECK(second.end == ChunkDecoder::Kind::done);
    FUZZ_CHECK(second.consumed == again.size());
    FUZZ_CHECK(second.payload == whole.payload && second.trailers == whole.trailers);
}
