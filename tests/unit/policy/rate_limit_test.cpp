// The token bucket in one number: at most the burst at once, at most the rate on average, and the
// full burst again after a pause.

#include "s3gate/policy/rate_limit.hpp"

#include <gtest/gtest.h>

#include <random>

namespace s3gate::policy {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

// Number of admitted requests out of `tries` at `now`.
int admitted(std::uint64_t& arrival, const RateRule& rule, std::uint64_t now, int tries) {
    int count = 0;
    for (int i = 0; i < tries; ++i) {
        if (const auto next = admit(arrival, rule, now)) {
            arrival = *next;
            ++count;
        }
    }
    return count;
}

TEST(RateLimit, AFullBucketGivesTheBurstAndNoMore) {
    std::uint64_t arrival = 0;
    const RateRule rule = rate_rule(100, kSecond, 20);
    EXPECT_EQ(admitted(arrival, rule, 5 * kSecond, 100), 20);
}

TEST(RateLimit, RefillsAtTheRateUpToTheBurst) {
    std::uint64_t arrival = 0;
    const RateRule rule = rate_rule(100, kSecond, 20);
    EXPECT_EQ(admitted(arrival, rule, kSecond, 100), 20);
    EXPECT_EQ(admitted(arrival, rule, kSecond + 9'999'999, 100), 0);
    EXPECT_EQ(admitted(arrival, rule, kSecond + 10'000'000, 100), 1);
    EXPECT_EQ(admitted(arrival, rule, kSecond + 60'000'000, 100), 5);
    EXPECT_FALSE(is_full(arrival, kSecond + 60'000'000));
    EXPECT_TRUE(is_full(arrival, kSecond + 260'000'000));
    EXPECT_EQ(admitted(arrival, rule, 100 * kSecond, 100), 20);
}

TEST(RateLimit, ABurstOfOneSpacesRequests) {
    std::uint64_t arrival = 0;
    const RateRule rule = rate_rule(10, kSecond, 1);
    EXPECT_EQ(admitted(arrival, rule, kSecond, 3), 1);
    EXPECT_EQ(admitted(arrival, rule, kSecond + kSecond / 10 - 1, 3), 0);
    EXPECT_EQ(admitted(arrival, rule, kSecond + kSecond / 10, 3), 1);
}

TEST(RateLimit, ARefusedRequestCostsNothing) {
    std::uint64_t arrival = 0;
    const RateRule rule = rate_rule(10, kSecond, 10);
    EXPECT_EQ(admitted(arrival, rule, kSecond, 1000), 10);
    EXPECT_EQ(admitted(arrival, rule, 2 * kSecond, 1000), 10);
}

TEST(RateLimit, ExtremesFit) {
    EXPECT_EQ(rate_rule(1'000'000, kSecond, 1).interval, 1000u);
    std::uint64_t arrival = 0;
    const RateRule slow = rate_rule(1, 60 * kSecond, 1'000'000);
    const std::uint64_t now = kSecond * 86'400 * 365 * 100;
    EXPECT_EQ(admitted(arrival, slow, now, 10), 10);
    EXPECT_EQ(arrival, now + 10 * 60 * kSecond);
}

TEST(RateLimitProperty, NeverMoreThanBurstAndRateInAnySpan) {
    for (std::uint32_t seed = 0; seed < 300; ++seed) {
        std::mt19937_64 random(seed);
        const std::uint64_t rate = 1 + random() % 1000;
        const std::uint64_t burst = 1 + random() % 200;
        const RateRule rule = rate_rule(rate, kSecond, burst);
        const std::uint64_t begin = kSecond + random() % kSecond;
        std::uint64_t arrival = 0;
        std::uint64_t now = begin;
        std::uint64_t count = 0;
        for (int i = 0; i < 2000; ++i) {
            now += random() % (2 * kSecond / rate);
            const auto next = admit(arrival, rule, now);
            arrival = next.value_or(arrival);
            count += next ? 1 : 0;
            ASSERT_LE(count, burst + (now - begin) / rule.interval) << "seed " << seed;
        }
        ASSERT_GE(count, 900u) << "seed " << seed << ": half of them came at the rate or slower";
    }
}

}  // namespace
}  // namespace s3gate::policy
