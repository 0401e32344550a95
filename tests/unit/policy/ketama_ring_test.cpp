#include "s3gate/policy/ketama_ring.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "s3gate/base/digest.hpp"

namespace s3gate::policy {
namespace {

struct Recorded {
    KetamaRing ring;
    std::set<std::uint32_t> down;
};

KetamaRing ring_of(const std::vector<std::string>& texts, unsigned weight = 1) {
    std::vector<RingServer> servers;
    for (const std::string& text : texts) {
        servers.push_back({text, weight});
    }
    return KetamaRing(servers);
}

KetamaRing six() {
    std::vector<std::string> texts;
    for (int i = 1; i <= 6; ++i) {
        texts.push_back("cluster01-" + std::to_string(i) + ".minio.xunku.in:9000");
    }
    return ring_of(texts);
}

KetamaRing weighted() {
    const std::vector<RingServer> servers = {{"cluster01-1.minio.xunku.in:9000", 3},
                                             {"cluster01-2.minio.xunku.in:9000", 1},
                                             {"127.0.9.3:9000", 2},
                                             {"127.0.9.4", 1}};
    return KetamaRing(servers);
}

constexpr auto kAllUsable = [](std::uint32_t) { return true; };

std::uint32_t server_of(const KetamaRing& ring, std::string_view key) {
    RingWalk walk = start_walk(ring, key);
    return walk_to_usable(ring, walk, kAllUsable).value();
}

TEST(KetamaRing, ChoosesWhatNginxChose) {
    const std::map<std::string, Recorded> rings = {
        {"six", {six(), {}}}, {"six-third-down", {six(), {2}}}, {"weighted", {weighted(), {}}}};
    std::ifstream file(S3GATE_TEST_DATA "/ketama-nginx.tsv");
    ASSERT_TRUE(file);
    int rows = 0;
    int equal = 0;
    for (std::string line; std::getline(file, line);) {
        std::istringstream columns(line);
        std::string name;
        std::string key;
        std::uint32_t number = 0;
        ASSERT_TRUE(std::getline(columns, name, '\t') && std::getline(columns, key, '\t') &&
                    columns >> number)
            << line;
        const Recorded& recorded = rings.at(name);
        RingWalk walk = start_walk(recorded.ring, key);
        const auto server = walk_to_usable(
            recorded.ring, walk, [&](std::uint32_t s) { return !recorded.down.contains(s); });
        ++rows;
        equal += server == number - 1;
        EXPECT_EQ(server, number - 1) << line;
    }
    EXPECT_EQ(rows, 900);
    EXPECT_EQ(equal, 900);
}

TEST(KetamaRing, RecordedPoints) {
    const KetamaRing ring = six();
    ASSERT_EQ(ring.points().size(), 960u);
    EXPECT_EQ(ring.points().front().hash, 0x000849dfu);
    EXPECT_EQ(ring.points().front().server, 3u);
    EXPECT_EQ(ring.points().back().hash, 0xfebf75a3u);
    EXPECT_EQ(ring.points().back().server, 5u);
    const std::uint32_t first_points[] = {0x24db23b3, 0x113695e0, 0xb4bd05ee,
                                          0x7aedf946, 0xdf666948, 0xea8bdf1b};
    for (std::uint32_t server = 0; server < 6; ++server) {
        const std::size_t at = ring.lookup(first_points[server]);
        EXPECT_EQ(ring.points()[at].hash, first_points[server]) << server;
        EXPECT_EQ(ring.points()[at].server, server);
    }
}

TEST(KetamaRing, RecordedKeys) {
    struct Row {
        std::string_view key;
        std::uint32_t crc;
        std::uint32_t point;
        std::uint32_t server;
    };
    const Row rows[] = {{"abc", 0x352441c2, 0x366602de, 1},
                        {"a", 0xe8b7be43, 0xe8c984fb, 2},
                        {"sess-1", 0x336fa55f, 0x3377984c, 1},
                        {"sess-2", 0xaa66f4e5, 0xaa6ab7ed, 0},
                        {"2~ABC.d-_e", 0xf2590c1b, 0xf275a119, 1},
                        {"f3954ee2ea99e8f527e429b3ae1013e5", 0x8542b500, 0x858e068e, 5}};
    const KetamaRing ring = six();
    for (const Row& row : rows) {
        EXPECT_EQ(base::crc32(row.key), row.crc) << row.key;
        const RingWalk walk = start_walk(ring, row.key);
        EXPECT_EQ(walk.tries, 0u);
        EXPECT_EQ(ring.points()[walk.index].hash, row.point) << row.key;
        EXPECT_EQ(ring.points()[walk.index].server, row.server) << row.key;
    }
}

TEST(KetamaRing, RecordedSpread) {
    const KetamaRing ring = six();
    std::vector<int> counts(6);
    for (int i = 0; i < 100000; ++i) {
        ++counts[server_of(ring, "k" + std::to_string(i))];
    }
    EXPECT_EQ(counts, (std::vector<int>{15925, 19009, 15992, 17174, 16892, 15008}));
}

TEST(KetamaRing, LookupBorders) {
    const KetamaRing ring = six();
    const auto& points = ring.points();
    EXPECT_EQ(ring.lookup(0), 0u);
    EXPECT_EQ(ring.lookup(points.back().hash), points.size() - 1) << "an exact hit takes its point";
    EXPECT_EQ(ring.lookup(points.back().hash + 1), 0u) << "past the end wraps";
    EXPECT_EQ(ring.lookup(0xffffffff), 0u);
    for (std::size_t i = 1; i < points.size(); ++i) {
        ASSERT_LT(points[i - 1].hash, points[i].hash) << "sorted, no duplicates";
        ASSERT_EQ(ring.lookup(points[i - 1].hash + 1), i);
        ASSERT_EQ(ring.lookup(points[i].hash), i);
    }
}

TEST(KetamaRing, LookupIsTheFirstNotBelow) {
    std::mt19937 random(20261127);
    for (const unsigned servers : {1U, 2U, 7U, 100U, 1000U}) {
        std::vector<std::string> texts;
        for (unsigned i = 0; i < servers; ++i) {
            texts.push_back("node-" + std::to_string(i) + ":9000");
        }
        const KetamaRing ring = ring_of(texts);
        const auto& points = ring.points();
        const auto expect = [&](std::uint32_t hash) {
            const auto at = std::ranges::lower_bound(points, hash, {}, &KetamaRing::Point::hash);
            const auto index =
                at == points.end() ? 0 : static_cast<std::size_t>(at - points.begin());
            ASSERT_EQ(ring.lookup(hash), index) << servers << " servers, hash " << hash;
        };
        for (int i = 0; i < 20000; ++i) {
            expect(static_cast<std::uint32_t>(random()));
        }
        // The possible ends of arcs of any length.
        for (unsigned bit = 0; bit < 32; ++bit) {
            expect((1U << bit) - 1);
            expect(1U << bit);
            expect(~((1U << bit) - 1));
            expect(~(1U << bit));
        }
    }
}

TEST(KetamaRing, EmptyRing) {
    EXPECT_TRUE(KetamaRing().empty());
    EXPECT_TRUE(KetamaRing(std::span<const RingServer>{}).empty());
    EXPECT_FALSE(six().empty());
}

// Point j = CRC32(HOST 00 PORT PREV), computed the slow way.
std::set<std::uint32_t> expected_points(std::string_view host, std::string_view port) {
    std::set<std::uint32_t> out;
    std::uint32_t previous = 0;
    for (int j = 0; j < 160; ++j) {
        std::string bytes(host);
        bytes.push_back('\0');
        bytes += port;
        for (unsigned shift = 0; shift < 32; shift += 8) {
            bytes.push_back(static_cast<char>(previous >> shift & 0xff));
        }
        previous = base::crc32(bytes);
        out.insert(previous);
    }
    return out;
}

TEST(KetamaRing, SplitsTheServerTextAsNginxDoes) {
    struct Row {
        std::string text;
        std::string_view host;
        std::string_view port;
    };
    const Row rows[] = {{"h:80", "h", "80"},
                        {"h", "h", ""},
                        {"h:", "h", ""},
                        {"h80", "h80", ""},
                        {"80", "80", ""},
                        {":80", "", "80"},
                        {"a:b:80", "a:b", "80"},
                        {"h:8o80", "h:8o80", ""},
                        {"127.0.9.4", "127.0.9.4", ""},
                        {"[::1]:9000", "[::1]", "9000"},
                        {"[::1]", "[::1]", ""},
                        {"::1", ":", "1"},
                        {"H:80", "H", "80"},
                        {"unix:/run/a.sock", "/run/a.sock", ""},
                        {"UNIX:/run/a:80", "/run/a:80", ""}};
    for (const Row& row : rows) {
        const KetamaRing ring = ring_of({row.text});
        std::set<std::uint32_t> points;
        for (const auto& point : ring.points()) {
            points.insert(point.hash);
        }
        EXPECT_EQ(points, expected_points(row.host, row.port)) << row.text;
    }
}

TEST(KetamaRing, DefaultPortAndCaseHashDifferently) {
    const auto first = [](const std::string& text) { return ring_of({text}).points()[0].hash; };
    EXPECT_NE(first("h:80"), first("h"));
    EXPECT_NE(first("h:80"), first("H:80"));
}

TEST(KetamaRing, WeightMultipliesPoints) {
    std::vector<int> counts(4);
    const KetamaRing ring = weighted();
    for (const auto& point : ring.points()) {
        ++counts[point.server];
    }
    EXPECT_EQ(counts, (std::vector<int>{480, 160, 320, 160}));
    // More weight only adds points: no key leaves the heavier server.
    const KetamaRing light = ring_of({"a:1"});
    const KetamaRing heavy = ring_of({"a:1"}, 3);
    EXPECT_TRUE(std::ranges::includes(heavy.points(), light.points(), {}, &KetamaRing::Point::hash,
                                      &KetamaRing::Point::hash));
}

TEST(KetamaRing, DuplicatesCollapseToTheFirst) {
    const KetamaRing twice = ring_of({"a:1", "b:1", "a:1"});
    EXPECT_EQ(twice.points().size(), 320u);
    EXPECT_TRUE(std::ranges::none_of(twice.points(), [](const auto& p) { return p.server == 2; }));
}

// ---- properties -------------------------------------------------------------------------------

constexpr std::uint32_t kSeeds = 300;

std::vector<std::string> random_texts(std::mt19937& random) {
    std::set<std::string> texts;
    const std::size_t count = 2 + random() % 9;
    while (texts.size() < count) {
        texts.insert("node-" + std::to_string(random() % 1000) + ".example:9000");
    }
    std::vector<std::string> out(texts.begin(), texts.end());
    std::ranges::shuffle(out, random);
    return out;
}

std::string random_key(std::mt19937& random) {
    return "key" + std::to_string(random());
}

TEST(KetamaRingProperty, EveryServerIsReachable) {
    for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
        std::mt19937 random(seed);
        const auto texts = random_texts(random);
        const KetamaRing ring = ring_of(texts);
        std::set<std::uint32_t> reached;
        for (int i = 0; i < 600; ++i) {
            reached.insert(server_of(ring, random_key(random)));
        }
        EXPECT_EQ(reached.size(), texts.size()) << seed;
    }
}

TEST(KetamaRingProperty, OrderOfConfigurationDoesNotMatter) {
    for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
        std::mt19937 random(seed);
        const auto texts = random_texts(random);
        auto shuffled = texts;
        std::ranges::shuffle(shuffled, random);
        const KetamaRing a = ring_of(texts);
        const KetamaRing b = ring_of(shuffled);
        for (int i = 0; i < 50; ++i) {
            const std::string key = random_key(random);
            EXPECT_EQ(texts[server_of(a, key)], shuffled[server_of(b, key)]) << seed;
        }
    }
}

TEST(KetamaRingProperty, RemovalMovesOnlyTheRemovedKeys) {
    for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
        std::mt19937 random(seed);
        const auto texts = random_texts(random);
        const std::size_t gone = random() % texts.size();
        auto fewer = texts;
        fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(gone));
        const KetamaRing before = ring_of(texts);
        const KetamaRing after = ring_of(fewer);
        for (int i = 0; i < 100; ++i) {
            const std::string key = random_key(random);
            const std::string& was = texts[server_of(before, key)];
            const std::string& is = fewer[server_of(after, key)];
            if (was != texts[gone]) {
                EXPECT_EQ(was, is) << seed << " " << key;
            }
        }
    }
}

TEST(KetamaRingProperty, WalkingPastOneEqualsRemovingIt) {
    for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
        std::mt19937 random(seed);
        const auto texts = random_texts(random);
        const auto down = static_cast<std::uint32_t>(random() % texts.size());
        auto fewer = texts;
        fewer.erase(fewer.begin() + down);
        const KetamaRing ring = ring_of(texts);
        const KetamaRing without = ring_of(fewer);
        for (int i = 0; i < 50; ++i) {
            const std::string key = random_key(random);
            RingWalk walk = start_walk(ring, key);
            const auto server =
                walk_to_usable(ring, walk, [&](std::uint32_t s) { return s != down; });
            if (server) {  // the 21-point rule may end the walk, mostly with two servers
                EXPECT_EQ(texts[*server], fewer[server_of(without, key)]) << seed;
            }
        }
    }
}

// As in an exchange: the tried backend becomes unusable and the same walk continues.
TEST(KetamaRingProperty, OneWalkVisitsUsableServersOnceInRingOrder) {
    for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
        std::mt19937 random(seed);
        const auto texts = random_texts(random);
        const KetamaRing ring = ring_of(texts);
        std::set<std::uint32_t> unusable;
        for (std::uint32_t s = 0; s < texts.size(); ++s) {
            if (random() % 4 == 0) {
                unusable.insert(s);
            }
        }
        const std::string key = random_key(random);
        const std::size_t start = ring.lookup(base::crc32(key));
        RingWalk walk = start_walk(ring, key);
        std::size_t position = start;
        while (true) {
            const auto server =
                walk_to_usable(ring, walk, [&](std::uint32_t s) { return !unusable.contains(s); });
            // The reference walks point by point from the current position.
            while (position - start <= kMaxUnusablePoints &&
                   unusable.contains(ring.points()[position % ring.points().size()].server)) {
                ++position;
            }
            if (position - start > kMaxUnusablePoints) {
                EXPECT_FALSE(server) << seed;
                break;
            }
            ASSERT_EQ(server, ring.points()[position % ring.points().size()].server) << seed;
            EXPECT_FALSE(unusable.contains(*server));
            unusable.insert(*server);
        }
    }
}

TEST(KetamaWalk, GivesUpAfterTwentyOneUnusablePoints) {
    const KetamaRing ring = six();
    for (std::size_t start : {std::size_t{0}, std::size_t{500}, ring.points().size() - 3}) {
        // Usable from the n-th point on; counts the calls.
        const auto usable_at = [&](int nth) {
            int asked = 0;
            RingWalk walk{start, 0};
            const auto server =
                walk_to_usable(ring, walk, [&](std::uint32_t) { return ++asked > nth; });
            if (server) {
                EXPECT_EQ(*server,
                          ring.points()[(start + static_cast<std::size_t>(nth)) % 960].server);
            }
            return server.has_value();
        };
        EXPECT_TRUE(usable_at(0));
        EXPECT_TRUE(usable_at(20)) << "twenty unusable points are walked past";
        EXPECT_FALSE(usable_at(21)) << "the twenty-first ends it";
    }
}

TEST(KetamaWalk, TriesCountOverAllAttemptsOfARequest) {
    const KetamaRing ring = six();
    RingWalk walk{0, 0};
    int asked = 0;
    ASSERT_TRUE(walk_to_usable(ring, walk, [&](std::uint32_t) { return ++asked > 15; }));
    EXPECT_EQ(walk.tries, 15u);
    EXPECT_EQ(walk.index, 15u) << "stays on the point that was chosen";
    asked = 0;
    EXPECT_FALSE(walk_to_usable(ring, walk, [&](std::uint32_t) { return ++asked > 6; }));
    asked = 0;
    EXPECT_FALSE(walk_to_usable(ring, walk, [&](std::uint32_t) {
        ++asked;
        return true;
    }));
    EXPECT_EQ(asked, 0) << "once given up, the ring is not asked again";
}

}  // namespace
}  // namespace s3gate::policy
