#include "s3gate/policy/affinity_key.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "s3gate/base/digest.hpp"
#include "s3gate/base/text.hpp"

namespace s3gate::policy {
namespace {

using config::KeySource;
using Kind = KeySource::Kind;

constexpr std::string_view kSampleSalt = "ZRVdfTSDRTvadFAd";

const std::vector<KeySource>& default_sources() {
    static const std::vector<KeySource> sources = config::Balance{}.key;
    return sources;
}

KeyInput input_of(std::string_view query) {
    KeyInput input;
    input.query = query;
    input.client_ip = "127.0.0.1";
    input.user_agent = "ua";
    input.salt = kSampleSalt;
    return input;
}

std::string key_of(std::string_view query) {
    return affinity_key_of(default_sources(), input_of(query)).key;
}

TEST(FindArgument, AsNginxFindsIt) {
    EXPECT_EQ(find_argument("sessionid=abc", "sessionid"), "abc");
    EXPECT_EQ(find_argument("x=1&sessionid=abc&y=2", "sessionid"), "abc");
    EXPECT_EQ(find_argument("xsessionid=1&sessionid=q", "sessionid"), "q");
    EXPECT_EQ(find_argument("sessionid=a&sessionid=b", "sessionid"), "a");
    EXPECT_EQ(find_argument("SessionID=abc", "sessionid"), "abc");
    EXPECT_EQ(find_argument("sessionid=abc", "SESSIONID"), "abc");
    EXPECT_EQ(find_argument("sessionid=a=b", "sessionid"), "a=b");
    EXPECT_EQ(find_argument("sessionid=a;b", "sessionid"), "a;b") << "only '&' separates";
    EXPECT_EQ(find_argument("sessionid=a%2Fb+c", "sessionid"), "a%2Fb+c") << "raw";
    EXPECT_EQ(find_argument("&&sessionid=z&", "sessionid"), "z");
}

TEST(FindArgument, AbsentOrEmpty) {
    for (const char* query :
         {"", "sessionid", "sessionid&x=1", "sessionid=", "sessionid=&x=1", "sessionidx=1",
          "xsessionid=1", "%73essionid=1", "a;sessionid=1", "x=sessionid=1", "sessioni=d"}) {
        EXPECT_EQ(find_argument(query, "sessionid"), "") << query;
    }
    EXPECT_EQ(find_argument("sessionid&sessionid=b", "sessionid"), "b")
        << "a name without '=' is no match";
    EXPECT_EQ(find_argument("sessionid=&sessionid=b", "sessionid"), "")
        << "the first match decides, also when it is empty";
}

TEST(FindCookie, Rfc6265Pairs) {
    EXPECT_EQ(find_cookie("a=1; b=2; c=3", "b"), "2");
    EXPECT_EQ(find_cookie("a=1;b=2", "b"), "2");
    EXPECT_EQ(find_cookie("ab=1; b=2", "b"), "2");
    EXPECT_EQ(find_cookie("b=1; b=2", "b"), "1");
    EXPECT_EQ(find_cookie("b=x=y", "b"), "x=y");
    EXPECT_EQ(find_cookie("b=2 ", "b"), "2");
    EXPECT_EQ(find_cookie("a=b=1", "b"), "");
    EXPECT_EQ(find_cookie("b=; b=2", "b"), "2") << "an empty value counts as absent";
    EXPECT_EQ(find_cookie(" a = 1 ;\tb = 2\t; b=3", "b"), "2") << "spaces do not belong to it";
    EXPECT_EQ(find_cookie("b=x y", "b"), "x y");
    for (const char* cookie : {"", "b", "b=", "B=1", "bb=1", "; ;", "=1", "b;=1", "b= ", "b=\"\"",
                               "b =", "a=\"; c=1\""}) {
        EXPECT_EQ(find_cookie(cookie, "b"), "") << cookie;
    }
}

TEST(FindCookie, QuotesDoNotBelongToTheValue) {
    EXPECT_EQ(find_cookie("b=\"q\"", "b"), "q");
    EXPECT_EQ(find_cookie("b=\"q=r\"; c", "b"), "q=r");
    EXPECT_EQ(find_cookie("b=\"q", "b"), "\"q") << "half a pair is no pair";
    EXPECT_EQ(find_cookie("b=\"", "b"), "\"");
    EXPECT_EQ(find_cookie("b=q\"r\"", "b"), "q\"r\"");
}

TEST(Fingerprint, EqualsTheRecordedOne) {
    EXPECT_EQ(fingerprint(input_of("")), "f3954ee2ea99e8f527e429b3ae1013e5");
}

TEST(Fingerprint, EveryPartCounts) {
    const std::string plain = fingerprint(input_of(""));
    KeyInput other = input_of("");
    other.client_ip = "127.0.0.2";
    EXPECT_NE(fingerprint(other), plain);
    other = input_of("");
    other.user_agent = "ub";
    EXPECT_NE(fingerprint(other), plain);
    other = input_of("");
    other.accept_language = "de";
    EXPECT_NE(fingerprint(other), plain);
    other = input_of("");
    other.salt = "";
    EXPECT_NE(fingerprint(other), plain);
    // The parts are joined without separators: agent and language together give the same text.
    KeyInput joined = input_of("");
    joined.user_agent = "u";
    joined.accept_language = "a";
    EXPECT_EQ(fingerprint(joined), plain);
}

// Keys as nginx with Lua made them (docs/migration.md); they must stay equal.
TEST(AffinityKey, SeedTable) {
    const std::string print = fingerprint(input_of(""));
    EXPECT_EQ(key_of("sessionid=abc"), "abc");
    EXPECT_EQ(key_of("sessionid=a&sessionid=b"), "a");
    EXPECT_EQ(key_of("SessionID=abc"), "abc");
    EXPECT_EQ(key_of("uploadId=2~ABC.d-_e&partNumber=1"), "2~ABC.d-_e");
    EXPECT_EQ(key_of("UPLOADID=x"), "x");
    EXPECT_EQ(key_of("uploadId=u&sessionid=s"), "s") << "sessionid wins, wherever it stands";
    EXPECT_EQ(key_of("uploads"), print);
    EXPECT_EQ(key_of("uploads="), print);
    EXPECT_EQ(key_of("list-type=2&prefix=a/"), print);
    EXPECT_EQ(key_of(""), print);
}

TEST(AffinityKey, EmptyValueCountsAsAbsent) {
    EXPECT_EQ(key_of("sessionid=&uploadId=u"), "u");
    EXPECT_EQ(key_of("sessionid&uploadId=u"), "u");
    EXPECT_EQ(key_of("sessionid=&uploadid="), fingerprint(input_of("")));
}

TEST(AffinityKey, ArgumentsArePercentDecoded) {
    EXPECT_EQ(key_of("sessionid=a%2Fb%2fc"), "a/b/c");
    EXPECT_EQ(key_of("uploadId=a%2Bb%3D"), "a+b=");
    EXPECT_EQ(key_of("sessionid=a+b"), "a+b") << "'+' stays";
    EXPECT_EQ(key_of("sessionid=100%&x=41"), "100%") << "an invalid '%' stays";
    EXPECT_EQ(key_of("sessionid=a%26b"), "a&b") << "decoded after the split";
}

TEST(AffinityKey, SourceIsTheOneThatYielded) {
    const auto& sources = default_sources();
    EXPECT_EQ(affinity_key_of(sources, input_of("sessionid=s")).source, &sources[0]);
    EXPECT_EQ(affinity_key_of(sources, input_of("uploadid=s")).source, &sources[1]);
    EXPECT_EQ(affinity_key_of(sources, input_of("")).source, &sources[2]);
}

TEST(AffinityKey, ConfiguredOrderDecides) {
    const std::vector<KeySource> reversed = {{Kind::uploadid, {}}, {Kind::sessionid, {}}};
    EXPECT_EQ(affinity_key_of(reversed, input_of("sessionid=s&uploadid=u")).key, "u");
}

TEST(AffinityKey, NoSourceYields) {
    const std::vector<KeySource> sources = {{Kind::sessionid, {}}, {Kind::header, "X-Key"}};
    const AffinityKey none = affinity_key_of(sources, input_of("x=1"));
    EXPECT_EQ(none.key, "");
    EXPECT_EQ(none.source, nullptr);
    EXPECT_EQ(affinity_key_of({}, input_of("sessionid=s")).source, nullptr);
}

using Headers = std::vector<std::pair<std::string, std::string>>;

// A request with only these header lines.
KeyInput input_with(const Headers& headers) {
    KeyInput input = input_of("");
    input.header_context = &headers;
    input.next_header = [](const void* context, std::string_view name,
                           std::size_t& position) -> std::optional<std::string_view> {
        const auto& lines = *static_cast<const Headers*>(context);
        while (position < lines.size()) {
            const auto& [key, value] = lines[position++];
            if (base::iequals(key, name)) {
                return value;
            }
        }
        return std::nullopt;
    };
    return input;
}

TEST(AffinityKey, CookiesAndHeadersAreTakenAsTheyAre) {
    const Headers headers = {{"x-key", "h%41"}, {"cookie", "a=1; sid=c%41"}};
    const KeyInput input = input_with(headers);
    const std::vector<KeySource> cookie = {{Kind::cookie, "none"}, {Kind::cookie, "sid"}};
    EXPECT_EQ(affinity_key_of(cookie, input).key, "c%41");
    const std::vector<KeySource> header = {{Kind::header, "none"}, {Kind::header, "X-Key"}};
    EXPECT_EQ(affinity_key_of(header, input).key, "h%41");
}

// RFC 6265 §5.4 allows one Cookie field; gateways from HTTP/2 forward several.
TEST(AffinityKey, AllCookieFieldsAreLookedAt) {
    const Headers headers = {{"Cookie", "a=1"},      {"Cookie", ""},       {"cookie", "sid="},
                             {"X-Sid", "sid=wrong"}, {"COOKIE", "x; y=2"}, {"Cookie", "sid=\"s1\""},
                             {"Cookie", "sid=s2"}};
    const KeyInput input = input_with(headers);
    const std::vector<KeySource> sources = {{Kind::cookie, "none"}, {Kind::cookie, "sid"}};
    EXPECT_EQ(affinity_key_of(sources, input).key, "s1");
    EXPECT_EQ(affinity_key_of(sources, input).source, &sources[1]);
    EXPECT_EQ(find_cookie(input, "y"), "2");
    EXPECT_EQ(find_cookie(input, "Sid"), "");
    const Headers nothing;
    EXPECT_EQ(find_cookie(input_with(nothing), "sid"), "");
    EXPECT_EQ(find_cookie(input_of(""), "sid"), "");
}

TEST(AffinityKey, AnEmptyHeaderCountsAsAbsent) {
    const Headers headers = {{"X-Key", ""}, {"x-key", "v1"}, {"X-Key", "v2"}};
    EXPECT_EQ(find_header(input_with(headers), "X-KEY"), "v1");
    const Headers empty = {{"X-Key", ""}};
    const std::vector<KeySource> sources = {{Kind::header, "X-Key"}, {Kind::fingerprint, {}}};
    EXPECT_EQ(affinity_key_of(sources, input_with(empty)).source, &sources[1]);
}

TEST(AffinityKey, HashIsTheCrcOfTheKey) {
    for (const char* query : {"sessionid=s1", "sessionid=a%2Fb", "uploadid=2~x", "list-type=2"}) {
        const AffinityKey key = affinity_key_of(default_sources(), input_of(query));
        EXPECT_EQ(key.hash, base::crc32(key.key)) << query;
        EXPECT_EQ(key.place(), key.hash) << query;
    }
    EXPECT_FALSE(affinity_key_of({}, input_of("sessionid=s")).place());
}

TEST(AffinityKey, KeptMemoryHoldsNothingOfTheLastRequest) {
    AffinityKey key;
    FingerprintCache cache;
    const std::vector<KeySource> sources = {{Kind::sessionid, {}}};
    for (const char* value : {"a-long-one-to-begin-with-0123456789", "%41b", "c", "%zz"}) {
        find_affinity_key(sources, input_of("sessionid=" + std::string(value)), &cache, key);
        EXPECT_EQ(key.key, base::percent_decode(value));
        EXPECT_EQ(key.source, &sources[0]);
        EXPECT_EQ(key.hash, base::crc32(key.key));
    }
    find_affinity_key(sources, input_of("x=1"), &cache, key);
    EXPECT_EQ(key.key, "");
    EXPECT_EQ(key.source, nullptr);
    EXPECT_FALSE(key.place());
}

// The next request on a connection may come from another client (through a trusted proxy), or after
// a reload with another salt.
TEST(FingerprintCache, IsBoundToAllItWasMadeFrom) {
    std::vector<KeyInput> inputs(1, input_of(""));
    const auto add = [&](const auto& change) {
        KeyInput input = inputs.front();
        change(input);
        inputs.push_back(input);
    };
    add([](KeyInput& input) { input.client_ip = "127.0.0.2"; });
    add([](KeyInput& input) { input.client_ip = "2001:db8:0:0:1:2:3:4"; });
    add([](KeyInput& input) { input.user_agent = "ua2"; });
    add([](KeyInput& input) { input.user_agent = {}; });
    add([](KeyInput& input) { input.accept_language = "de"; });
    add([](KeyInput& input) { input.accept_language = "en"; });
    add([](KeyInput& input) { input.salt = "ZRVdfTSDRTvadFAe"; });
    add([](KeyInput& input) { input.salt = "ZRVdfTSDRTvadFAd-"; });
    add([](KeyInput& input) { input.salt = {}; });
    FingerprintCache cache;
    for (const KeyInput& before : inputs) {
        for (const KeyInput& input : inputs) {
            for (const KeyInput* const asked : {&before, &input, &input}) {
                const std::string expected = fingerprint(*asked);
                EXPECT_EQ(cache.of(*asked), expected);
                EXPECT_EQ(cache.hash(), base::crc32(expected));
            }
        }
    }
}

// The end of each text counts: bytes must not move from one text to the next.
TEST(FingerprintCache, KnowsWhereATextEnds) {
    std::mt19937_64 random(5);
    FingerprintCache cache;
    for (int i = 0; i < 2000; ++i) {
        const std::string text(random() % 40, "ab\0"[random() % 3]);
        const std::size_t first = random() % (text.size() + 1);
        const std::size_t second = first + random() % (text.size() - first + 1);
        KeyInput input;
        input.client_ip = "192.0.2.1";
        input.user_agent = std::string_view(text).substr(0, first);
        input.accept_language = std::string_view(text).substr(first, second - first);
        input.salt = std::string_view(text).substr(second);
        EXPECT_EQ(cache.of(input), fingerprint(input));
    }
}

TEST(AffinityKey, WhatMayBeShown) {
    EXPECT_FALSE(is_secret({Kind::sessionid, {}}));
    EXPECT_FALSE(is_secret({Kind::uploadid, {}}));
    EXPECT_FALSE(is_secret({Kind::fingerprint, {}}));
    EXPECT_TRUE(is_secret({Kind::cookie, "token"}));
    EXPECT_TRUE(is_secret({Kind::header, "Authorization"}));
}

TEST(AffinityKey, NamesOfSources) {
    EXPECT_EQ(config::print_key_source(KeySource{Kind::sessionid, {}}), "sessionid");
    EXPECT_EQ(config::print_key_source(KeySource{Kind::uploadid, {}}), "uploadid");
    EXPECT_EQ(config::print_key_source(KeySource{Kind::fingerprint, {}}), "fingerprint");
    EXPECT_EQ(config::print_key_source(KeySource{Kind::cookie, "sid"}), "cookie:sid");
    EXPECT_EQ(config::print_key_source(KeySource{Kind::header, "X-Key"}), "header:X-Key");
}

// nginx's algorithm: every occurrence of the name after the beginning or '&' and before '='.
std::string_view reference_argument(std::string_view query, std::string_view name) {
    for (std::size_t at = 0; at + name.size() < query.size(); ++at) {
        if (base::iequals(query.substr(at, name.size()), name) &&
            ((at == 0 || query[at - 1] == '&') && query[at + name.size()] == '=')) {
            const std::string_view value = query.substr(at + name.size() + 1);
            return value.substr(0, value.find('&'));
        }
    }
    return {};
}

TEST(AffinityKey, FindArgumentAgreesWithNginxOnRandomText) {
    for (std::uint32_t seed = 0; seed < 300; ++seed) {
        std::mt19937 random(seed);
        for (int i = 0; i < 50; ++i) {
            std::string query(random() % 16, ' ');
            for (char& c : query) {
                c = "ab&=AB"[random() % 6];
            }
            EXPECT_EQ(find_argument(query, "ab"), reference_argument(query, "ab")) << query;
        }
    }
}

}  // namespace
}  // namespace s3gate::policy
