// An operator decides by the difference whether to reload: what is not in it must not change.
#include "s3gate/config/difference.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "keys.hpp"
#include "nothing_is_default.hpp"
#include "s3gate/config/load.hpp"
#include "temp_files.hpp"

namespace s3gate::config {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Config config_of(const std::string& text) {
    const LoadResult result = load_dump(text, "test");
    for (const Problem& problem : result.problems) {
        ADD_FAILURE() << problem.to_string();
    }
    return result.config;
}

// A configuration with one site; `more` is added to it.
Config with_site(const std::string& more, const std::string& servers = "[\"n1:1\", \"n2:1\"]",
                 const std::string& listen = "[\"127.0.0.1:1\"]") {
    return config_of("sites: [{name: a, listen: " + listen + ", backends: {servers: " + servers +
                     "}, balance: {salt: pepper}" + more + "}]\n");
}

std::string print(const KeyChange& change) {
    return change.key + ": " + change.before.value_or("-") + " -> " + change.after.value_or("-");
}

std::vector<std::string> print(const std::vector<KeyChange>& changes) {
    std::vector<std::string> out;
    for (const KeyChange& change : changes) {
        out.push_back(print(change));
    }
    return out;
}

std::vector<std::string> changes_of_site(const Config& before, const Config& after) {
    const Difference found = difference(before, after);
    EXPECT_EQ(found.sites.size(), 1U);
    return found.sites.empty() ? std::vector<std::string>() : print(found.sites.front().keys);
}

// The other configuration has the same sections, so each of their keys is compared.
constexpr std::string_view kAllDefaults = R"(
admin: {socket: auto}
sites:
  - name: a
    type: http
    listen: ["127.0.0.1:9"]
    backends: {name: default, servers: ["n1:1"]}
    health: on
    passive: {}
    resolve: on
    limits: {requests_per_client: 7/s}
    status: on
)";

// Those that differ otherwise, or do not differ: sections, what has rows or lists of its own.
bool is_no_key_of_a_change(std::string_view path) {
    static const std::set<std::string_view> kOthers = {"main.include",
                                                       "main.sites",
                                                       "site.name",
                                                       "site.type",
                                                       "site.enabled",
                                                       "site.listen",
                                                       "site.listen[].address",
                                                       "site.listen[].accept_proxy",
                                                       "site.backends.servers",
                                                       "site.backends.servers[].address"};
    return kOthers.contains(path) || std::ranges::any_of(known_keys(), [&](std::string_view key) {
               return key.size() > path.size() && key.starts_with(path) && key[path.size()] == '.';
           });
}

TEST(Difference, HasEveryKey) {
    const Config before = config_of(std::string(kAllDefaults));
    const Config after = config_of(std::string(kNothingIsDefault));
    const Difference found = difference(before, after);
    ASSERT_EQ(found.sites.size(), 1U);
    std::set<std::string> seen;
    const auto note = [&](const std::string& table, const std::vector<KeyChange>& changes) {
        for (const KeyChange& change : changes) {
            seen.insert(table + change.key);
        }
    };
    note("main.", found.keys);
    note("site.", found.sites.front().keys);
    for (const ServerChange& server : found.sites.front().servers) {
        note("site.backends.servers[].", server.keys);
    }
    for (const std::string_view key : known_keys()) {
        if (!is_no_key_of_a_change(key)) {
            EXPECT_TRUE(seen.contains(std::string(key))) << key;
        }
    }
    EXPECT_THAT(found.sites.front().added_addresses, ElementsAre("127.0.0.1:1", "[::1]:2"));
    EXPECT_THAT(found.sites.front().removed_addresses, ElementsAre("127.0.0.1:9"));
}

TEST(Difference, IsEmptyExactlyWhereTheDumpsAreEqual) {
    std::vector<Config> configs;
    for (const auto& entry :
         fs::recursive_directory_iterator(fs::path(S3GATE_TEST_DATA) / "config")) {
        LoadResult result = load(entry.path().string(), no_environment);
        if (entry.path().extension() == ".yaml" && result.ok()) {
            configs.push_back(std::move(result.config));
        }
    }
    ASSERT_GE(configs.size(), 10U);
    for (const Config& one : configs) {
        for (const Config& other : configs) {
            EXPECT_EQ(difference(one, other).is_empty(), dump(one) == dump(other))
                << one.file << " " << other.file;
        }
    }
}

TEST(Difference, ShowsValuesAsAFileHasThem) {
    EXPECT_THAT(changes_of_site(with_site(""), with_site(", retry: {max_tries: 5, on: [error]}")),
                ElementsAre(HasSubstr("retry.on: [error, timeout"), "retry.max_tries: 3 -> 5"));
    EXPECT_THAT(changes_of_site(with_site(", session_header: X-Id"), with_site("")),
                ElementsAre("session_header: X-Id -> off"));
}

// The address stays, so it is no other address; who may name a source on it is another matter.
TEST(Difference, ShowsOtherSettingsOfAnAddress) {
    const auto with = [](const std::string& listen) {
        return with_site("", "[\"n1:1\", \"n2:1\"]", "[" + listen + "]");
    };
    const std::string plain = "\"127.0.0.1:1\"";
    const std::string named = "{address: \"127.0.0.1:1\", accept_proxy: [10.0.0.0/8]}";
    EXPECT_THAT(changes_of_site(with(plain), with(named)),
                ElementsAre("listen: [\"127.0.0.1:1\"] -> [{address: \"127.0.0.1:1\", "
                            "accept_proxy: [10.0.0.0/8]}]"));
    EXPECT_THAT(changes_of_site(with(plain), with(named + ", \"127.0.0.1:2\"")),
                ElementsAre(HasSubstr("accept_proxy: [10.0.0.0/8]")));
    EXPECT_THAT(changes_of_site(with(named), with(named + ", \"127.0.0.1:2\"")), IsEmpty());
}

TEST(Difference, ShowsASectionThatGoesOnOrOffAsOneChange) {
    EXPECT_THAT(changes_of_site(with_site(", health: off"), with_site(", health: {interval: 9s}")),
                ElementsAre("health: off -> {interval: 9s}"));
    EXPECT_THAT(changes_of_site(with_site(""), with_site(", passive: off")),
                ElementsAre("passive: on -> off"));
    EXPECT_THAT(changes_of_site(with_site(""), with_site(", limits: {requests_per_client: 9/s}")),
                ElementsAre("limits.requests_per_client: off -> {rate: 9/s, burst: 9}"));
}

TEST(Difference, NeverHoldsASalt) {
    Config before = with_site("");
    Config after = before;
    after.sites[0].balance.salt = "other";
    const Difference found = difference(before, after);
    ASSERT_EQ(found.sites.size(), 1U);
    EXPECT_THAT(print(found.sites[0].keys), ElementsAre("balance.salt: - -> -"));
    EXPECT_TRUE(found.sites[0].keys[0].is_secret);
    before.sites.clear();
    const Difference added = difference(before, after);
    ASSERT_EQ(added.sites.size(), 1U);
    for (const KeyChange& change : added.sites[0].keys) {
        EXPECT_NE(change.after, "other") << change.key;
    }
}

TEST(Difference, SaysWhatNeedsARestart) {
    const Config before = with_site("");
    Config after = before;
    after.workers = 4;
    after.cpu_affinity = true;
    after.user = "nobody";
    after.log.level = LogLevel::debug;
    std::vector<std::string> restart;
    for (const KeyChange& change : changed_main_keys(before, after)) {
        if (change.needs_restart) {
            restart.push_back(print(change));
        }
    }
    EXPECT_THAT(restart, ElementsAre("workers: auto -> 4", "cpu_affinity: off -> auto",
                                     "user: \"\" -> nobody"));
    EXPECT_EQ(difference(before, after).keys.size(), 4U);
}

TEST(Difference, TellsServersFromEachOther) {
    const Config before = with_site("", R"(["n1:1", "n2:1", "n3:1"])");
    const Config after = with_site(
        "", R"(["n3:1", {address: "n1:1", weight: 2}, {address: "n4:1", drained: true}])");
    const Difference found = difference(before, after);
    ASSERT_EQ(found.sites.size(), 1U);
    std::vector<std::string> servers;
    for (const ServerChange& server : found.sites[0].servers) {
        servers.push_back(server.text + (server.change == Change::added     ? " added"
                                         : server.change == Change::removed ? " removed"
                                                                            : " changed"));
        for (const std::string& key : print(server.keys)) {
            servers.back() += " " + key;
        }
    }
    EXPECT_THAT(servers, ElementsAre("n1:1 changed weight: 1 -> 2", "n4:1 added drained: - -> true",
                                     "n2:1 removed"));
    EXPECT_TRUE(found.sites[0].are_servers_reordered);
    EXPECT_THAT(found.sites[0].keys, IsEmpty());
}

TEST(Difference, TellsAddressesFromEachOther) {
    const Config before = with_site("", R"(["n1:1"])", R"(["127.0.0.1:1", "127.0.0.1:2"])");
    const Difference found =
        difference(before, with_site("", R"(["n1:1"])", R"(["127.0.0.1:3", "127.0.0.1:2"])"));
    ASSERT_EQ(found.sites.size(), 1U);
    EXPECT_THAT(found.sites[0].added_addresses, ElementsAre("127.0.0.1:3"));
    EXPECT_THAT(found.sites[0].removed_addresses, ElementsAre("127.0.0.1:1"));
    EXPECT_THAT(found.sites[0].keys, IsEmpty());
    // The same addresses in another order: the key itself.
    EXPECT_THAT(
        changes_of_site(before, with_site("", R"(["n1:1"])", R"(["127.0.0.1:2", "127.0.0.1:1"])")),
        ElementsAre(HasSubstr("listen: ")));
}

TEST(Difference, KnowsASiteByItsNameOrItsGroup) {
    const std::string rest = "backends: {name: group, servers: [\"n:1\"]}, balance: {salt: p}}";
    const auto one = [&](const std::string& name, const std::string& port) {
        return "{name: " + name + ", listen: [\"127.0.0.1:" + port + "\"], " + rest;
    };
    const Config a = config_of("sites: [" + one("a", "1") + "]");
    EXPECT_THAT(changes_of_site(a, config_of("sites: [" + one("b", "1") + "]")),
                ElementsAre("name: a -> b"));

    Config two = a;
    two.sites.push_back(a.sites[0]);
    two.sites[1].name = two.sites[1].backends.name = "c";
    const Difference more = difference(a, two);
    ASSERT_EQ(more.sites.size(), 1U);
    EXPECT_EQ(more.sites[0].change(), Change::added);
    EXPECT_EQ(more.sites[0].after->name, "c");
    const Difference less = difference(two, a);
    ASSERT_EQ(less.sites.size(), 1U);
    EXPECT_EQ(less.sites[0].change(), Change::removed);

    Config turned = two;
    std::swap(turned.sites[0], turned.sites[1]);
    EXPECT_TRUE(difference(two, turned).are_sites_reordered);
    EXPECT_FALSE(difference(two, turned).is_empty());
}

}  // namespace
}  // namespace s3gate::config
