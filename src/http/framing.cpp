#include "s3gate/http/framing.hpp"

#include <algorithm>
#include <array>

#include "s3gate/base/address.hpp"
#include "s3gate/base/text.hpp"

namespace s3gate::http {
namespace {

// Content-Length = 1*DIGIT (RFC 9110 §8.6). A recipient may accept lists of equal values; we refuse
// them, and leading zeros too. Only attackers that look for two disagreeing parsers send them.
bool parse_content_length(std::string_view value, std::uint64_t& length) {
    if (value.empty() || value.size() > 19 || (value.size() > 1 && value.front() == '0')) {
        return false;
    }
    const auto number = base::parse_decimal(value);
    if (!number || *number > static_cast<std::uint64_t>(INT64_MAX)) {
        return false;
    }
    length = *number;
    return true;
}

// "contentlength" has 13 letters; no reader takes a name above 24 bytes for a framing field.
constexpr std::size_t kShortestLookalike = 13;
constexpr std::size_t kLongestLookalike = 24;

// is_framing_lookalike() for a name within these lengths.
bool has_framing_letters(std::string_view name) {
    // Both words begin with 'c' or 't' and end with 'h' or 'g', so most names need no further test.
    const auto is_alnum = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z'); };
    const char first = base::to_lower(name.front());
    const char last = base::to_lower(name.back());
    if ((is_alnum(first) && first != 'c' && first != 't') ||
        (is_alnum(last) && last != 'h' && last != 'g')) {
        return false;
    }
    char letters[kLongestLookalike];
    std::size_t count = 0;
    for (const char c : name) {
        const char lower = base::to_lower(c);
        if (is_alnum(lower)) {
            letters[count++] = lower;
        }
    }
    const std::string_view text(letters, count);
    return text == "contentlength" || text == "transferencoding";
}

}  // namespace

// Placed before its callers for inlining: nearly every field is tested, and the length rejects most
// names.
bool is_framing_lookalike(std::string_view name) {
    return name.size() >= kShortestLookalike && name.size() <= kLongestLookalike &&
           has_framing_letters(name);
}

namespace {

// Reads the fields that frame a message; the same rules hold in both directions.
HeadError read_framing(const std::vector<Field>& fields, int minor, Framing& framing) {
    bool has_length = false;
    bool has_coding = false;
    for (const Field& field : fields) {
        if (field.id == FieldId::other) {
            if (is_framing_lookalike(field.name)) {
                return HeadError::framing_lookalike;
            }
        } else if (field.id == FieldId::content_length) {
            if (has_length || !parse_content_length(field.value, framing.length)) {
                return HeadError::bad_content_length;
            }
            has_length = true;
        } else if (field.id == FieldId::transfer_encoding) {
            // RFC 9112 §6.1: only a single, final chunked is relayed. HTTP/1.0 has no transfer
            // codings.
            if (has_coding || minor == 0 || !base::iequals(field.value, "chunked")) {
                return HeadError::bad_transfer_encoding;
            }
            has_coding = true;
        }
    }
    if (has_length && has_coding) {
        return HeadError::both_framings;
    }
    if (has_coding) {
        framing.kind = BodyKind::chunked;
    } else if (has_length) {
        framing.kind = BodyKind::length;
    }
    return HeadError::none;
}

// The length that all Content-Length fields agree on, each possibly several times (RFC 9110 §8.6).
std::optional<std::uint64_t> one_length_of(const std::vector<Field>& fields) {
    std::optional<std::uint64_t> one;
    bool agree = true;
    for (const Field& field : fields) {
        if (field.id != FieldId::content_length) {
            continue;
        }
        bool names_any = false;
        for_each_list_member(field.value, [&](std::string_view member) {
            std::uint64_t length = 0;
            names_any = true;
            agree = agree && parse_content_length(member, length) && one.value_or(length) == length;
            one = length;
        });
        agree = agree && names_any;
    }
    return agree ? one : std::nullopt;
}

// Judges the framing fields of an answer without a body. Fields that would frame a body correctly
// are kept: they describe the answer to a GET (RFC 9110 §8.6, RFC 9112 §6.1).
void read_unused_framing(const ResponseHead& head, ResponseMeaning& meaning) {
    Framing ignored;
    if (read_framing(head.fields, head.minor, ignored) == HeadError::none) {
        return;
    }
    meaning.is_oddly_framed = true;
    // RFC 9110 §8.6: 1xx and 204 have no Content-Length. RFC 9112 §6.3 rule 3: with a
    // Transfer-Encoding it is removed.
    const bool may_state_length = head.status >= 200 && head.status != 204;
    if (may_state_length && !head.has(FieldId::transfer_encoding)) {
        meaning.stated_length = one_length_of(head.fields);
    }
}

bool is_bodyless(int status, bool to_head) {
    return status < 200 || status == 204 || status == 304 || to_head;
}

struct ConnectionOptions {
    std::size_t count = 0;
    bool close = false;
    bool keep_alive = false;
    bool upgrade = false;
};

template <class Head>
ConnectionOptions connection_options(const Head& head) {
    ConnectionOptions options;
    if (!head.has(FieldId::connection)) {
        return options;
    }
    for (const Field& field : head.fields) {
        if (field.id != FieldId::connection) {
            continue;
        }
        for_each_list_member(field.value, [&](std::string_view member) {
            ++options.count;
            options.close = options.close || base::iequals(member, "close");
            options.keep_alive = options.keep_alive || base::iequals(member, "keep-alive");
            options.upgrade = options.upgrade || base::iequals(member, "upgrade");
        });
    }
    return options;
}

// An authority split into host and port; the port may be empty.
struct Authority {
    std::string_view host;
    std::string_view port;
};

Authority split_authority(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos || text.find(']', colon) != std::string_view::npos) {
        return {text, {}};
    }
    return {text.substr(0, colon), text.substr(colon + 1)};
}

// True if both name the same host and port (RFC 9110 §4.2.3): in any case of letters, and a missing
// or empty port means the scheme's. `host` is a valid Host, so an invalid `authority` (userinfo,
// two ports) never equals it.
bool is_same_authority(std::string_view authority, std::string_view host,
                       std::string_view default_port) {
    if (base::iequals(authority, host)) {
        return true;
    }
    const Authority a = split_authority(authority);
    const Authority b = split_authority(host);
    return base::iequals(a.host, b.host) &&
           (a.port.empty() ? default_port : a.port) == (b.port.empty() ? default_port : b.port);
}

// Splits the target according to its form (RFC 9112 §3.2).
HeadError read_target(const RequestHead& head, RequestMeaning& meaning) {
    std::string_view target = head.target;
    if (target == "*") {
        if (head.method != "OPTIONS") {
            return HeadError::bad_target;
        }
        meaning.origin_target = meaning.path = target;
        return HeadError::none;
    }
    if (target.front() != '/') {
        std::size_t skip = 0;
        std::string_view default_port;
        if (base::istarts_with(target, "http://")) {
            skip = 7;
            default_port = "80";
        } else if (base::istarts_with(target, "https://")) {
            skip = 8;
            default_port = "443";
        } else {
            return HeadError::bad_target;
        }
        target.remove_prefix(skip);
        const std::size_t end = std::min(target.find_first_of("/?"), target.size());
        const std::string_view authority = target.substr(0, end);
        if (authority.empty()) {
            return HeadError::bad_target;  // RFC 9110 §4.2.1: an http URI without a host is invalid
        }
        // RFC 9112 §3.2.2 gives the target precedence. A different Host is an attempt to be routed
        // in two ways.
        if (!is_same_authority(authority, meaning.host, default_port)) {
            return HeadError::authority_mismatch;
        }
        target.remove_prefix(end);
        if (target.empty() && head.method == "OPTIONS") {
            meaning.origin_target = meaning.path = "*";  // RFC 9112 §3.2.4
            return HeadError::none;
        }
        meaning.missing_slash = target.empty() || target.front() != '/';
    }
    meaning.origin_target = target;
    const std::size_t mark = target.find('?');
    meaning.path = target.substr(0, mark);
    if (mark != std::string_view::npos) {
        meaning.query = target.substr(mark + 1);
    }
    if (meaning.missing_slash && meaning.path.empty()) {
        meaning.path = "/";
    }
    return HeadError::none;
}

// unreserved and sub-delims of RFC 3986 §2, without ','.
constexpr std::array<bool, 256> make_reg_name_bytes() {
    std::array<bool, 256> table{};
    for (const char c : std::string_view("0123456789abcdefghijklmnopqrstuvwxyz"
                                         "ABCDEFGHIJKLMNOPQRSTUVWXYZ-._~!$&'()*+;=")) {
        table[static_cast<unsigned char>(c)] = true;
    }
    return table;
}
constexpr std::array<bool, 256> kRegNameBytes = make_reg_name_bytes();

// A reg-name of RFC 3986 §3.2.2 without ',', which would make a list.
bool is_reg_name(std::string_view name) {
    for (std::size_t i = 0; i < name.size(); ++i) {
        if (kRegNameBytes[static_cast<unsigned char>(name[i])]) {
            continue;
        }
        if (name[i] != '%' || !base::parse_hex(name.substr(i + 1, 2)) || name.size() - i < 3) {
            return false;
        }
        i += 2;
    }
    return !name.empty();
}

}  // namespace

bool is_valid_host(std::string_view host) {
    if (host.empty()) {
        return false;
    }
    std::string_view port;
    if (host.front() == '[') {
        // IPv6 only: no server has an address of a future version.
        const std::size_t end = std::min(host.find(']'), host.size());
        const std::string_view literal = host.substr(1, end - 1);
        if (end == host.size() || literal.find(':') == std::string_view::npos ||
            !base::IpAddress::parse(literal)) {
            return false;
        }
        port = host.substr(end + 1);
    } else {
        const std::size_t colon = std::min(host.find(':'), host.size());
        if (!is_reg_name(host.substr(0, colon))) {
            return false;
        }
        port = host.substr(colon);
    }
    if (port.empty()) {
        return true;
    }
    if (port.front() != ':') {
        return false;
    }
    port.remove_prefix(1);
    if (port.empty()) {
        return true;  // RFC 3986: port = *DIGIT
    }
    const auto number = base::parse_decimal(port);
    return number && *number <= 65535 && port.size() <= 5;
}

RequestMeaning meaning_of(const RequestHead& head) {
    RequestMeaning meaning;
    if (head.method == "CONNECT") {
        meaning.error = HeadError::connect_method;
        return meaning;
    }
    meaning.error = read_framing(head.fields, head.minor, meaning.body);
    if (meaning.error != HeadError::none) {
        return meaning;
    }
    std::size_t hosts = 0;
    bool has_upgrade = false;
    for (const Field& field : head.fields) {
        if (field.id == FieldId::host) {
            ++hosts;
            meaning.host = field.value;
        } else if (field.id == FieldId::expect) {
            // RFC 9110 §10.1.1: an HTTP/1.0 client's expectation is ignored; an unknown one gets
            // 417. Servers disagree whether a list or "y 100-continue" contains 100-continue. A
            // server that does not read the body would take it for the next request.
            if (head.minor == 1 && !field.value.empty()) {
                if (meaning.expects_continue || !base::iequals(field.value, "100-continue")) {
                    meaning.error = HeadError::bad_expectation;
                    return meaning;
                }
                meaning.expects_continue = true;
            }
        } else if (field.id == FieldId::upgrade) {
            has_upgrade = true;
        }
    }
    // RFC 9112 §3.2: 400 for HTTP/1.1 without Host, and for several or an invalid one in any
    // version.
    if (hosts > 1 || (hosts == 0 && head.minor == 1) ||
        (hosts == 1 && !is_valid_host(meaning.host))) {
        meaning.error = HeadError::bad_host;
        return meaning;
    }
    meaning.needs_host = hosts == 0;
    meaning.error = read_target(head, meaning);
    const ConnectionOptions options = connection_options(head);
    if (meaning.error == HeadError::none && options.count > kMaxConnectionOptions) {
        meaning.error = HeadError::too_many_fields;
    }
    meaning.keep_alive = !options.close && (head.minor == 1 || options.keep_alive);
    meaning.wants_upgrade = head.minor == 1 && options.upgrade && has_upgrade;
    return meaning;
}

ResponseMeaning meaning_of(const ResponseHead& head, bool to_head) {
    ResponseMeaning meaning;
    const bool has_body = !is_bodyless(head.status, to_head);
    if (has_body) {
        meaning.error = read_framing(head.fields, head.minor, meaning.body);
        if (meaning.error != HeadError::none) {
            return meaning;
        }
    } else {
        read_unused_framing(head, meaning);
    }
    const ConnectionOptions options = connection_options(head);
    if (options.count > kMaxConnectionOptions) {
        meaning.error = HeadError::too_many_fields;
        return meaning;
    }
    meaning.keep_alive =
        !options.close && !meaning.is_oddly_framed && (head.minor == 1 || options.keep_alive);
    if (has_body && meaning.body.kind == BodyKind::none) {
        meaning.body.kind = BodyKind::until_close;
        meaning.keep_alive = false;
    }
    return meaning;
}

}  // namespace s3gate::http
