#include "s3gate/base/text.hpp"

#include <charconv>
#include <system_error>

namespace s3gate::base {

namespace {

// For unsigned types std::from_chars accepts neither signs nor spaces nor "0x". Only a remaining
// text must be refused.
std::optional<std::uint64_t> parse_unsigned(std::string_view digits, int radix) {
    std::uint64_t value = 0;
    const char* const end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, value, radix);
    if (error != std::errc{} || stop != end) {
        return std::nullopt;
    }
    return value;
}

}  // namespace

std::optional<std::uint64_t> parse_decimal(std::string_view digits) {
    return parse_unsigned(digits, 10);
}

std::optional<std::uint64_t> parse_hex(std::string_view digits) {
    return parse_unsigned(digits, 16);
}

bool glob_imatch(std::string_view pattern, std::string_view text) {
    // One remembered star is enough: a later star makes all choices of an earlier one irrelevant.
    // So the cost is at most pattern × text, for any input of a backend.
    std::size_t p = 0;
    std::size_t t = 0;
    std::size_t after_star = std::string_view::npos;
    std::size_t star_text = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            after_star = ++p;
            star_text = t;
        } else if (p < pattern.size() && to_lower(pattern[p]) == to_lower(text[t])) {
            ++p;
            ++t;
        } else if (after_star != std::string_view::npos) {
            p = after_star;
            t = ++star_text;
        } else {
            return false;
        }
    }
    return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

std::string percent_decode(std::string_view text) {
    std::string out;
    append_percent_decoded(out, text);
    return out;
}

void append_percent_decoded(std::string& out, std::string_view text) {
    out.reserve(out.size() + text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '%' && text.size() - i > 2) {
            const int high = hex_value(text[i + 1]);
            const int low = hex_value(text[i + 2]);
            if (high >= 0 && low >= 0) {
                out.push_back(static_cast<char>(high * 16 + low));
                i += 2;
                continue;
            }
        }
        out.push_back(text[i]);
    }
}

}  // namespace s3gate::base
