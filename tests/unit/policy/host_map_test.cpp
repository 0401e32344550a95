#include "s3gate/policy/host_map.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "s3gate/base/host_name.hpp"

namespace s3gate::policy {
namespace {

HostMap map_of(const std::vector<std::string>& patterns) {
    HostMap map;
    for (std::uint32_t i = 0; i < patterns.size(); ++i) {
        map.add(base::canonical_host_pattern(patterns[i]), i);
    }
    return map;
}

constexpr std::optional<std::uint32_t> kNone;

TEST(HostMap, AnExactNameBeatsTheLongestWildcard) {
    for (const bool is_reversed : {false, true}) {
        std::vector<std::string> patterns = {"*.lab", "a.s3.lab", "*.s3.lab"};
        if (is_reversed) {
            std::ranges::reverse(patterns);
        }
        const HostMap map = map_of(patterns);
        const auto taker = [&](std::string_view host) {
            const auto found = map.find(host);
            return found ? patterns[*found] : "";
        };
        EXPECT_EQ(taker("a.s3.lab"), "a.s3.lab");
        EXPECT_EQ(taker("b.s3.lab"), "*.s3.lab");
        EXPECT_EQ(taker("c.b.s3.lab"), "*.s3.lab") << "one or more labels";
        EXPECT_EQ(taker("s3.lab"), "*.lab");
        EXPECT_EQ(taker("lab"), "") << "a bare domain never matches its wildcard";
    }
}

TEST(HostMap, ComparesWithoutCasePortAndFinalDot) {
    const HostMap map = map_of({"S3.Lab.", "*.B.lab", "[2001:DB8:0::1]", "::1", "10.0.0.1"});
    EXPECT_EQ(map.find("s3.lab"), 0u);
    EXPECT_EQ(map.find("S3.LAB.:9000"), 0u);
    EXPECT_EQ(map.find("s3.lab:"), 0u);
    EXPECT_EQ(map.find("X.b.LAB:80"), 1u);
    EXPECT_EQ(map.find("[2001:db8::1]:9000"), 2u);
    EXPECT_EQ(map.find("[2001:0db8:0:0::1]"), 2u);
    EXPECT_EQ(map.find("[::1]:9000"), 3u);
    EXPECT_EQ(map.find("10.0.0.1:9000"), 4u);
}

TEST(HostMap, FindsNothingElse) {
    const HostMap map = map_of({"s3.lab", "*.b.lab", "::1"});
    for (const char* host : {"", "s3", "lab", "xs3.lab", "s3.lab.x", "b.lab", "xb.lab", ".b.lab",
                             "[::2]", "::1", "[", "[]", "[::1", "[x]:80", "*.b.lab.", "s3.lab.."}) {
        if (std::string_view(host) == "*.b.lab.") {
            EXPECT_EQ(map.find(host), 1u) << "a star is a label like others in a request";
            continue;
        }
        EXPECT_EQ(map.find(host), kNone) << host;
    }
    EXPECT_EQ(map.find(std::string(300, 'a')), kNone);
    EXPECT_EQ(map.find(std::string(300, 'a') + ".b.lab"), kNone) << "longer than any name";
    EXPECT_EQ(HostMap().find("s3.lab"), kNone);
    EXPECT_TRUE(HostMap().empty());
}

TEST(HostMap, TheFirstSiteKeepsAPattern) {
    EXPECT_EQ(map_of({"a", "A."}).find("a"), 0u);
}

// The rule, read from its text: of the patterns that fit, an exact one, else the longest.
std::optional<std::uint32_t> slow_find(const std::vector<std::string>& patterns,
                                       const std::string& name) {
    std::optional<std::uint32_t> best;
    for (std::uint32_t i = 0; i < patterns.size(); ++i) {
        const std::string& pattern = patterns[i];
        if (pattern == name) {
            return i;
        }
        const bool fits = pattern.starts_with("*.") && name.size() > pattern.size() - 1 &&
                          name.ends_with(pattern.substr(1));
        if (fits && (!best || pattern.size() > patterns[*best].size())) {
            best = i;
        }
    }
    return best;
}

TEST(HostMap, AgreesWithASlowReference) {
    std::mt19937 random(7);
    const auto name_of = [&] {
        std::string name;
        const auto labels = 1 + random() % 4;
        for (unsigned i = 0; i < labels; ++i) {
            name += (i == 0 ? "" : ".") + std::string(1, static_cast<char>('a' + random() % 3));
        }
        return name;
    };
    std::size_t found = 0;
    for (int round = 0; round < 2000; ++round) {
        std::vector<std::string> patterns;
        HostMap map;
        for (unsigned i = 0; i < 1 + random() % 8; ++i) {
            std::string pattern = (random() % 2 == 0 ? "*." : "") + name_of();
            if (std::ranges::find(patterns, pattern) == patterns.end()) {
                map.add(pattern, static_cast<std::uint32_t>(patterns.size()));
                patterns.push_back(std::move(pattern));
            }
        }
        for (int i = 0; i < 10; ++i) {
            const std::string name = name_of();
            const auto expected = slow_find(patterns, name);
            found += expected ? 1 : 0;
            ASSERT_EQ(map.find(name), expected) << name;
        }
    }
    EXPECT_GT(found, 1000u);
}

}  // namespace
}  // namespace s3gate::policy
