#include "s3gate/policy/health_state.hpp"

#include <gtest/gtest.h>

#include <random>

namespace s3gate::policy {
namespace {

TEST(HealthState, StartsUpAndUnchecked) {
    const HealthState state(3, 3);
    EXPECT_TRUE(state.is_up());
    EXPECT_FALSE(state.is_checked());
}

TEST(HealthState, FirstCheckDecidesAlone) {
    HealthState bad(3, 3);
    EXPECT_EQ(bad.on_check(false), HealthFlip::went_down);
    EXPECT_FALSE(bad.is_up());
    EXPECT_TRUE(bad.is_checked());
    HealthState good(3, 3);
    EXPECT_EQ(good.on_check(true), HealthFlip::none);
    EXPECT_TRUE(good.is_up());
    EXPECT_EQ(good.on_check(false), HealthFlip::none) << "only the first decides alone";
}

TEST(HealthState, FlipsExactlyAtFallAndRise) {
    HealthState state(3, 2);
    state.on_check(true);
    EXPECT_EQ(state.on_check(false), HealthFlip::none);
    EXPECT_EQ(state.on_check(false), HealthFlip::none);
    EXPECT_EQ(state.failures(), 2u);
    EXPECT_EQ(state.on_check(false), HealthFlip::went_down);
    EXPECT_EQ(state.on_check(false), HealthFlip::none) << "a flip is reported once";
    EXPECT_EQ(state.failures(), 4u);
    EXPECT_EQ(state.on_check(true), HealthFlip::none);
    EXPECT_EQ(state.failures(), 0u);
    EXPECT_EQ(state.on_check(true), HealthFlip::went_up);
    EXPECT_EQ(state.successes(), 2u);
    EXPECT_EQ(state.on_check(true), HealthFlip::none);
}

TEST(HealthState, AContraryResultResets) {
    HealthState state(3, 3);
    state.on_check(true);
    for (int i = 0; i < 10; ++i) {
        EXPECT_EQ(state.on_check(false), HealthFlip::none);
        EXPECT_EQ(state.on_check(false), HealthFlip::none);
        EXPECT_EQ(state.on_check(true), HealthFlip::none);
        EXPECT_EQ(state.successes(), 1u);
    }
    state.on_check(false);
    state.on_check(false);
    ASSERT_EQ(state.on_check(false), HealthFlip::went_down);
    for (int i = 0; i < 10; ++i) {
        EXPECT_EQ(state.on_check(true), HealthFlip::none);
        EXPECT_EQ(state.on_check(true), HealthFlip::none);
        EXPECT_EQ(state.on_check(false), HealthFlip::none);
    }
}

TEST(HealthState, AfterADownStartRiseApplies) {
    HealthState state(3, 3);
    state.on_check(false);
    EXPECT_EQ(state.on_check(true), HealthFlip::none);
    EXPECT_EQ(state.on_check(true), HealthFlip::none);
    EXPECT_EQ(state.on_check(true), HealthFlip::went_up);
}

// Compared with the definition: the last long enough run of equal results decides.
TEST(HealthStateProperty, FollowsRunsOfEqualResults) {
    for (std::uint32_t seed = 0; seed < 300; ++seed) {
        std::mt19937 random(seed);
        const auto fall = static_cast<unsigned>(1 + random() % 4);
        const auto rise = static_cast<unsigned>(1 + random() % 4);
        HealthState state(fall, rise);
        bool up = true;
        unsigned run = 0;
        bool last = true;
        for (int i = 0; i < 200; ++i) {
            const bool passed = random() % 2 == 0;
            run = i > 0 && passed == last ? run + 1 : 1;
            last = passed;
            const bool was = up;
            if (i == 0 || run >= (passed ? rise : fall)) {
                up = passed;
            }
            const HealthFlip expected = was == up ? HealthFlip::none
                                        : up      ? HealthFlip::went_up
                                                  : HealthFlip::went_down;
            ASSERT_EQ(state.on_check(passed), expected) << seed << " check " << i;
            ASSERT_EQ(state.is_up(), up);
        }
    }
}

}  // namespace
}  // namespace s3gate::policy
