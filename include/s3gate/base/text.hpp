// ASCII helpers on string_view: case folding, number parsing, percent-decoding. No allocation
// unless a std::string is returned, no locale, no exceptions. Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace s3gate::base {

// The lower-case ASCII letter; other bytes unchanged.
constexpr char to_lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// to_lower for eight bytes at once.
constexpr std::uint64_t to_lower8(std::uint64_t bytes) {
    constexpr std::uint64_t kOnes = 0x0101010101010101ULL;
    const std::uint64_t low = bytes & (0x7f * kOnes);
    // Bit 7 of each byte tells: at least 'A', above 'Z', and ASCII.
    const std::uint64_t from_a = low + (0x80 - 'A') * kOnes;
    const std::uint64_t past_z = low + (0x7f - 'Z') * kOnes;
    const std::uint64_t is_upper = (from_a ^ past_z) & ~bytes & (0x80 * kOnes);
    return bytes | (is_upper >> 2);
}

// Value of a hexadecimal digit, -1 for any other byte.
constexpr int hex_value(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const char lower = to_lower(c);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// The digits by value, in either case.
inline constexpr std::string_view kHexDigits = "0123456789abcdef";
inline constexpr std::string_view kUpperHexDigits = "0123456789ABCDEF";

// Writes the two hexadecimal digits of a byte; returns the position after them.
constexpr char* write_hex(char* out, std::uint8_t byte, std::string_view digits = kHexDigits) {
    *out++ = digits[byte >> 4];
    *out++ = digits[byte & 0x0F];
    return out;
}
// The same, appended to `out`.
inline void append_hex(std::string& out, std::uint8_t byte, std::string_view digits = kHexDigits) {
    out += digits[byte >> 4];
    out += digits[byte & 0x0F];
}

// Eight hexadecimal digits, A to F, as bytes; the lowest byte has the digit of the lowest four
// bits.
constexpr std::uint64_t hex8(std::uint32_t value) {
    constexpr std::uint64_t kOnes = 0x0101010101010101ULL;
    std::uint64_t digits = value;
    digits = (digits | digits << 16) & 0x0000ffff0000ffffULL;
    digits = (digits | digits << 8) & 0x00ff00ff00ff00ffULL;
    digits = (digits | digits << 4) & 0x0f0f0f0f0f0f0f0fULL;
    const std::uint64_t is_letter = (digits + 6 * kOnes) >> 4 & kOnes;
    return digits + '0' * kOnes + is_letter * ('A' - '0' - 10);
}

namespace detail {

// The comparison of iequals(); `fold_a` makes eight bytes of `a` lower-case where that is needed.
template <class FoldA>
inline bool equals_folded(std::string_view a, std::string_view b, const FoldA& fold_a) {
    const std::size_t size = a.size();
    if (size != b.size()) {
        return false;
    }
    const auto same_at = [&](std::size_t at) {
        std::uint64_t x;
        std::uint64_t y;
        std::memcpy(&x, a.data() + at, sizeof x);
        std::memcpy(&y, b.data() + at, sizeof y);
        return fold_a(x) == to_lower8(y);
    };
    if (size >= 8) {
        for (std::size_t at = 0; at + 8 < size; at += 8) {
            if (!same_at(at)) {
                return false;
            }
        }
        return same_at(size - 8);  // overlaps bytes that were compared already
    }
    if (size >= 4) {
        const auto both_ends = [size](std::string_view text) {
            std::uint32_t front;
            std::uint32_t back;
            std::memcpy(&front, text.data(), sizeof front);
            std::memcpy(&back, text.data() + size - 4, sizeof back);
            return front | std::uint64_t{back} << 32;
        };
        return fold_a(both_ends(a)) == to_lower8(both_ends(b));
    }
    for (std::size_t at = 0; at < size; ++at) {
        if (to_lower(a[at]) != to_lower(b[at])) {
            return false;
        }
    }
    return true;
}

}  // namespace detail

// True if both texts are equal without regard to the case of ASCII letters.
inline bool iequals(std::string_view a, std::string_view b) {
    return detail::equals_folded(a, b, to_lower8);
}

// iequals() for a `lower` without upper-case letters.
inline bool is_lower_case_of(std::string_view lower, std::string_view text) {
    return detail::equals_folded(lower, text, [](std::uint64_t bytes) { return bytes; });
}

// True if `text` begins with `prefix`, without regard to the case of ASCII letters.
inline bool istarts_with(std::string_view text, std::string_view prefix) {
    return text.size() >= prefix.size() && iequals(text.substr(0, prefix.size()), prefix);
}

// A cheap test before a look-up in a fixed list of names: it rejects most other texts. For each
// length it has a bit per first letter (the low five bits, equal in both cases) of the names with
// that length.
class NameFilter {
  public:
    // Rows with a `name` of 1 to 31 bytes; in a constant the compiler checks that.
    template <class Rows>
    constexpr explicit NameFilter(const Rows& rows) {
        for (const auto& row : rows) {
            first_letters_.at(row.name.size()) |= 1U << (row.name.front() & 31);
        }
    }
    // False only for a text that is no name of the list, in any case of letters.
    constexpr bool may_hold(std::string_view text) const {
        return text.size() - 1 < first_letters_.size() - 1 &&  // also rejects the empty text
               (first_letters_[text.size()] >> (text.front() & 31) & 1) != 0;
    }

  private:
    std::array<std::uint32_t, 32> first_letters_{};
};

// True for tchar (RFC 9110 §5.6.2), the bytes of field names and methods.
constexpr bool is_tchar(char c) {
    constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
    const char lower = to_lower(c);
    return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') ||
           kMarks.find(c) != std::string_view::npos;
}
// True for a text of at least one tchar and no other byte.
constexpr bool is_token(std::string_view text) {
    for (const char c : text) {
        if (!is_tchar(c)) {
            return false;
        }
    }
    return !text.empty();
}

// Decimal digits only (no sign, no space, no empty text); nullopt if the text is no number or
// exceeds 64 bits.
std::optional<std::uint64_t> parse_decimal(std::string_view digits);

// Hexadecimal digits only, either case; nullopt if the text is empty, not hexadecimal, or exceeds
// 64 bits.
std::optional<std::uint64_t> parse_hex(std::string_view digits);

// Glob with '*' only (any run of bytes, also none), without regard to the case of ASCII letters.
bool glob_imatch(std::string_view pattern, std::string_view text);

// Decodes %XX; '+' stays '+', an invalid '%' stays as it is (docs/config.md, `balance.key`).
std::string percent_decode(std::string_view text);
// The same, appended to `out`.
void append_percent_decoded(std::string& out, std::string_view text);

// Removes spaces and tabs from both ends (RFC 9110 OWS). A text of nothing else becomes a view
// without data().
inline std::string_view trim_ows(std::string_view text) {
    const auto is_ows = [](char c) { return c == ' ' || c == '\t'; };
    const char* begin = text.data();
    const char* end = begin + text.size();
    while (begin != end && is_ows(*begin)) {
        ++begin;
    }
    if (begin == end) {
        return {};
    }
    while (is_ows(end[-1])) {
        --end;
    }
    return {begin, static_cast<std::size_t>(end - begin)};
}

}  // namespace s3gate::base
