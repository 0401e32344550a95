// The share of keys that move is what an operator believes before a reload: it must be what the
// proxy then does.
#include "s3gate/policy/key_moves.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "s3gate/policy/ketama_ring.hpp"

namespace s3gate::policy {
namespace {

using config::BalanceMethod;
using config::KeySource;
using config::Site;
using Ties = KeyMoves::Ties;

constexpr int kKeys = 100'000;

config::Server make_server(const std::string& text) {
    config::Server server;
    server.text = text;
    return server;
}

Site make_site(const std::vector<std::string>& servers) {
    Site site;
    site.balance.salt = "pepper";
    for (const std::string& text : servers) {
        site.backends.servers.push_back(make_server(text));
    }
    return site;
}

const Site kSite = make_site({"n1:9000", "n2:9000", "n3:9000", "n4:9000"});

Site changed(const std::function<void(Site&)>& change) {
    Site site = kSite;
    change(site);
    return site;
}

double share(std::uint64_t hashes) {
    return static_cast<double>(hashes) / static_cast<double>(kAllHashes);
}

// The server of a key as a worker finds it.
std::string server_of(const Site& site, const KetamaRing& ring, const std::string& key) {
    RingWalk walk = start_walk(ring, key);
    const auto server = walk_to_usable(ring, walk, [&](std::uint32_t candidate) {
        const config::Server& one = site.backends.servers[candidate];
        return !one.down && !one.drained;
    });
    return server ? site.backends.servers[*server].text : "";
}

// Of many random keys.
double counted(const Site& before, const Site& after) {
    const KetamaRing ring_before = ring_of(before.backends.servers);
    const KetamaRing ring_after = ring_of(after.backends.servers);
    std::mt19937_64 random(11);
    int moved = 0;
    for (int i = 0; i < kKeys; ++i) {
        const std::string key = std::to_string(random());
        moved += server_of(before, ring_before, key) == server_of(after, ring_after, key) ? 0 : 1;
    }
    return static_cast<double>(moved) / kKeys;
}

// Five standard deviations of what is counted.
void expect_as_counted(const Site& before, const Site& after) {
    const double exact = share(key_moves(before, after).moved);
    const double tolerance = 5 * std::sqrt(std::max(exact * (1 - exact), 1e-9) / kKeys);
    EXPECT_NEAR(counted(before, after), exact, tolerance);
    EXPECT_EQ(key_moves(after, before).moved, key_moves(before, after).moved);
}

TEST(KeyMoves, AreAsManyAsAreCounted) {
    const std::vector<std::function<void(Site&)>> changes = {
        [](Site& s) { s.backends.servers.pop_back(); },
        [](Site& s) { s.backends.servers.front().text = "n5:9000"; },
        [](Site& s) {
            s.backends.servers.insert(s.backends.servers.begin(), make_server("n0:9000"));
        },
        [](Site& s) { s.backends.servers[1].weight = 3; },
        [](Site& s) { s.backends.servers[2].drained = true; },
        [](Site& s) { s.backends.servers[2].down = true; },
        [](Site& s) { s = make_site({"m1:1", "m2:1"}); },
        [](Site& s) { s = make_site({"n1:9000"}); },
    };
    for (const auto& change : changes) {
        expect_as_counted(kSite, changed(change));
        expect_as_counted(changed(changes[1]), changed(change));
    }
}

TEST(KeyMoves, AreNoneWhereTheRingStays) {
    EXPECT_TRUE(key_moves(kSite, kSite).is_none());
    EXPECT_TRUE(key_moves(kSite, changed([](Site& s) {
                              std::ranges::reverse(s.backends.servers);
                              s.health.enabled = false;
                              s.backends.servers[0].max_connections = 3;
                              // After the fingerprint nothing is used.
                              s.balance.key.push_back({KeySource::Kind::cookie, "c"});
                          }))
                    .is_none());
}

TEST(KeyMoves, AreThoseOfTheServerThatLeaves) {
    const Site without =
        changed([](Site& s) { s.backends.servers.erase(s.backends.servers.begin()); });
    const Site drained = changed([](Site& s) { s.backends.servers[0].drained = true; });
    EXPECT_GT(key_moves(kSite, without).moved, 0U);
    EXPECT_EQ(key_moves(kSite, drained).moved, key_moves(kSite, without).moved);
    // Its keys have left it already.
    EXPECT_EQ(key_moves(drained, without).moved, 0U);
}

TEST(KeyMoves, AreAllWhereNoServerStays) {
    EXPECT_EQ(key_moves(kSite, make_site({"m1:1", "m2:1"})).moved, kAllHashes);
    EXPECT_EQ(key_moves(make_site({"n:1"}), make_site({"m:1"})).moved, kAllHashes);
    EXPECT_EQ(key_moves(make_site({"n:1"}), make_site({"n:1"})).moved, 0U);
}

TEST(KeyMoves, SayThatFingerprintsChange) {
    const Site other = changed([](Site& s) { s.balance.salt = "salt"; });
    const KeyMoves moves = key_moves(kSite, other);
    EXPECT_EQ(moves.moved, 0U);
    EXPECT_TRUE(moves.has_other_fingerprints);
    EXPECT_FALSE(moves.has_other_sources);
    EXPECT_FALSE(moves.is_none());
    // About three of four, because the points are not quite even.
    EXPECT_NEAR(moves.moved_fingerprints, 0.75, 0.02);

    // Counted: each client has two keys that have nothing to do with each other.
    const KetamaRing ring = ring_of(kSite.backends.servers);
    std::mt19937_64 random(12);
    int moved = 0;
    for (int i = 0; i < kKeys; ++i) {
        const std::string before = server_of(kSite, ring, std::to_string(random()));
        moved += before == server_of(other, ring, std::to_string(random())) ? 0 : 1;
    }
    EXPECT_NEAR(static_cast<double>(moved) / kKeys, moves.moved_fingerprints, 0.01);

    const auto without = [](Site& s) { s.balance.key = {{KeySource::Kind::sessionid, {}}}; };
    const Site third = changed([&](Site& s) {
        without(s);
        s.balance.salt = "salt";
    });
    EXPECT_TRUE(key_moves(changed(without), third).is_none());
}

TEST(KeyMoves, SayThatOtherPartsGiveTheKey) {
    EXPECT_TRUE(
        key_moves(kSite, changed([](Site& s) { std::swap(s.balance.key[0], s.balance.key[1]); }))
            .has_other_sources);
    const auto header = [](const char* name) {
        return changed([&](Site& s) { s.balance.key = {{KeySource::Kind::header, name}}; });
    };
    EXPECT_TRUE(key_moves(header("X-Key"), header("x-key")).is_none());
    EXPECT_TRUE(key_moves(header("X-Key"), header("x-other")).has_other_sources);
}

TEST(KeyMoves, SayWhetherKeysTie) {
    const Site turns = changed([](Site& s) { s.balance.method = BalanceMethod::round_robin; });
    const Site least = changed([](Site& s) { s.balance.method = BalanceMethod::least_conn; });
    EXPECT_EQ(key_moves(kSite, turns).ties, Ties::end);
    EXPECT_EQ(key_moves(turns, kSite).ties, Ties::begin);
    EXPECT_FALSE(key_moves(turns, kSite).is_none());
    EXPECT_EQ(key_moves(turns, least).ties, Ties::none);
    EXPECT_TRUE(key_moves(turns, least).is_none());
}

}  // namespace
}  // namespace s3gate::policy
