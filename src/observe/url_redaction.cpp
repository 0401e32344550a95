// Redacts credentials in URLs. A presigned URL is a password until it expires, so its secrets must
// never reach a log, in any spelling of their names: escaped, in another case, or inside a URL that
// is an argument's value.
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "json_text.hpp"
#include "s3gate/base/scan.hpp"
#include "s3gate/base/text.hpp"
#include "s3gate/observe/access_log.hpp"
#include "s3gate/s3/secrets.hpp"

namespace s3gate::observe {
namespace {

constexpr std::string_view kReplacement = "***";

// One character of a URL after all its escapes are decoded.
struct Unit {
    char value;
    std::size_t length;  // its length in the text, in bytes
    unsigned depth;      // number of escapes: '&' 0, "%26" 1, "%2526" 2
};

// Clients that escape twice also escape the digits of escapes: "%25%36%31" is an 'a'. Deeper
// nesting does not occur, and the bound limits the work per character.
constexpr unsigned kEscapedDigits = 2;

// text[at] is '%'.
Unit escape_at(std::string_view text, std::size_t at, unsigned nesting) {
    Unit unit{'%', 1, 0};
    while (unit.value == '%') {
        std::size_t end = at + unit.length;
        int value = 0;
        for (int digit = 0; digit < 2 && value >= 0; ++digit) {
            if (end >= text.size()) {
                return unit;
            }
            const Unit next = nesting > 0 && text[end] == '%' ? escape_at(text, end, nesting - 1)
                                                              : Unit{text[end], 1, 0};
            const int found = base::hex_value(next.value);
            value = found < 0 ? -1 : value * 16 + found;
            end += next.length;
        }
        if (value < 0) {
            break;
        }
        unit.value = static_cast<char>(value);
        unit.length = end - at;
        ++unit.depth;
    }
    return unit;
}

inline Unit unit_at(std::string_view text, std::size_t at) {
    return text[at] == '%' ? escape_at(text, at, kEscapedDigits) : Unit{text[at], 1, 0};
}

// True for characters that may precede an argument's name. '=': a value may itself be a query. ';':
// some clients still use it as a separator. '#': a Referer may contain any text.
constexpr bool precedes_name(char c) {
    return c == '?' || c == '&' || c == '=' || c == ';' || c == '#';
}

// One bit for each of s3::kSecretNames.
using NameSet = std::uint16_t;
static_assert(s3::kSecretNames.size() <= 16);

// The names that begin with a letter, in either case. Most arguments begin with another letter.
constexpr std::array<NameSet, 256> make_first_letters() {
    std::array<NameSet, 256> table{};
    for (std::size_t i = 0; i < s3::kSecretNames.size(); ++i) {
        const char first = s3::kSecretNames[i].front();
        const auto bit = static_cast<NameSet>(1U << i);
        table[static_cast<unsigned char>(first)] |= bit;
        table[static_cast<unsigned char>(first - 'a' + 'A')] |= bit;
    }
    return table;
}
constexpr std::array<NameSet, 256> kFirstLetters = make_first_letters();

struct SecretName {
    std::size_t length;  // of the name and its '='
    unsigned depth;      // of the '='
};

// The secret argument whose name begins at `at`, if any. Stops at the first character that no
// secret name has there, so a text full of beginnings costs no more than another.
std::optional<SecretName> secret_name_at(std::string_view text, std::size_t at) {
    const std::size_t begin = at;
    const Unit first = unit_at(text, at);
    at += first.length;
    NameSet possible = kFirstLetters[static_cast<unsigned char>(first.value)];
    for (std::size_t position = 1; at < text.size() && possible != 0; ++position) {
        const Unit unit = unit_at(text, at);
        at += unit.length;
        const char folded = base::to_lower(unit.value);
        for (NameSet left = possible; left != 0; left &= static_cast<NameSet>(left - 1)) {
            const int name = std::countr_zero(left);
            const std::string_view secret = s3::kSecretNames[static_cast<std::size_t>(name)];
            if (position == secret.size() && unit.value == '=') {
                return SecretName{at - begin, unit.depth};
            }
            if (position >= secret.size() || secret[position] != folded) {
                possible &= static_cast<NameSet>(~(1U << name));
            }
        }
    }
    return std::nullopt;
}

// The end of the value that begins at `at`: an '&' escaped at most as deep as its '='. A deeper one
// belongs to the value.
std::size_t value_end(std::string_view text, std::size_t at, unsigned depth) {
    while (at < text.size()) {
        const Unit unit = unit_at(text, at);
        if (unit.value == '&' && unit.depth <= depth) {
            return at;
        }
        at += unit.length;
    }
    return at;
}

// The end of "user:password" whose first character, after "://", is at `at`: its '@'. nullopt if
// there is only a host.
std::optional<std::size_t> user_info_end(std::string_view text, std::size_t at, unsigned depth) {
    std::optional<std::size_t> end;
    while (at < text.size()) {
        const Unit unit = unit_at(text, at);
        if (unit.value == '/' || unit.value == '?' || unit.value == '#' ||
            (unit.value == '&' && unit.depth <= depth)) {
            break;
        }
        if (unit.value == '@') {
            end = at;  // the last one: an unescaped '@' in a password is common
        }
        at += unit.length;
    }
    return end;
}

}  // namespace

char* write_url_redacted(char* out, std::string_view url) {
    std::size_t shown = 0;  // the text before this is written
    std::size_t at = 0;
    bool name_may_begin = true;  // the text may be a bare query
    std::size_t scheme_end = 0;  // matched characters of "://"
    const char* const end = url.data() + url.size();
    // A secret's name is followed by '=', a password is preceded by ':', plain or escaped.
    if (base::find_first<base::UrlSpecials>(url.data(), end) == end) {
        return write_json_escaped(out, url);
    }
    const auto write_replacement = [&out] {
        std::memcpy(out, kReplacement.data(), kReplacement.size());
        out += kReplacement.size();
    };
    while (at < url.size()) {
        if (name_may_begin) {
            name_may_begin = false;
            if (const auto name = secret_name_at(url, at)) {
                at += name->length;
                out = write_json_escaped(out, url.substr(shown, at - shown));
                write_replacement();
                at = value_end(url, at, name->depth);
                shown = at;
                continue;
            }
        }
        if (scheme_end == 0) {
            // All other bytes are plain and begin nothing.
            at = static_cast<std::size_t>(
                base::find_first<base::UrlSpecials>(url.data() + at, end) - url.data());
            if (at == url.size()) {
                break;
            }
        }
        const Unit unit = unit_at(url, at);
        name_may_begin = precedes_name(unit.value);
        at += unit.length;
        if (unit.value == ':') {
            scheme_end = 1;
        } else if (unit.value == '/' && scheme_end > 0) {
            if (++scheme_end == 3) {
                scheme_end = 0;
                if (const auto user_end = user_info_end(url, at, unit.depth)) {
                    out = write_json_escaped(out, url.substr(shown, at - shown));
                    write_replacement();
                    at = shown = *user_end;
                }
            }
        } else {
            scheme_end = 0;
        }
    }
    return write_json_escaped(out, url.substr(shown));
}

void append_url_redacted(std::string& out, std::string_view url) {
    const std::size_t before = out.size();
    out.resize(before + kMostPerByte * url.size() + kTextSlack);
    const char* const end = write_url_redacted(out.data() + before, url);
    out.resize(static_cast<std::size_t>(end - out.data()));
}

}  // namespace s3gate::observe
