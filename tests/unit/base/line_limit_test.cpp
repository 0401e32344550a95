#include "s3gate/base/line_limit.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <limits>

namespace s3gate::base {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr TimePoint kStart{seconds{1000}};
constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();

TEST(LineLimit, TheFirstIsToldAtOnceAndTheRestOnceAMinute) {
    LineLimit limit;
    EXPECT_EQ(limit.note(1, kStart), 1u);
    for (int i = 0; i < 1000; ++i) {
        EXPECT_EQ(limit.note(1, kStart + milliseconds{59 * i}), 0u);
    }
    EXPECT_EQ(limit.note(1, kStart + seconds{60}), 1001u);
}

TEST(LineLimit, AMinuteEndsAtItsLastNanosecond) {
    LineLimit limit;
    limit.note(1, kStart);
    EXPECT_EQ(limit.note(1, kStart + LineLimit::kEvery - nanoseconds{1}), 0u);
    EXPECT_EQ(limit.note(0, kStart + LineLimit::kEvery), 1u);
}

TEST(LineLimit, WhatAStormLeftIsToldAfterItsEnd) {
    LineLimit limit;
    limit.note(1, kStart);
    limit.note(7, kStart + seconds{1});
    EXPECT_EQ(limit.due_at(), kStart + LineLimit::kEvery);
    EXPECT_EQ(limit.note(0, kStart + seconds{59}), 0u);
    EXPECT_EQ(limit.note(0, kStart + seconds{75}), 7u);
    EXPECT_EQ(limit.due_at(), std::nullopt);
    EXPECT_EQ(limit.note(0, kStart + seconds{500}), 0u) << "once";
}

TEST(LineLimit, NothingIsToldOfNothing) {
    LineLimit limit;
    EXPECT_EQ(limit.note(0, kStart), 0u);
    EXPECT_EQ(limit.note(1, kStart), 1u) << "it did not use up the first line";
}

TEST(LineLimit, ACountStopsAtTheLargestNumber) {
    LineLimit limit;
    limit.note(1, kStart);
    limit.note(kMost - 1, kStart);
    limit.note(kMost, kStart);
    EXPECT_EQ(limit.note(1, kStart + seconds{60}), kMost);
    EXPECT_EQ(limit.note(1, kStart + seconds{120}), 1u);
}

TEST(LineLimit, AClockThatGoesBackTellsNothingEarly) {
    LineLimit limit;
    limit.note(1, kStart);
    EXPECT_EQ(limit.note(1, kStart - seconds{3600}), 0u);
    EXPECT_EQ(limit.note(1, kStart + seconds{60}), 2u);
}

TEST(LineLimit, TheTimesOfTheClockItselfAreNoLimits) {
    LineLimit limit;
    EXPECT_EQ(limit.note(1, TimePoint{}), 1u) << "at its begin";
    EXPECT_EQ(limit.note(1, TimePoint{} + seconds{1}), 0u);
    EXPECT_EQ(limit.note(1, TimePoint::max()), 2u);
}

TEST(LineLimit, TwoStatesDoNotWaitForEachOther) {
    LineLimit limit;
    EXPECT_EQ(limit.note(1, kStart, 0), 1u);
    EXPECT_EQ(limit.note(1, kStart + seconds{5}, 1), 1u);
    EXPECT_EQ(limit.note(1, kStart + seconds{10}, 0), 0u);
    EXPECT_EQ(limit.note(1, kStart + seconds{15}, 1), 0u);
    EXPECT_EQ(limit.note(0, kStart + seconds{64}), 0u) << "the last state waits for its own minute";
    EXPECT_EQ(limit.note(0, kStart + seconds{65}), 2u);
}

TEST(LineLimit, TheLastStateIsToldWithinAMinuteOfItsBegin) {
    LineLimit limit;
    std::size_t told = 9;
    for (int second = 0; second < 400; ++second) {
        const std::size_t state = second < 300 ? static_cast<std::size_t>(second % 2) : 1;
        const bool is_change = second <= 300;
        if (limit.note(is_change ? 1 : 0, kStart + seconds{second}, state) > 0) {
            told = state;
        }
    }
    EXPECT_EQ(told, 1u);
    EXPECT_EQ(limit.untold(), 0u);
}

TEST(LineLimit, IsAsNewAfterAMinuteWithoutALine) {
    LineLimit limit;
    EXPECT_TRUE(limit.is_fresh(kStart));
    limit.note(1, kStart, 1);
    EXPECT_FALSE(limit.is_fresh(kStart + seconds{59}));
    EXPECT_TRUE(limit.is_fresh(kStart + seconds{60}));
    limit.note(1, kStart + seconds{30}, 1);
    EXPECT_FALSE(limit.is_fresh(kStart + seconds{90})) << "something is left to tell";
}

}  // namespace
}  // namespace s3gate::base
