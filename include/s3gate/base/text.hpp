// ASCII helpers on string_view: case folding, number parsing, percent-decoding. No allocation
// unless a std::string is returned, no locale, no exceptions. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace s3gate::base {

// Lower-case of an ASCII letter, every other byte unchanged.
constexpr char to_lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// True if both texts are equal when ASCII letters are compared without case.
bool iequals(std::string_view a, std::string_view b);

// True if `text` begins with `prefix`, ASCII letters compared without case.
bool istarts_with(std::string_view text, std::string_view prefix);

// Decimal digits only (no sign, no space, no empty text); nullopt when it is not a number or does
// not fit in 64 bits.
std::optional<std::uint64_t> parse_decimal(std::string_view digits);

// Hexadecimal digits only, either case; nullopt when empty, not hexadecimal, or longer than 64
// bits.
std::optional<std::uint64_t> parse_hex(std::string_view digits);

// Glob with '*' only (any run of bytes, also none); ASCII letters compared without case.
bool glob_imatch(std::string_view pattern, std::string_view text);

// Decodes %XX; '+' stays '+', an invalid '%' stays as it is (docs/config.md, `balance.key`).
std::string percent_decode(std::string_view text);

// Removes spaces and tabs from both ends (RFC 9110 OWS).
std::string_view trim_ows(std::string_view text);

}  // namespace s3gate::base
