#include "s3gate/state/seen_keys.hpp"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace s3gate::state {
namespace {

TEST(SeenKeys, KnowsAKeyAtItsServerOnly) {
    SeenKeys seen;
    seen.note(7, 100);
    EXPECT_TRUE(seen.has(7, 100));
    EXPECT_FALSE(seen.has(7, 101));
    EXPECT_FALSE(seen.has(8, 100));
    seen.clear();
    EXPECT_FALSE(seen.has(7, 100));
}

TEST(SeenKeys, ForgetsAfterOneToTwoTurns) {
    SeenKeys seen;
    seen.note(7, 1);
    seen.turn();
    EXPECT_TRUE(seen.has(7, 1));
    seen.note(8, 1);
    seen.turn();
    EXPECT_FALSE(seen.has(7, 1));
    EXPECT_TRUE(seen.has(8, 1));
    seen.note(8, 1);
    seen.turn();
    EXPECT_TRUE(seen.has(8, 1)) << "used again";
    seen.turn();
    EXPECT_FALSE(seen.has(8, 1));
}

TEST(SeenKeys, TurnsWhenTheTimeIsOver) {
    SeenKeys seen;
    seen.turn_after(5000, 1000);
    seen.note(7, 1);
    seen.turn_after(5999, 1000);
    seen.turn_after(6000, 1000);
    EXPECT_TRUE(seen.has(7, 1));
    seen.turn_after(6999, 1000);
    EXPECT_TRUE(seen.has(7, 1));
    seen.turn_after(7000, 1000);
    EXPECT_FALSE(seen.has(7, 1));
}

TEST(SeenKeys, GoesToAnotherObject) {
    SeenKeys one;
    one.note(7, 1);
    one.turn();
    one.note(8, 1);
    std::vector<std::uint64_t> sum(SeenKeys::kWords);
    one.add_to(sum);
    SeenKeys other;
    for (std::size_t i = 0; i < sum.size(); ++i) {
        other.take_in(i, sum[i]);
    }
    other.turn_after(1, 1000);
    EXPECT_TRUE(other.has(7, 1));
    EXPECT_TRUE(other.has(8, 1));
    other.turn_after(1001, 1000);
    EXPECT_FALSE(other.has(7, 1));
}

// The figures of the header and of docs/operations.md.
TEST(SeenKeys, HasFewFalsePositives) {
    std::mt19937 random(7);
    const auto number = [&] { return static_cast<std::uint32_t>(random()); };
    const auto share = [&](int keys) {
        SeenKeys seen;
        for (int i = 0; i < keys; ++i) {
            seen.note(number(), 0x1234567);
        }
        int found = 0;
        for (int i = 0; i < 100'000; ++i) {
            found += seen.has(number(), 0x1234567) ? 1 : 0;
        }
        return found / 100'000.0;
    };
    EXPECT_LT(share(1'000), 0.001);
    EXPECT_LT(share(10'000), 0.01);
    EXPECT_LT(share(50'000), 0.13);
}

}  // namespace
}  // namespace s3gate::state
