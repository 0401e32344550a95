#include "s3gate/http/chunked.hpp"

#include <algorithm>
#include <vector>

#include "s3gate/base/text.hpp"
#include "s3gate/http/framing.hpp"
#include "s3gate/http/head.hpp"

namespace s3gate::http {
namespace {

int hex_value(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const char lower = base::to_lower(c);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

bool is_extension_byte(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
}

}  // namespace

void ChunkDecoder::reset() {
    state_ = State::size_first;
    left_ = 0;
    line_length_ = 0;
    digits_ = 0;
    trailers_.clear();
}

ChunkDecoder::Step ChunkDecoder::step(std::string_view input) {
    std::size_t position = 0;
    const auto bad = [&] {
        state_ = State::bad;
        return Step{Kind::bad, position, {}};
    };
    while (position < input.size()) {
        const char c = input[position];
        switch (state_) {
            case State::size_first:
            case State::size: {
                const int value = hex_value(c);
                if (value >= 0) {
                    // 15 digits stay below 2^60; a longer size, zeros or not, is an attempt at an
                    // overflow.
                    if (++digits_ > 15) {
                        return bad();
                    }
                    left_ = left_ * 16 + static_cast<unsigned>(value);
                    state_ = State::size;
                } else if (state_ == State::size && c == ';') {
                    state_ = State::extension;
                    line_length_ = 0;
                } else if (state_ == State::size && c == '\r') {
                    state_ = State::size_lf;
                } else {
                    return bad();  // also BWS before an extension: RFC 9112 §7.1.1 calls it bad, we
                                   // do not bear it
                }
                ++position;
                break;
            }
            case State::extension:
                if (c == '\r') {
                    state_ = State::size_lf;
                } else if (!is_extension_byte(c) || ++line_length_ > kMaxLine) {
                    return bad();
                }
                ++position;
                break;
            case State::size_lf:
                if (c != '\n') {
                    return bad();
                }
                ++position;
                digits_ = 0;
                state_ = left_ == 0 ? State::trailer_begin : State::data;
                break;
            case State::data: {
                const std::size_t take = static_cast<std::size_t>(
                    std::min<std::uint64_t>(left_, input.size() - position));
                left_ -= take;
                if (left_ == 0) {
                    state_ = State::data_cr;
                }
                return {Kind::payload, position + take, input.substr(position, take)};
            }
            case State::data_cr:
                if (c != '\r') {
                    return bad();
                }
                ++position;
                state_ = State::data_lf;
                break;
            case State::data_lf:
                if (c != '\n') {
                    return bad();
                }
                ++position;
                state_ = State::size_first;
                break;
            case State::trailer_begin:
                if (c == '\r') {
                    ++position;
                    state_ = State::final_lf;
                    break;
                }
                state_ = State::trailer_line;
                [[fallthrough]];
            case State::trailer_line:
                if (c == '\n' || trailers_.size() >= kMaxTrailers) {
                    return bad();
                }
                trailers_.push_back(c);
                ++position;
                if (c == '\r') {
                    state_ = State::trailer_lf;
                }
                break;
            case State::trailer_lf:
                if (c != '\n') {
                    return bad();
                }
                trailers_.push_back(c);
                ++position;
                state_ = State::trailer_begin;
                break;
            case State::final_lf:
                if (c != '\n') {
                    return bad();
                }
                ++position;
                state_ = State::done;
                return {Kind::done, position, {}};
            case State::done:
            case State::bad:
                return bad();
        }
    }
    return {Kind::need_more, position, {}};
}

namespace {

// Fields that must not come behind a body (RFC 9110 §6.5.1): a recipient that merges trailers into
// the head would be told anew how the message is framed, routed, authenticated, authorised or
// cached. Of the x-amz- fields only checksums and the signature over them are ever trailers.
bool is_kept_trailer(const Field& field) {
    if (field.id != FieldId::other || is_framing_lookalike(field.name)) {
        return false;
    }
    // '_' and '.' read as '-' in servers that map names to variables.
    std::string plain(field.name);
    std::replace_if(
        plain.begin(), plain.end(), [](char c) { return c == '_' || c == '.'; }, '-');
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
