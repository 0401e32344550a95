#include "s3gate/policy/balance.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

namespace s3gate::policy {
namespace {

std::vector<Candidate> peers(const std::vector<unsigned>& weights) {
    std::vector<Candidate> out;
    for (const unsigned weight : weights) {
        out.push_back({static_cast<std::uint32_t>(out.size()), weight, 0});
    }
    return out;
}

std::uint64_t bits(std::mt19937_64& random) {
    return random();
}

TEST(RoundRobin, IsNginxsSmoothOrder) {
    const auto candidates = peers({5, 1, 1});
    std::vector<SmoothWeight> state(3);
    std::vector<std::uint32_t> order;
    for (int i = 0; i < 14; ++i) {
        order.push_back(pick_round_robin(candidates, state).value());
    }
    EXPECT_EQ(order, (std::vector<std::uint32_t>{0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0}));
    EXPECT_TRUE(std::ranges::all_of(state, [](const auto& s) { return s.current == 0; }));
}

TEST(SlowStart, ShareGrowsEvenlyToTheWhole) {
    using std::chrono::seconds;
    EXPECT_EQ(slow_start_share(seconds{0}, seconds{30}), kLeastShare);
    EXPECT_EQ(slow_start_share(seconds{3}, seconds{30}), 100U);
    EXPECT_EQ(slow_start_share(seconds{15}, seconds{30}), 500U);
    EXPECT_EQ(slow_start_share(seconds{30}, seconds{30}), kFullShare);
    EXPECT_EQ(slow_start_share(seconds{31}, seconds{30}), kFullShare);
    EXPECT_EQ(slow_start_share(seconds{5}, seconds{0}), kFullShare) << "off";
    EXPECT_EQ(slow_start_share(-seconds{5}, seconds{30}), kLeastShare) << "a clock that is behind";
}

TEST(RoundRobin, NoCandidate) {
    EXPECT_FALSE(pick_round_robin({}, {}));
}

TEST(RoundRobin, PeersOutsideTheCandidatesKeepTheirState) {
    const std::vector<Candidate> some = {{1, 1, 0}, {3, 1, 0}};
    std::vector<SmoothWeight> state(4);
    state[0].current = 100;
    state[2].current = 200;
    for (int i = 0; i < 5; ++i) {
        const auto peer = pick_round_robin(some, state);
        EXPECT_TRUE(peer == 1u || peer == 3u) << "the peer's number, not the position";
    }
    EXPECT_EQ(state[0].current, 100);
    EXPECT_EQ(state[2].current, 200);
}

TEST(RoundRobin, EveryCycleGivesEachItsWeight) {
    for (std::uint64_t seed = 0; seed < 300; ++seed) {
        std::mt19937_64 random(seed);
        std::vector<unsigned> weights(1 + random() % 8);
        for (unsigned& weight : weights) {
            weight = static_cast<unsigned>(1 + random() % 20);
        }
        const auto candidates = peers(weights);
        std::vector<SmoothWeight> state(weights.size());
        for (int cycle = 0; cycle < 3; ++cycle) {
            std::vector<unsigned> counts(weights.size());
            const unsigned total = std::accumulate(weights.begin(), weights.end(), 0u);
            for (unsigned i = 0; i < total; ++i) {
                ++counts[pick_round_robin(candidates, state).value()];
            }
            EXPECT_EQ(counts, weights) << seed;
        }
    }
}

TEST(LeastConn, NoCandidateAndOne) {
    EXPECT_FALSE(pick_least_conn({}, {}, 0));
    std::vector<SmoothWeight> state(8);
    const std::vector<Candidate> one = {{7, 1, 99}};
    EXPECT_EQ(pick_least_conn(one, state, ~std::uint64_t{0}), 7u);
}

TEST(LeastConn, TakesTheLeastFromEveryStart) {
    auto candidates = peers({1, 1, 1, 1});
    candidates[0].in_flight = 5;
    candidates[1].in_flight = 3;
    candidates[2].in_flight = 2;
    candidates[3].in_flight = 4;
    std::vector<SmoothWeight> state(4);
    state[0].current = 1000;  // no tie, so the state must not matter
    std::mt19937_64 random(1);
    for (int i = 0; i < 200; ++i) {
        EXPECT_EQ(pick_least_conn(candidates, state, bits(random)), 2u);
    }
    EXPECT_EQ(state[0].current, 1000);
    EXPECT_EQ(state[2].current, 0) << "without a tie the weights do not move";
}

TEST(LeastConn, LoadIsDividedByWeight) {
    auto candidates = peers({4, 1});
    std::vector<SmoothWeight> state(2);
    candidates[0].in_flight = 7;
    candidates[1].in_flight = 2;
    EXPECT_EQ(pick_least_conn(candidates, state, 0), 0u) << "7/4 < 2/1";
    candidates[0].in_flight = 9;
    EXPECT_EQ(pick_least_conn(candidates, state, 0), 1u) << "9/4 > 2/1";
}

TEST(LeastConn, TiesGoRoundByWeight) {
    for (std::uint64_t seed = 0; seed < 300; ++seed) {
        std::mt19937_64 random(seed);
        const std::vector<unsigned> weights = {3, 1, 2};
        const auto candidates = peers(weights);
        std::vector<SmoothWeight> state(3);
        std::vector<unsigned> counts(3);
        for (int i = 0; i < 6; ++i) {
            ++counts[pick_least_conn(candidates, state, bits(random)).value()];
        }
        EXPECT_EQ(counts, weights) << seed;
    }
}

TEST(LeastConn, OnlyTheTiedTakePartInARound) {
    auto candidates = peers({1, 1, 1});
    candidates[1].in_flight = 1;
    std::vector<SmoothWeight> state(3);
    std::mt19937_64 random(3);
    for (int i = 0; i < 100; ++i) {
        EXPECT_NE(pick_least_conn(candidates, state, bits(random)), 1u);
    }
    EXPECT_EQ(state[1].current, 0);
}

TEST(LeastConn, DifferentStartsDecideTheFirstTie) {
    const auto candidates = peers({1, 1, 1, 1});
    std::vector<int> counts(4);
    std::mt19937_64 random(5);
    for (int i = 0; i < 400; ++i) {
        std::vector<SmoothWeight> fresh(4);  // a worker that has just started
        ++counts[pick_least_conn(candidates, fresh, bits(random)).value()];
    }
    EXPECT_GT(std::ranges::min(counts), 50) << "workers that begin together must not choose alike";
}

// Requests begin and never end: the shares follow the weights.
TEST(LeastConn, SpreadIsWithinOneUnderEqualLoad) {
    for (std::uint64_t seed = 0; seed < 300; ++seed) {
        std::mt19937_64 random(seed);
        auto candidates = peers(std::vector<unsigned>(1 + random() % 16, 1));
        std::vector<SmoothWeight> state(candidates.size());
        for (int i = 0; i < 100; ++i) {
            ++candidates[pick_least_conn(candidates, state, bits(random)).value()].in_flight;
            const auto [low, high] =
                std::ranges::minmax(candidates, {}, [](const auto& c) { return c.in_flight; });
            ASSERT_LE(high.in_flight - low.in_flight, 1) << seed;
        }
    }
}

TEST(LeastConn, WeightsAreRespected) {
    for (std::uint64_t seed = 0; seed < 300; ++seed) {
        std::mt19937_64 random(seed);
        std::vector<unsigned> weights(2 + random() % 10);
        for (unsigned& weight : weights) {
            weight = static_cast<unsigned>(1 + random() % 9);
        }
        auto candidates = peers(weights);
        std::vector<SmoothWeight> state(weights.size());
        const unsigned total = std::accumulate(weights.begin(), weights.end(), 0u);
        for (unsigned i = 0; i < 10 * total; ++i) {
            ++candidates[pick_least_conn(candidates, state, bits(random)).value()].in_flight;
        }
        for (std::size_t i = 0; i < weights.size(); ++i) {
            EXPECT_EQ(candidates[i].in_flight, 10 * weights[i]) << seed << " peer " << i;
        }
    }
}

// Requests that end at once leave all peers tied at zero: each must still be picked.
TEST(LeastConn, NobodyStarvesWhenIdle) {
    for (const std::size_t count : {2u, 6u, 16u, 17u, 40u}) {
        const auto candidates = peers(std::vector<unsigned>(count, 1));
        std::vector<SmoothWeight> state(count);
        std::vector<int> picks(count);
        std::mt19937_64 random(count);
        for (std::size_t i = 0; i < 200 * count; ++i) {
            ++picks[pick_least_conn(candidates, state, bits(random)).value()];
        }
        EXPECT_GT(std::ranges::min(picks), 100) << count;
        EXPECT_LT(std::ranges::max(picks), 300) << count;
    }
}

TEST(LeastConn, AboveSixteenTheBetterOfTwo) {
    auto candidates = peers(std::vector<unsigned>(17, 1));
    for (auto& candidate : candidates) {
        candidate.in_flight = candidate.peer;  // all different; peer 16 is the worst
    }
    std::vector<SmoothWeight> state(17);
    std::vector<int> picks(17);
    std::mt19937_64 random(9);
    for (int i = 0; i < 17000; ++i) {
        ++picks[pick_least_conn(candidates, state, bits(random)).value()];
    }
    EXPECT_EQ(picks[16], 0) << "two different ones, so the worst never wins";
    EXPECT_GT(picks[15], 50) << "wins against the worst only; a full scan would never take it";
    // Rank r wins against every worse one: (16 - r) of 136 pairs.
    EXPECT_NEAR(picks[0], 17000 * 16 / 136, 250);
    EXPECT_NEAR(picks[8], 17000 * 8 / 136, 200);
}

TEST(LeastConn, AboveSixteenLoadStaysTogether) {
    auto candidates = peers(std::vector<unsigned>(50, 1));
    std::vector<SmoothWeight> state(50);
    std::mt19937_64 random(11);
    for (int i = 0; i < 5000; ++i) {
        ++candidates[pick_least_conn(candidates, state, bits(random)).value()].in_flight;
    }
    for (const auto& candidate : candidates) {
        EXPECT_NEAR(static_cast<double>(candidate.in_flight), 100, 6);
    }
}

}  // namespace
}  // namespace s3gate::policy
