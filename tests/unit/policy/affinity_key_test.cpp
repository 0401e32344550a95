#include "s3gate/policy/affinity_key.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

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
    EXPECT_EQ(find_cookie("b=\"q\"", "b"), "\"q\"");
    EXPECT_EQ(find_cookie("b=2 ", "b"), "2");
    EXPECT_EQ(find_cookie("a=b=1", "b"), "");
    for (const char* cookie : {"", "b", "b=", "B=1", "bb=1", "; ;", "=1"}) {
        EXPECT_EQ(find_cookie(cookie, "b"), "") << cookie;
    }
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
    // The parts are joined without separators: agent and language together make the same text.
    KeyInput joined = input_of("");
    joined.user_agent = "u";
    joined.accept_language = "a";
    EXPECT_EQ(fingerprint(joined), plain);
}

// The rows of the seed that a compatible port must keep.
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

using Headers = std::map<std::string, std::string, std::less<>>;

TEST(AffinityKey, CookiesAndHeadersAreTakenAsTheyAre) {
    const Headers headers = {{"X-Key", "h%41"}};
    KeyInput input = input_of("");
    input.cookie = "a=1; sid=c%41";
    input.header_context = &headers;
    input.header = [](const void* context, std::string_view name) -> std::string_view {
        const auto& map = *static_cast<const Headers*>(context);
        const auto found = map.find(name);
        return found == map.end() ? std::string_view{} : std::string_view(found->second);
    };
    const std::vector<KeySource> cookie = {{Kind::cookie, "none"}, {Kind::cookie, "sid"}};
    EXPECT_EQ(affinity_key_of(cookie, input).key, "c%41");
    const std::vector<KeySource> header = {{Kind::header, "none"}, {Kind::header, "X-Key"}};
    EXPECT_EQ(affinity_key_of(header, input).key, "h%41");
}

TEST(AffinityKey, NamesOfSources) {
    EXPECT_EQ(to_string(KeySource{Kind::sessionid, {}}), "sessionid");
    EXPECT_EQ(to_string(KeySource{Kind::uploadid, {}}), "uploadid");
    EXPECT_EQ(to_string(KeySource{Kind::fingerprint, {}}), "fingerprint");
    EXPECT_EQ(to_string(KeySource{Kind::cookie, "sid"}), "cookie:sid");
    EXPECT_EQ(to_string(KeySource{Kind::header, "X-Key"}), "header:X-Key");
}

// nginx's own way: every place where the name stands, preceded by the beginning or '&' and followed
// by '='.
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
