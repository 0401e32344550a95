#include "json_text.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "s3gate/base/scan.hpp"

namespace s3gate::observe {
namespace {

constexpr std::uint8_t byte_at(std::string_view text, std::size_t index) {
    return static_cast<std::uint8_t>(text[index]);
}

// Length of the well-formed UTF-8 sequence of two to four bytes at `at`; 0 when there is none. The
// ranges of the second byte exclude overlong forms, surrogates and values above U+10FFFF (RFC 3629
// section 4).
std::size_t utf8_length(std::string_view text, std::size_t at) {
    const std::uint8_t lead = byte_at(text, at);
    std::size_t length = 0;
    std::uint8_t low = 0x80;
    std::uint8_t high = 0xBF;
    if (lead >= 0xC2 && lead <= 0xDF) {
        length = 2;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
        length = 3;
        low = lead == 0xE0 ? 0xA0 : 0x80;
        high = lead == 0xED ? 0x9F : 0xBF;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        length = 4;
        low = lead == 0xF0 ? 0x90 : 0x80;
        high = lead == 0xF4 ? 0x8F : 0xBF;
    } else {
        return 0;
    }
    if (text.size() - at < length) {
        return 0;
    }
    if (byte_at(text, at + 1) < low || byte_at(text, at + 1) > high) {
        return 0;
    }
    for (std::size_t i = 2; i < length; ++i) {
        if ((byte_at(text, at + i) & 0xC0) != 0x80) {
            return 0;
        }
    }
    return length;
}

char* write_escape(char* out, std::uint8_t byte) {
    *out++ = '\\';
    if (byte == '"' || byte == '\\') {
        *out++ = static_cast<char>(byte);
        return out;
    }
    constexpr std::string_view kDigits = "0123456789abcdef";
    *out++ = 'u';
    *out++ = '0';
    *out++ = '0';
    *out++ = kDigits[byte >> 4];
    *out++ = kDigits[byte & 0x0F];
    return out;
}

// The rest of a text that was copied up to `at`, where something stands that may need an escape.
[[gnu::noinline]] char* write_from_special(char* out, std::string_view text, std::size_t at) {
    for (;;) {
        const std::size_t sequence = utf8_length(text, at);
        if (sequence == 0) {
            out = write_escape(out, byte_at(text, at));
            ++at;
        } else {
            std::memcpy(out, text.data() + at, sequence);
            out += sequence;
            at += sequence;
        }
        const std::size_t plain =
            base::copy_until<base::JsonSpecials>(out, text.data() + at, text.data() + text.size());
        out += plain;
        at += plain;
        if (at == text.size()) {
            return out;
        }
    }
}

}  // namespace

char* write_json_escaped(char* out, std::string_view text) {
    const std::size_t plain =
        base::copy_until<base::JsonSpecials>(out, text.data(), text.data() + text.size());
    return plain == text.size() ? out + plain : write_from_special(out + plain, text, plain);
}

}  // namespace s3gate::observe
