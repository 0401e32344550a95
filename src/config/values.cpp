#include "values.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <limits>
#include <utility>

#include "s3gate/base/text.hpp"

namespace s3gate::config {

namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool is_alnum(char c) {
    const char lower = base::to_lower(c);
    return (lower >= 'a' && lower <= 'z') || is_digit(c);
}

struct Quantity {
    std::uint64_t number = 0;
    std::string_view unit;
};

std::optional<Quantity> split_quantity(std::string_view text) {
    const auto digits = static_cast<std::size_t>(
        std::find_if_not(text.begin(), text.end(), is_digit) - text.begin());
    const auto number = base::parse_decimal(text.substr(0, digits));
    if (!number) {
        return std::nullopt;
    }
    return Quantity{*number, text.substr(digits)};
}

struct Unit {
    std::string_view name;
    std::uint64_t factor;
};
constexpr std::array<Unit, 4> kDurations = {
    {{"h", 3'600'000}, {"m", 60'000}, {"s", 1000}, {"ms", 1}}};
constexpr std::array<Unit, 4> kSizes = {
    {{"GiB", 1024 * kMiB}, {"MiB", kMiB}, {"KiB", kKiB}, {"", 1}}};

// The product; nullopt if the unit is unknown or the product exceeds int64 (durations are signed).
template <std::size_t N>
std::optional<std::uint64_t> scale(const Quantity& quantity, const std::array<Unit, N>& units) {
    constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    for (const Unit& unit : units) {
        if (unit.name == quantity.unit) {
            if (quantity.number > kMax / unit.factor) {
                return std::nullopt;
            }
            return quantity.number * unit.factor;
        }
    }
    return std::nullopt;
}

template <std::size_t N>
std::string print_scaled(std::uint64_t value, const std::array<Unit, N>& units) {
    for (const Unit& unit : units) {
        if (value >= unit.factor && value % unit.factor == 0) {
            return std::to_string(value / unit.factor) + std::string(unit.name);
        }
    }
    return "0";
}

struct Range {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    std::size_t width = 0;  // pad with zeros to this width
};

Parsed<Range> parse_range(std::string_view inner) {
    const std::string shown = "{" + std::string(inner) + "}";
    const std::size_t dots = inner.find("...");
    const auto first = base::parse_decimal(inner.substr(0, dots));
    const auto last =
        dots == std::string_view::npos ? std::nullopt : base::parse_decimal(inner.substr(dots + 3));
    if (!first || !last) {
        return {std::nullopt, in_quotes(shown) +
                                  " is not a range; write {1...6}: two numbers with "
                                  "three dots between"};
    }
    const std::string_view from = inner.substr(0, dots);
    const std::string_view to = inner.substr(dots + 3);
    const bool padded = from.size() > 1 && from.front() == '0';
    if (to.size() > 1 && to.front() == '0' && !(padded && to.size() == from.size())) {
        return {std::nullopt,
                in_quotes(shown) +
                    " pads its ends differently; write both with the same width, as {01...12}"};
    }
    if (*first > *last) {
        return {std::nullopt, in_quotes(shown) + " runs backwards; write the smaller number first"};
    }
    if (*last - *first >= kMaxExpansion) {
        return {std::nullopt, in_quotes(shown) + " is too large; at most " +
                                  std::to_string(kMaxExpansion) + " servers"};
    }
    return {Range{*first, *last, padded ? from.size() : 0}, {}};
}

std::string print_padded(std::uint64_t number, std::size_t width) {
    std::string digits = std::to_string(number);
    if (digits.size() < width) {
        digits.insert(0, width - digits.size(), '0');
    }
    return digits;
}

// Levenshtein distance; the words are keys, a few dozen bytes at most.
std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) {
        row[j] = j;
    }
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t above = row[j];
            const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            row[j] = std::min({above + 1, row[j - 1] + 1, replaced});
            diagonal = above;
        }
    }
    return row[b.size()];
}

// Ignores case and '-' for '_', the commonest slips.
std::string folded(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        c = c == '-' ? '_' : base::to_lower(c);
    }
    return out;
}

}  // namespace

std::string in_quotes(std::string_view text) {
    constexpr std::size_t kShown = 80;
    std::string out = "\"";
    std::size_t end = std::min(text.size(), kShown);
    while (end < text.size() && end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) {
        --end;  // never cut a UTF-8 character in two
    }
    for (const char c : text.substr(0, end)) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7F) {
            std::array<char, 8> escaped{};
            std::snprintf(escaped.data(), escaped.size(), "\\x%02x", byte);
            out += escaped.data();
        } else {
            out += c;
        }
    }
    out += end < text.size() ? "…\"" : "\"";
    return out;
}

Parsed<Duration> parse_duration(std::string_view text) {
    if (text == "0") {
        return {Duration{0}, {}};
    }
    const auto quantity = split_quantity(text);
    const auto scaled = quantity ? scale(*quantity, kDurations) : std::nullopt;
    if (!scaled) {
        return {std::nullopt,
                in_quotes(text) +
                    " is not a duration; write a whole number with its unit: 250ms, 3s, 5m or 1h"};
    }
    return {Duration{static_cast<Duration::rep>(*scaled)}, {}};
}

Parsed<std::uint64_t> parse_size(std::string_view text) {
    const auto quantity = split_quantity(text);
    const auto scaled = quantity ? scale(*quantity, kSizes) : std::nullopt;
    if (!scaled) {
        return {std::nullopt, in_quotes(text) +
                                  " is not a size; write a whole number of bytes or with its unit: "
                                  "64KiB, 1MiB or 1GiB"};
    }
    return {*scaled, {}};
}

Parsed<RequestRate> parse_rate(std::string_view text) {
    constexpr std::uint64_t kMost = 1'000'000;
    const std::size_t slash = text.find('/');
    const std::string_view unit =
        slash == std::string_view::npos ? std::string_view() : text.substr(slash + 1);
    const auto number = base::parse_decimal(text.substr(0, slash));
    if (slash == std::string_view::npos && number) {
        return {std::nullopt, in_quotes(text) + " lacks the time; write " + std::string(text) +
                                  "/s or " + std::string(text) + "/m"};
    }
    if (!number || (unit != "s" && unit != "m")) {
        return {std::nullopt, in_quotes(text) +
                                  " is not a rate; write a number of requests in a second or a "
                                  "minute, as 100/s or 600/m"};
    }
    if (*number < 1 || *number > kMost) {
        return {std::nullopt,
                in_quotes(text) + " is out of range; from 1 to " + std::to_string(kMost)};
    }
    RequestRate rate;
    rate.requests = rate.burst = *number;
    rate.period = unit == "s" ? std::chrono::seconds{1} : std::chrono::seconds{60};
    return {rate, {}};
}

std::string print_rate(const RequestRate& rate) {
    return std::to_string(rate.requests) + (rate.period == std::chrono::seconds{1} ? "/s" : "/m") +
           (rate.burst == rate.requests ? "" : ", burst " + std::to_string(rate.burst));
}

std::string print_duration(Duration duration) {
    return print_scaled(static_cast<std::uint64_t>(duration.count()), kDurations);
}

std::string print_size(std::uint64_t size) {
    return print_scaled(size, kSizes);
}

Parsed<std::string> substitute(std::string_view text, const Environment& environment) {
    std::string out;
    while (!text.empty()) {
        if (text.starts_with("$${")) {
            out += "${";
            text.remove_prefix(3);
            continue;
        }
        if (!text.starts_with("${")) {
            out += text.front();
            text.remove_prefix(1);
            continue;
        }
        const std::size_t end = text.find('}');
        const std::string name(
            text.substr(2, end == std::string_view::npos ? std::string_view::npos : end - 2));
        const bool is_name =
            end != std::string_view::npos && !name.empty() && !is_digit(name.front()) &&
            std::ranges::all_of(name, [](char c) { return is_alnum(c) || c == '_'; });
        if (!is_name) {
            return {std::nullopt,
                    in_quotes(text) + " begins no ${NAME}; write $${ for the two characters"};
        }
        const auto value = environment ? environment(name) : std::nullopt;
        if (!value) {
            return {std::nullopt, "the environment variable " + name + " is not set"};
        }
        out += *value;
        text.remove_prefix(end + 1);
    }
    return {std::move(out), {}};
}

Parsed<std::vector<std::string>> expand_ranges(std::string_view text) {
    std::vector<std::string> out = {std::string()};
    while (!text.empty()) {
        const std::size_t open = text.find_first_of("{}");
        const std::string_view literal = text.substr(0, open);
        for (std::string& part : out) {
            part += literal;
        }
        if (open == std::string_view::npos) {
            break;
        }
        const std::size_t close = text.find('}', open);
        if (text[open] == '}' || close == std::string_view::npos) {
            return {
                std::nullopt,
                in_quotes(text) + " has a brace without its partner; a range is written {1...6}"};
        }
        const auto range = parse_range(text.substr(open + 1, close - open - 1));
        if (!range.value) {
            return {std::nullopt, range.error};
        }
        const std::uint64_t count = range.value->last - range.value->first + 1;
        if (out.size() * count > kMaxExpansion) {
            return {std::nullopt, "the ranges make " + std::to_string(out.size() * count) +
                                      " servers; at most " + std::to_string(kMaxExpansion)};
        }
        std::vector<std::string> longer;
        longer.reserve(out.size() * count);
        for (const std::string& part : out) {
            for (std::uint64_t i = 0; i < count; ++i) {
                longer.push_back(part + print_padded(range.value->first + i, range.value->width));
            }
        }
        out = std::move(longer);
        text.remove_prefix(close + 1);
    }
    return {std::move(out), {}};
}

bool all_digits(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, is_digit);
}

bool is_field_value(std::string_view text) {
    return base::trim_ows(text) == text && std::ranges::all_of(text, [](char c) {
               const auto byte = static_cast<unsigned char>(c);
               return c == '\t' || (byte >= 0x20 && byte != 0x7F);
           });
}

bool is_plain_name(std::string_view text) {
    return !text.empty() && text.size() <= 128 && std::ranges::all_of(text, [](char c) {
        return is_alnum(c) || c == '.' || c == '_' || c == ':' || c == '-';
    });
}

bool is_url_path(std::string_view text) {
    return text.starts_with('/') && std::ranges::all_of(text, [](char c) {
               return c > ' ' && c < 0x7F && c != '?' && c != '#' && c != '\\' && c != '"';
           });
}

std::optional<std::string_view> nearest(std::string_view text,
                                        const std::vector<std::string_view>& candidates) {
    constexpr std::size_t kLongest = 64;
    if (text.size() > kLongest) {
        return std::nullopt;
    }
    const std::string wanted = folded(text);
    std::optional<std::string_view> best;
    std::size_t best_distance = std::max<std::size_t>(1, wanted.size() / 3) + 1;
    for (const std::string_view candidate : candidates) {
        const std::size_t d = distance(wanted, folded(candidate));
        if (d < best_distance && d < candidate.size()) {
            best = candidate;
            best_distance = d;
        }
    }
    return best;
}

std::string alternatives(const std::vector<std::string_view>& words) {
    std::string out;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (i > 0) {
            out += i + 1 == words.size() ? " or " : ", ";
        }
        out += words[i];
    }
    return out;
}

std::string print_key_source(const KeySource& source) {
    switch (source.kind) {
        case KeySource::Kind::sessionid:
            return "sessionid";
        case KeySource::Kind::uploadid:
            return "uploadid";
        case KeySource::Kind::fingerprint:
            return "fingerprint";
        case KeySource::Kind::cookie:
            return "cookie:" + source.name;
        case KeySource::Kind::header:
            return "header:" + source.name;
    }
    return {};
}

}  // namespace s3gate::config
