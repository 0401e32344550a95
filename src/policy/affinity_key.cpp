#include "s3gate/policy/affinity_key.hpp"

#include <utility>

#include "s3gate/base/digest.hpp"
#include "s3gate/base/text.hpp"

namespace s3gate::policy {

namespace {

using Kind = config::KeySource::Kind;

// Takes the text up to `separator` off the front of `rest`.
std::string_view next_part(std::string_view& rest, char separator) {
    const std::size_t end = rest.find(separator);
    const std::string_view part = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    return part;
}

std::string value_of(const config::KeySource& source, const KeyInput& input) {
    switch (source.kind) {
        case Kind::sessionid:
            return base::percent_decode(find_argument(input.query, "sessionid"));
        case Kind::uploadid:
            return base::percent_decode(find_argument(input.query, "uploadid"));
        case Kind::fingerprint:
            return fingerprint(input);
        case Kind::cookie:
            return std::string(find_cookie(input.cookie, source.name));
        case Kind::header:
            return input.header == nullptr
                       ? std::string()
                       : std::string(input.header(input.header_context, source.name));
    }
    return {};
}

}  // namespace

std::string_view find_argument(std::string_view query, std::string_view name) {
    // Only '&' separates and the name is not decoded, as nginx does (ngx_http_arg).
    while (!query.empty()) {
        const std::string_view part = next_part(query, '&');
        if (part.size() > name.size() && part[name.size()] == '=' &&
            base::istarts_with(part, name)) {
            return part.substr(name.size() + 1);
        }
    }
    return {};
}

std::string_view find_cookie(std::string_view cookie, std::string_view name) {
    // RFC 6265 §4.2.1: cookie-pair *( ";" SP cookie-pair ). Clients that leave the space out are
    // understood too; a quoted value keeps its quotes.
    while (!cookie.empty()) {
        const std::string_view pair = base::trim_ows(next_part(cookie, ';'));
        if (pair.size() > name.size() && pair[name.size()] == '=' && pair.starts_with(name)) {
            return pair.substr(name.size() + 1);
        }
    }
    return {};
}

std::string fingerprint(const KeyInput& input) {
    const std::string inner =
        base::md5_hex({input.client_ip, input.user_agent, input.accept_language, input.salt});
    return base::md5_hex({inner});
}

AffinityKey affinity_key_of(std::span<const config::KeySource> sources, const KeyInput& input) {
    for (const config::KeySource& source : sources) {
        std::string key = value_of(source, input);
        if (!key.empty()) {
            return {std::move(key), &source};
        }
    }
    return {};
}

std::string to_string(const config::KeySource& source) {
    switch (source.kind) {
        case Kind::sessionid:
            return "sessionid";
        case Kind::uploadid:
            return "uploadid";
        case Kind::fingerprint:
            return "fingerprint";
        case Kind::cookie:
            return "cookie:" + source.name;
        case Kind::header:
            return "header:" + source.name;
    }
    return {};
}

}  // namespace s3gate::policy
