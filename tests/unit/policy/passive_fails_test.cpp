#include "s3gate/policy/passive_fails.hpp"

#include <gtest/gtest.h>

#include <random>

namespace s3gate::policy {
namespace {

constexpr PassiveRule kRule{3, 30000};

PassiveState fail(PassiveState state, std::uint64_t now_ms, bool may_mark = true) {
    return after_failure(state, kRule, now_ms, may_mark);
}

PassiveState marked_at(std::uint64_t now_ms) {
    return fail(fail(fail({}, now_ms), now_ms), now_ms);
}

TEST(PassiveFails, NothingKnownIsUsable) {
    EXPECT_EQ(verdict({}, kRule, 0), PassiveVerdict::usable);
    EXPECT_EQ(verdict({}, kRule, 1'000'000), PassiveVerdict::usable);
    EXPECT_FALSE(is_marked({}));
}

TEST(PassiveFails, MarksExactlyAtMaxFails) {
    PassiveState state = fail(fail({}, 1000), 2000);
    EXPECT_FALSE(is_marked(state));
    EXPECT_EQ(verdict(state, kRule, 2000), PassiveVerdict::usable);
    state = fail(state, 3000);
    EXPECT_TRUE(is_marked(state));
    EXPECT_EQ(verdict(state, kRule, 3000), PassiveVerdict::marked);
}

TEST(PassiveFails, OneFailureSufficesWhereMaxFailsIsOne) {
    const PassiveRule one{1, 10000};
    EXPECT_EQ(verdict(after_failure({}, one, 0, true), one, 0), PassiveVerdict::marked);
}

TEST(PassiveFails, TimeOverThenTrial) {
    const PassiveState state = marked_at(1000);
    EXPECT_EQ(verdict(state, kRule, 31000), PassiveVerdict::marked) << "as nginx: <= fail_timeout";
    EXPECT_EQ(verdict(state, kRule, 31001), PassiveVerdict::trial);
}

TEST(PassiveFails, OneTrialPerFailTimeout) {
    PassiveState state = after_trial_pick(marked_at(1000), kRule, 40000);
    EXPECT_TRUE(is_marked(state));
    EXPECT_EQ(verdict(state, kRule, 40000), PassiveVerdict::marked) << "others wait";
    EXPECT_EQ(verdict(state, kRule, 70000), PassiveVerdict::marked);
    EXPECT_EQ(verdict(state, kRule, 70001), PassiveVerdict::trial) << "the trial never reported";
}

TEST(PassiveFails, FailedTrialKeepsTheMark) {
    const PassiveState state = fail(after_trial_pick(marked_at(1000), kRule, 40000), 41000);
    EXPECT_EQ(verdict(state, kRule, 71000), PassiveVerdict::marked);
    EXPECT_EQ(verdict(state, kRule, 71001), PassiveVerdict::trial);
}

TEST(PassiveFails, AFailureLongAfterTheMarkKeepsIt) {
    // A slow exchange that began before the mark may fail after the mark's time.
    EXPECT_TRUE(is_marked(fail(marked_at(1000), 100000)));
}

TEST(PassiveFails, SuccessForgetsAll) {
    EXPECT_EQ(after_success(marked_at(1000)), PassiveState{});
    EXPECT_EQ(after_success(fail({}, 5)), PassiveState{});
}

TEST(PassiveFails, AnOldFailureNoLongerAddsUp) {
    const PassiveState two = fail(fail({}, 1000), 2000);
    EXPECT_TRUE(is_marked(fail(two, 32000))) << "just within";
    const PassiveState late = fail(two, 32001);
    EXPECT_FALSE(is_marked(late));
    EXPECT_FALSE(is_marked(fail(late, 32002)));
    EXPECT_TRUE(is_marked(fail(fail(late, 32002), 32003)));
}

TEST(PassiveFails, MayMarkFalseCountsWithoutMarking) {
    PassiveState state{};
    for (int i = 0; i < 512; ++i) {  // twice the range of eight bits
        state = fail(state, 1000, false);
        ASSERT_FALSE(is_marked(state));
        ASSERT_EQ(verdict(state, kRule, 1000), PassiveVerdict::usable);
    }
    EXPECT_TRUE(is_marked(fail(state, 1000))) << "the failures were counted";
}

TEST(PassiveFails, MayMarkFalseDoesNotLiftAMark) {
    EXPECT_TRUE(is_marked(fail(marked_at(1000), 2000, false)));
}

TEST(PassiveFails, ZeroNeverMarks) {
    const PassiveRule off{0, 30000};
    PassiveState state{};
    for (int i = 0; i < 300; ++i) {
        state = after_failure(state, off, 1000, true);
    }
    EXPECT_EQ(state, PassiveState{});
    EXPECT_EQ(verdict(marked_at(1000), off, 1000), PassiveVerdict::usable)
        << "a mark from before a reload";
}

TEST(PassiveFails, LargestMaxFails) {
    for (const unsigned max_fails : {255u, 1000u}) {
        const PassiveRule rule{max_fails, 30000};
        PassiveState state{};
        for (int i = 0; i < 254; ++i) {
            state = after_failure(state, rule, 1000, true);
        }
        EXPECT_FALSE(is_marked(state));
        EXPECT_TRUE(is_marked(after_failure(state, rule, 1000, true)));
    }
}

// Each worker reads its own clock: a time slightly in the future is not an old one.
TEST(PassiveFails, ClocksOfWorkersMayDiffer) {
    EXPECT_EQ(verdict(marked_at(5000), kRule, 4000), PassiveVerdict::marked);
    EXPECT_TRUE(is_marked(fail(fail(fail({}, 5000), 4999), 4998)));
    const PassiveState state = after_trial_pick(marked_at(5000), kRule, 4000);
    EXPECT_EQ(verdict(state, kRule, 35000), PassiveVerdict::marked) << "time does not go back";
    EXPECT_EQ(verdict(fail(marked_at(5000), 4000), kRule, 35000), PassiveVerdict::marked);
}

TEST(PassiveFails, TimesBeyondThirtyTwoBits) {
    constexpr std::uint64_t kHundredYears = 100ull * 366 * 24 * 3600 * 1000;
    for (const unsigned long long now : {0ull, (1ull << 31) - 1, 1ull << 31, (1ull << 32) - 2,
                                         1ull << 32, 1ull << 40, 1ull * kHundredYears}) {
        PassiveState state = fail(fail({}, now), now + 1);
        EXPECT_FALSE(is_marked(state)) << now;
        state = fail(state, now + 2);
        EXPECT_EQ(verdict(state, kRule, now + 30002), PassiveVerdict::marked) << now;
        EXPECT_EQ(verdict(state, kRule, now + 30003), PassiveVerdict::trial) << now;
    }
}

// Compared with a simple model with separate fields.
TEST(PassiveFailsProperty, EqualsAPlainModel) {
    for (std::uint32_t seed = 0; seed < 300; ++seed) {
        std::mt19937 random(seed);
        const PassiveRule rule{static_cast<unsigned>(1 + random() % 5), 1 + random() % 50};
        PassiveState state{};
        unsigned fails = 0;
        bool marked = false;
        std::uint64_t since = 0;
        std::uint64_t now = random() % 100;
        for (int i = 0; i < 300; ++i) {
            now += random() % 40;
            const bool is_over = now - since > rule.fail_timeout_ms;
            const PassiveVerdict expected = !marked   ? PassiveVerdict::usable
                                            : is_over ? PassiveVerdict::trial
                                                      : PassiveVerdict::marked;
            ASSERT_EQ(verdict(state, rule, now), expected) << seed << " step " << i;
            ASSERT_EQ(is_marked(state), marked);
            const auto event = random() % 6;
            if (event == 0) {
                state = after_success(state);
                fails = 0;
                marked = false;
            } else if (event == 1 && expected == PassiveVerdict::trial) {
                state = after_trial_pick(state, rule, now);
                since = now;
            } else if (event >= 3) {
                const bool may_mark = random() % 3 != 0;
                state = after_failure(state, rule, now, may_mark);
                fails = !marked && fails > 0 && is_over ? 1 : fails + 1;
                since = now;
                marked = marked || (may_mark && fails >= rule.max_fails);
            }
        }
    }
}

}  // namespace
}  // namespace s3gate::policy
