#include "json_text.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

namespace s3gate::observe {
namespace {

// True for bytes that stand for themselves inside a JSON string.
constexpr std::array<bool, 256> make_plain_table() {
    std::array<bool, 256> table{};
    for (std::size_t byte = 0x20; byte < 0x80; ++byte) {
        table[byte] = byte != '"' && byte != '\\';
    }
    return table;
}
constexpr std::array<bool, 256> kPlain = make_plain_table();

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

void append_escape(std::string& out, std::uint8_t byte) {
    if (byte == '"' || byte == '\\') {
        out += '\\';
        out += static_cast<char>(byte);
        return;
    }
    constexpr std::string_view kDigits = "0123456789abcdef";
    out += "\\u00";
    out += kDigits[byte >> 4];
    out += kDigits[byte & 0x0F];
}

}  // namespace

void append_json_escaped(std::string& out, std::string_view text) {
    std::size_t run = 0;  // begin of what is copied as it is
    std::size_t at = 0;
    while (at < text.size()) {
        if (kPlain[byte_at(text, at)]) {
            ++at;
            continue;
        }
        const std::size_t sequence = utf8_length(text, at);
        if (sequence != 0) {
            at += sequence;
            continue;
        }
        out.append(text, run, at - run);
        append_escape(out, byte_at(text, at));
        run = ++at;
    }
    out.append(text, run, at - run);
}

}  // namespace s3gate::observe
