// The query parser against a simple second implementation. The first line of the input is the
// argument's name, the rest the query.
#include <array>
#include <string>
#include <vector>

#include "fuzz_target.hpp"
#include "s3gate/base/digest.hpp"
#include "s3gate/base/text.hpp"
#include "s3gate/policy/affinity_key.hpp"

namespace {

std::string lower(std::string_view text) {
    std::string out;
    for (const char c : text) {
        out += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    }
    return out;
}

std::string plain_argument(std::string_view query, std::string_view name) {
    std::vector<std::string> parts(1);
    for (const char c : query) {
        if (c == '&') {
            parts.emplace_back();
        } else {
            parts.back() += c;
        }
    }
    for (const std::string& part : parts) {
        if (lower(part).starts_with(lower(name) + "=")) {
            return part.substr(name.size() + 1);
        }
    }
    return {};
}

std::string plain_decode(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        const std::string_view digits = "0123456789abcdef";
        const std::string pair = lower(text.substr(0, 3));
        if (pair.size() == 3 && pair[0] == '%' && digits.find(pair[1]) != std::string_view::npos &&
            digits.find(pair[2]) != std::string_view::npos) {
            out += static_cast<char>(digits.find(pair[1]) * 16 + digits.find(pair[2]));
            text.remove_prefix(3);
        } else {
            out += text.front();
            text.remove_prefix(1);
        }
    }
    return out;
}

}  // namespace

FUZZ_TARGET(input) {
    using namespace s3gate;
    const std::size_t end = std::min(input.find('\n'), input.size());
    const std::string_view name = input.substr(0, end);
    const std::string_view query = end < input.size() ? input.substr(end + 1) : std::string_view{};
    if (!name.empty() && name.find_first_of("&=") == std::string_view::npos) {
        FUZZ_CHECK(policy::find_argument(query, name) == plain_argument(query, name));
    }
    FUZZ_CHECK(base::percent_decode(query) == plain_decode(query));
    const std::string_view cookie = policy::find_cookie(query, name);
    FUZZ_CHECK(cookie.empty() || query.find(cookie) != std::string_view::npos);
    base::glob_imatch(name, query);

    using Kind = config::KeySource::Kind;
    const std::array<config::KeySource, 3> sources = {config::KeySource{Kind::sessionid, {}},
                                                      config::KeySource{Kind::uploadid, {}},
                                                      config::KeySource{Kind::fingerprint, {}}};
    policy::KeyInput key_input;
    key_input.query = query;
    key_input.client_ip = "192.0.2.7";
    key_input.salt = "pepper";
    const policy::AffinityKey key = policy::affinity_key_of(sources, key_input);
    FUZZ_CHECK(key.hash == base::crc32(key.key));
    // As in the daemon, memory and fingerprint are kept between requests.
    static policy::AffinityKey kept;
    static policy::FingerprintCache cache;
    for (const std::string_view agent : {std::string_view{}, name, std::string_view{}}) {
        key_input.user_agent = agent;
        policy::find_affinity_key(sources, key_input, &cache, kept);
        const policy::AffinityKey fresh = policy::affinity_key_of(sources, key_input);
        FUZZ_CHECK(kept.key == fresh.key && kept.source == fresh.source && kept.hash == fresh.hash);
    }
    std::string expected = plain_decode(plain_argument(query, "sessionid"));
    if (expected.empty()) {
        expected = plain_decode(plain_argument(query, "uploadid"));
    }
    if (expected.empty()) {
        FUZZ_CHECK(key.source == &sources[2] && key.key.size() == 32);
    } else {
        FUZZ_CHECK(key.key == expected);
    }
}
