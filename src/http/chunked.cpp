#include "s3gate/http/chunked.hpp"

#include <algorithm>
#include <vector>

#include "s3gate/base/text.hpp"
#include "s3gate/http/framing.hpp"
#include "s3gate/http/head.hpp"

namespace s3gate::http {
namespace {

bool is_extension_byte(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
}

}  // namespace

ChunkDecoder::Step ChunkDecoder::step(std::string_view input) {
    for (std::size_t position = 0; position < input.size(); ++position) {
        if (state_ == State::data) {
            return take_payload(input, position);
        }
        if (!take(input[position])) {
            state_ = State::bad;
            return {Kind::bad, position, {}};
        }
        if (state_ == State::done) {
            return {Kind::done, position + 1, {}};
        }
    }
    return {Kind::need_more, input.size(), {}};
}

ChunkDecoder::Step ChunkDecoder::take_payload(std::string_view input, std::size_t position) {
    const auto size =
        static_cast<std::size_t>(std::min<std::uint64_t>(left_, input.size() - position));
    left_ -= size;
    if (left_ == 0) {
        state_ = State::data_cr;
    }
    return {Kind::payload, position + size, input.substr(position, size)};
}

inline bool ChunkDecoder::take(char c) {
    switch (state_) {
        case State::size_first:
        case State::size:
            return take_size(c);
        case State::extension:
            return take_extension(c);
        case State::size_lf:
            digits_ = 0;
            return take_only('\n', c, left_ == 0 ? State::trailer_begin : State::data);
        case State::data_cr:
            return take_only('\r', c, State::data_lf);
        case State::data_lf:
            return take_only('\n', c, State::size_first);
        case State::trailer_begin:
        case State::trailer_line:
            return take_trailer(c);
        case State::trailer_lf:
            trailers_.push_back(c);
            return take_only('\n', c, State::trailer_begin);
        case State::final_lf:
            return take_only('\n', c, State::done);
        case State::data:
        case State::done:
        case State::bad:
            break;
    }
    return false;
}

inline bool ChunkDecoder::take_only(char expected, char c, State next) {
    state_ = next;
    return c == expected;
}

inline bool ChunkDecoder::take_size(char c) {
    const int value = base::hex_value(c);
    if (value >= 0) {
        left_ = left_ * 16 + static_cast<unsigned>(value);
        state_ = State::size;
        // 15 digits stay below 2^60. A longer size is an attempt at an overflow, even with leading
        // zeros.
        return ++digits_ <= 15;
    }
    if (state_ == State::size_first) {
        return false;
    }
    if (c == ';') {
        line_length_ = 0;
        state_ = State::extension;
        return true;
    }
    // BWS before an extension is refused as well: RFC 9112 §7.1.1 calls it bad.
    return take_only('\r', c, State::size_lf);
}

inline bool ChunkDecoder::take_extension(char c) {
    if (c == '\r') {
        state_ = State::size_lf;
        return true;
    }
    return is_extension_byte(c) && ++line_length_ <= kMaxLine;
}

inline bool ChunkDecoder::take_trailer(char c) {
    if (state_ == State::trailer_begin && c == '\r') {
        state_ = State::final_lf;
        return true;
    }
    if (c == '\n' || trailers_.size() >= kMaxTrailers) {
        return false;
    }
    trailers_.push_back(c);
    state_ = c == '\r' ? State::trailer_lf : State::trailer_line;
    return true;
}

namespace {

// False for fields that must not follow a body (RFC 9110 §6.5.1). A recipient that merges trailers
// into the head would take them for new framing, routing, authentication, authorisation or caching.
// Of the x-amz- fields only checksums and their signature are ever trailers.
bool is_kept_trailer(const Field& field) {
    if (field.id != FieldId::other || is_framing_lookalike(field.name)) {
        return false;
    }
    // Servers that map names to variables read '_' and '.' as '-'.
    std::string plain(field.name);
    std::replace_if(plain.begin(), plain.end(), [](char c) { return c == '_' || c == '.'; }, '-');
    if (base::istarts_with(plain, "x-amz-")) {
        return base::istarts_with(field.name, "x-amz-checksum-") ||
               base::iequals(field.name, "x-amz-trailer-signature");
    }
    static constexpr std::string_view kPrefixes[] = {
        "accept", "access-control-", "amz-",     "auth",    "content-", "if-",    "proxy",
        "sec-",   "x-forward",       "x-minio-", "x-http-", "x-method", "x-orig", "x-rewrite-",
        "x-real", "x-session-id",    "strict-"};
    static constexpr std::string_view kNames[] = {"age",
                                                  "allow",
                                                  "cache-control",
                                                  "expires",
                                                  "location",
                                                  "max-forwards",
                                                  "origin",
                                                  "pragma",
                                                  "range",
                                                  "retry-after",
                                                  "set-cookie",
                                                  "server",
                                                  "vary",
                                                  "via",
                                                  "warning",
                                                  "www-authenticate",
                                                  "priority",
                                                  "early-data",
                                                  "alt-svc",
                                                  "refresh",
                                                  "clear-site-data",
                                                  "status",
                                                  "true-client-ip",
                                                  "x-client-ip"};
    return std::none_of(
               std::begin(kPrefixes), std::end(kPrefixes),
               [&](std::string_view prefix) { return base::istarts_with(plain, prefix); }) &&
           std::none_of(std::begin(kNames), std::end(kNames),
                        [&](std::string_view other) { return base::iequals(plain, other); }) &&
           field_id_of(plain) == FieldId::other;
}

}  // namespace

bool filter_trailers(std::string_view lines, TrailersOf sender, std::string& out) {
    if (lines.empty()) {
        return true;
    }
    std::string section(lines);
    section += "\r\n";
    if (sender == TrailersOf::backend) {
        soften_controls(section);
    }
    std::vector<Field> fields;
    if (parse_fields(section, fields) != HeadError::none) {
        return false;
    }
    for (const Field& field : fields) {
        if (is_kept_trailer(field)) {
            out.append(field.line);
        }
    }
    return true;
}

}  // namespace s3gate::http
