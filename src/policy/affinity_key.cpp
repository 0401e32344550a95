#include "s3gate/policy/affinity_key.hpp"

#include <algorithm>
#include <cstring>

#include "s3gate/base/digest.hpp"
#include "s3gate/base/text.hpp"

namespace s3gate::policy {

namespace {

using Kind = config::KeySource::Kind;

// Removes the text up to `separator` from the front of `rest` and returns it.
std::string_view next_part(std::string_view& rest, char separator) {
    const std::size_t end = rest.find(separator);
    const std::string_view part = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    return part;
}

// The request's raw value for a source other than the fingerprint; empty if there is none.
std::string_view raw_value_of(const config::KeySource& source, const KeyInput& input) {
    switch (source.kind) {
        case Kind::sessionid:
            return find_argument(input.query, "sessionid");
        case Kind::uploadid:
            return find_argument(input.query, "uploadid");
        case Kind::cookie:
            return find_cookie(input, source.name);
        case Kind::header:
            return find_header(input, source.name);
        case Kind::fingerprint:
            break;
    }
    return {};
}

bool is_argument(const config::KeySource& source) {
    return source.kind == Kind::sessionid || source.kind == Kind::uploadid;
}

// Mixes a text and its length into a hash, eight bytes at a time. Each request hashes four short
// texts; a single call of std::hash would cost as much as this does for all four.
std::uint64_t mixed(std::uint64_t hash, std::string_view text) {
    const auto mix = [&hash](std::uint64_t word) {
        hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;  // 2^64 divided by the golden ratio
        hash ^= hash >> 32;
    };
    const char* at = text.data();
    std::size_t left = text.size();
    mix(left);
    std::uint64_t word = 0;
    for (; left >= sizeof word; at += sizeof word, left -= sizeof word) {
        std::memcpy(&word, at, sizeof word);
        mix(word);
    }
    if (left > 0 && text.size() >= sizeof word) {
        std::memcpy(&word, at + left - sizeof word, sizeof word);
        mix(word);
    } else {
        for (; left > 0; ++at, --left) {
            mix(static_cast<unsigned char>(*at));
        }
    }
    return hash;
}

// The first non-empty result of `value_in` over the fields `name`.
template <class ValueIn>
std::string_view first_value(const KeyInput& input, std::string_view name,
                             const ValueIn& value_in) {
    std::size_t position = 0;
    while (input.next_header != nullptr) {
        const auto field = input.next_header(input.header_context, name, position);
        if (!field) {
            break;
        }
        if (const std::string_view value = value_in(*field); !value.empty()) {
            return value;
        }
    }
    return {};
}

}  // namespace

std::string_view find_argument(std::string_view query, std::string_view name) {
    // Only '&' separates, and the name is not decoded, as in nginx (ngx_http_arg).
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
    // RFC 6265 §4.2.1: cookie-pair *( ";" SP cookie-pair ). Missing and extra spaces are accepted.
    // Go's servers remove quotes around a value, so the key must not contain them either.
    while (!cookie.empty()) {
        std::string_view value = next_part(cookie, ';');
        if (value.find('=') == std::string_view::npos ||
            base::trim_ows(next_part(value, '=')) != name) {
            continue;
        }
        value = base::trim_ows(value);
        if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
            value = value.substr(1, value.size() - 2);
        }
        if (!value.empty()) {
            return value;
        }
    }
    return {};
}

std::string_view find_cookie(const KeyInput& input, std::string_view name) {
    // RFC 6265 §5.4 allows one field per request, but gateways from HTTP/2 forward several.
    return first_value(input, "Cookie",
                       [&](std::string_view field) { return find_cookie(field, name); });
}

std::string_view find_header(const KeyInput& input, std::string_view name) {
    return first_value(input, name, [](std::string_view field) { return field; });
}

std::string fingerprint(const KeyInput& input) {
    FingerprintCache cache;
    return std::string(cache.of(input));
}

std::string_view FingerprintCache::of(const KeyInput& input) {
    const std::uint64_t made_from =
        mixed(mixed(mixed(mixed(0, input.client_ip), input.user_agent), input.accept_language),
              input.salt);
    if (!is_filled_ || made_from_ != made_from) {
        const base::Md5Digits inner = base::md5_digits(
            {input.client_ip, input.user_agent, input.accept_language, input.salt});
        digits_ = base::md5_digits({std::string_view(inner.data(), inner.size())});
        hash_ = base::crc32({digits_.data(), digits_.size()});
        made_from_ = made_from;
        is_filled_ = true;
    }
    return {digits_.data(), digits_.size()};
}

void find_affinity_key(std::span<const config::KeySource> sources, const KeyInput& input,
                       FingerprintCache* cache, AffinityKey& key) {
    key.clear();
    for (const config::KeySource& source : sources) {
        if (source.kind == Kind::fingerprint) {
            FingerprintCache own;
            FingerprintCache& used = cache != nullptr ? *cache : own;
            key.key.assign(used.of(input));
            key.source = &source;
            key.hash = used.hash();
            return;
        }
        const std::string_view raw = raw_value_of(source, input);
        if (raw.empty()) {
            continue;
        }
        if (is_argument(source) && raw.find('%') != std::string_view::npos) {
            base::append_percent_decoded(key.key, raw);
        } else {
            key.key.assign(raw);
        }
        key.source = &source;
        key.hash = base::crc32(key.key);
        return;
    }
}

AffinityKey affinity_key_of(std::span<const config::KeySource> sources, const KeyInput& input) {
    AffinityKey key;
    find_affinity_key(sources, input, nullptr, key);
    return key;
}

std::vector<config::KeySource> usable_sources(std::span<const config::KeySource> sources) {
    std::vector<config::KeySource> out;
    for (const config::KeySource& source : sources) {
        config::KeySource& used = out.emplace_back(source);
        if (used.kind == config::KeySource::Kind::header) {
            std::ranges::transform(used.name, used.name.begin(), base::to_lower);
        }
        if (used.kind == config::KeySource::Kind::fingerprint) {
            break;
        }
    }
    return out;
}

bool is_secret(const config::KeySource& source) {
    return source.kind == Kind::cookie || source.kind == Kind::header;
}

}  // namespace s3gate::policy
