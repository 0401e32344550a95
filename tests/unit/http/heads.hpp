// What the tests of this module share: parsed heads from texts, and readable failures.
#pragma once

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <string_view>

#include "s3gate/http/framing.hpp"
#include "s3gate/http/head.hpp"

namespace s3gate::http {

// Found by GoogleTest through the namespace of the type.
inline void PrintTo(HeadError error, std::ostream* out) {
    *out << to_string(error);
}

inline void PrintTo(BodyKind kind, std::ostream* out) {
    static constexpr const char* kNames[] = {"none", "length", "chunked", "until_close"};
    *out << kNames[static_cast<int>(kind)];
}

inline std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '\r') {
            out += "\\r";
        } else if (c == '\n') {
            out += "\\n";
        } else if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e) {
            out += "\\x" + std::to_string(static_cast<unsigned char>(c));
        } else {
            out += c;
        }
    }
    return out;
}

// The views of the result point into `raw`: a temporary must not outlive its head's use.
inline RequestHead request(const std::string& raw) {
    RequestHead head;
    EXPECT_EQ(parse_request_head(raw, head), HeadError::none) << escaped(raw);
    return head;
}

inline ResponseHead response(const std::string& raw) {
    ResponseHead head;
    EXPECT_EQ(parse_response_head(raw, head), HeadError::none) << escaped(raw);
    return head;
}

}  // namespace s3gate::http
