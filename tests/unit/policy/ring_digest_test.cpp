// Operators compare the digest between hosts: it must be equal for the same servers and keys, and
// any change of a server's text must change it.
#include "s3gate/policy/ring_digest.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "s3gate/policy/ketama_ring.hpp"

namespace s3gate::policy {
namespace {

using config::BalanceMethod;
using config::Config;
using config::KeySource;
using config::Site;

Site make_site(const std::string& name, const std::vector<std::string>& servers) {
    Site site;
    site.name = name;
    site.backends.name = name;
    site.balance.salt = "pepper";
    for (const std::string& text : servers) {
        config::Server server;
        server.text = text;
        site.backends.servers.push_back(server);
    }
    return site;
}

const std::vector<std::string> kServers = {"n1:9000", "n2:9000", "n3:9000"};

std::string changed(const std::function<void(Site&)>& change) {
    Site site = make_site("a", kServers);
    change(site);
    return ring_digest(site);
}

TEST(RingDigest, IsOfFixedForm) {
    // Hosts with different versions compare it: a new form needs a reason.
    EXPECT_EQ(ring_digest(make_site("a", kServers)), "885e12797b180b458bf91da0abb45fdc");
}

TEST(RingDigest, DependsOnWhatDecidesWhereAKeyGoes) {
    const std::string plain = ring_digest(make_site("a", kServers));
    EXPECT_NE(changed([](Site& s) { s.backends.servers[1].text = "n2:9001"; }), plain);
    EXPECT_NE(changed([](Site& s) { s.backends.servers[1].text = "N2:9000"; }), plain);
    EXPECT_NE(changed([](Site& s) { s.backends.servers[1].weight = 2; }), plain);
    EXPECT_NE(changed([](Site& s) { s.backends.servers[1].down = true; }), plain);
    EXPECT_NE(changed([](Site& s) { s.backends.servers[1].drained = true; }), plain);
    EXPECT_NE(changed([](Site& s) { s.backends.servers.pop_back(); }), plain);
    EXPECT_NE(changed([](Site& s) { s.balance.salt = "salt"; }), plain);
    EXPECT_NE(changed([](Site& s) { std::swap(s.balance.key[0], s.balance.key[1]); }), plain);
    EXPECT_NE(changed([](Site& s) { s.balance.key.pop_back(); }), plain);
    EXPECT_NE(changed([](Site& s) { s.balance.method = BalanceMethod::least_conn; }), plain);
    EXPECT_NE(changed([](Site& s) { s.balance.method = BalanceMethod::round_robin; }),
              changed([](Site& s) { s.balance.method = BalanceMethod::least_conn; }));
}

TEST(RingDigest, DoesNotDependOnTheRest) {
    const std::string plain = ring_digest(make_site("a", kServers));
    EXPECT_EQ(changed([](Site& s) { s.name = s.backends.name = "b"; }), plain);
    EXPECT_EQ(changed([](Site& s) { std::ranges::reverse(s.backends.servers); }), plain);
    EXPECT_EQ(changed([](Site& s) { s.health.enabled = false; }), plain);
    EXPECT_EQ(changed([](Site& s) { s.backends.keepalive = 1; }), plain);
    EXPECT_EQ(changed([](Site& s) { s.backends.servers[0].max_connections = 9; }), plain);
    // A source after the fingerprint is never used.
    EXPECT_EQ(changed([](Site& s) { s.balance.key.push_back({KeySource::Kind::cookie, "c"}); }),
              plain);
}

TEST(RingDigest, IgnoresTheSaltWithoutAFingerprint) {
    const auto without = [](const std::string& salt) {
        return changed([&](Site& s) {
            s.balance.key = {{KeySource::Kind::header, salt.empty() ? "X-Key" : "x-key"}};
            s.balance.salt = salt;
        });
    };
    EXPECT_EQ(without(""), without("pepper"));
}

TEST(RingDigest, ComparesSitesByTheirNames) {
    Config config;
    config.sites = {make_site("a", kServers), make_site("b", {"m1:1", "m2:1"})};
    Config other;
    other.sites = {config.sites[1], config.sites[0]};
    EXPECT_EQ(ring_digest(config), ring_digest(other));
    std::swap(other.sites[0].name, other.sites[1].name);
    EXPECT_NE(ring_digest(config), ring_digest(other));
}

// Two servers with a common point on the ring; the first in the configuration gets it.
std::vector<std::string> find_colliding_servers() {
    std::map<std::uint32_t, std::string> owners;
    for (int number = 0; number < 10'000; ++number) {
        const std::string text = "n" + std::to_string(number) + ":9000";
        const RingServer server{text};
        const KetamaRing ring({&server, 1});
        for (const KetamaRing::Point& point : ring.points()) {
            const auto [owner, is_new] = owners.emplace(point.hash, text);
            if (!is_new) {
                return {owner->second, text};
            }
        }
    }
    return {};
}

TEST(RingDigest, KnowsTheOrderWhereItDecides) {
    std::vector<std::string> servers = find_colliding_servers();
    ASSERT_EQ(servers.size(), 2U);
    const std::string one_way = ring_digest(make_site("a", servers));
    std::ranges::reverse(servers);
    EXPECT_NE(ring_digest(make_site("a", servers)), one_way);
}

TEST(RingDigest, KnowsWhatOperatorsHaveCommanded) {
    Site site = make_site("a", kServers);
    site.backends.name = "group";
    const auto with = [&](const char* server, const char* word) {
        return ring_digest(site, {{{"group", server}, word}});
    };
    const std::string plain = ring_digest(site);
    EXPECT_NE(with("n1:9000", "drained"), plain);
    EXPECT_NE(with("n1:9000", "drained"), with("n2:9000", "drained"));
    EXPECT_NE(with("n1:9000", "drained"), with("n1:9000", "sessions"));
    EXPECT_EQ(with("n9:9000", "drained"), plain);
    EXPECT_EQ(ring_digest(site, {{{"other", "n1:9000"}, "drained"}}), plain);
    EXPECT_EQ(ring_digest(site, {}), plain);
}

}  // namespace
}  // namespace s3gate::policy
