// Credentials in URLs. A presigned URL is a password until it expires, so its secrets never reach a
// log, however the client spelled their names: escaped, in another case, or inside a URL that is
// itself the value of an argument.
#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "json_text.hpp"
#include "s3gate/base/text.hpp"
#include "s3gate/observe/access_log.hpp"

namespace s3gate::observe {
namespace {

// Lower case, for comparison with folded text.
constexpr std::array<std::string_view, 5> kSecretNames = {
    "x-amz-signature", "x-amz-credential", "x-amz-security-token", "signature", "awsaccesskeyid"};
constexpr std::size_t kLongestName = 20;
constexpr std::string_view kReplacement = "***";

constexpr int hex_value(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const char lower = base::to_lower(c);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// One character of a URL as it reads after all its escapes are undone.
struct Unit {
    char value;
    std::size_t length;  // bytes of the text it takes
    unsigned depth;      // how often it is escaped: '&' 0, "%26" 1, "%2526" 2
};

Unit unit_at(std::string_view text, std::size_t at) {
    Unit unit{text[at], 1, 0};
    while (unit.value == '%' && text.size() - at >= unit.length + 2) {
        const int high = hex_value(text[at + unit.length]);
        const int low = hex_value(text[at + unit.length + 1]);
        if (high < 0 || low < 0) {
            break;
        }
        unit.value = static_cast<char>(high * 16 + low);
        unit.length += 2;
        ++unit.depth;
    }
    return unit;
}

// True for what an argument's name may follow. '=' is one because a value may be a query of its
// own, ';' because some clients still separate with it, '#' because a Referer is whatever the
// client says it is.
constexpr bool precedes_name(char c) {
    return c == '?' || c == '&' || c == '=' || c == ';' || c == '#';
}

struct SecretName {
    std::size_t length;  // of the name and its '='
    unsigned depth;      // of the '='
};

// The secret argument whose name begins at `at`, if one does.
std::optional<SecretName> secret_name_at(std::string_view text, std::size_t at) {
    std::array<char, kLongestName> name;
    std::size_t name_length = 0;
    const std::size_t begin = at;
    while (at < text.size()) {
        const Unit unit = unit_at(text, at);
        at += unit.length;
        if (unit.value == '=') {
            const std::string_view folded(name.data(), name_length);
            for (const std::string_view secret : kSecretNames) {
                if (folded == secret) {
                    return SecretName{at - begin, unit.depth};
                }
            }
            return std::nullopt;
        }
        if (name_length == kLongestName) {
            return std::nullopt;
        }
        name[name_length++] = base::to_lower(unit.value);
    }
    return std::nullopt;
}

// Where the value that begins at `at` ends: at an '&' escaped no deeper than its '='. A deeper one
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

}  // namespace

void append_url_redacted(std::string& out, std::string_view url) {
    std::size_t shown = 0;  // what is before this is in `out`
    std::size_t at = 0;
    bool name_may_begin = true;  // the text may be a bare query
    while (at < url.size()) {
        if (name_may_begin) {
            name_may_begin = false;
            if (const auto name = secret_name_at(url, at)) {
                at += name->length;
                append_json_escaped(out, url.substr(shown, at - shown));
                out += kReplacement;
                at = value_end(url, at, name->depth);
                shown = at;
                continue;
            }
        }
        const Unit unit = unit_at(url, at);
        name_may_begin = precedes_name(unit.value);
        at += unit.length;
    }
    append_json_escaped(out, url.substr(shown));
}

}  // namespace s3gate::observe
