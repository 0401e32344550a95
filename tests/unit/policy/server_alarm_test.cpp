// Which servers are named, with exact numbers: a server that is out of line with its group, and
// none that is not.

#include "s3gate/policy/server_alarm.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace s3gate::policy {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

TEST(OutOfLine, NeedsFiveAndFivePercent) {
    EXPECT_FALSE(is_out_of_line({1, 1}, {0, 1000})) << "one of one is no alarm";
    EXPECT_FALSE(is_out_of_line({4, 4}, {0, 1000}));
    EXPECT_TRUE(is_out_of_line({5, 5}, {0, 1000}));
    EXPECT_TRUE(is_out_of_line({5, 100}, {0, 1000}));
    EXPECT_FALSE(is_out_of_line({5, 101}, {0, 1000}));
    EXPECT_TRUE(is_out_of_line({40, 52}, {0, 310}));
}

TEST(OutOfLine, IsMoreThanFourTimesTheOthers) {
    EXPECT_FALSE(is_out_of_line({40, 100}, {10, 100}));
    EXPECT_TRUE(is_out_of_line({41, 100}, {10, 100}));
    EXPECT_FALSE(is_out_of_line({100, 100}, {100, 100})) << "all are bad";
    EXPECT_TRUE(is_out_of_line({1'000'000'000'000, 1'000'000'000'000}, {1, 1'000'000}))
        << "no overflow";
}

TEST(OutOfLine, IsAFifthWhereTheOthersSayNothing) {
    EXPECT_TRUE(is_out_of_line({5, 25}, {0, 0}));
    EXPECT_FALSE(is_out_of_line({5, 26}, {0, 0}));
    EXPECT_TRUE(is_out_of_line({5, 25}, {0, 19}));
    EXPECT_TRUE(is_out_of_line({5, 26}, {0, 20})) << "they say that it can be done";
    EXPECT_FALSE(is_out_of_line({5, 26}, {0, 19}));
    EXPECT_FALSE(is_out_of_line({5, 25}, {20, 20}));
}

TEST(OutOfLine, FewOthersThatAreAsBadMakeNoServerGuilty) {
    EXPECT_FALSE(is_out_of_line({5, 5}, {10, 10}));
    EXPECT_FALSE(is_out_of_line({5, 5}, {2, 4}));
    EXPECT_TRUE(is_out_of_line({5, 5}, {1, 5}));
}

TEST(SlowFrom, IsTenTimesTheMedianAndHalfASecond) {
    AttemptSums others;
    others.heads[0] = 19;
    EXPECT_EQ(slow_from(others), 0U) << "too few";
    others.heads[0] = 20;
    EXPECT_EQ(slow_from(others), 500U);
    others.heads[5] = 21;  // the median is up to 250 ms
    EXPECT_EQ(slow_from(others), 2500U);
    others.heads[8] = 100;  // 2.5 s
    EXPECT_EQ(slow_from(others), 0U) << "all are slow";
    others.heads[10] = 1000;
    EXPECT_EQ(slow_from(others), 0U);
}

// A group that counts by name, second for second.
class GroupAlarmsTest : public testing::Test {
  protected:
    // Adds to what was counted for the server.
    void answer(std::uint64_t id, std::uint64_t answers, std::uint64_t errors = 0) {
        counted_[id].answers += answers;
        counted_[id].errors += errors;
        counted_[id].heads[0] += answers;
    }
    std::vector<AlarmEvent> second() {
        std::vector<GroupAlarms::Server> servers;
        for (const auto& [id, sums] : counted_) {
            servers.push_back({id, sums});
        }
        return group_.tick(servers, ++now_);
    }
    // The events of so many seconds in which nothing is counted.
    std::vector<AlarmEvent> quiet(int seconds) {
        std::vector<AlarmEvent> out;
        for (int i = 0; i < seconds; ++i) {
            for (const AlarmEvent& event : second()) {
                out.push_back(event);
            }
        }
        return out;
    }

    std::map<std::uint64_t, AttemptSums> counted_;
    GroupAlarms group_;
    std::uint64_t now_ = 1000;
};

TEST_F(GroupAlarmsTest, ServerIsNamedAtTheNextLook) {
    answer(1, 310);
    answer(2, 52, 40);
    const auto events = second();
    ASSERT_THAT(events, SizeIs(1));
    EXPECT_FALSE(events[0].is_over);
    const Alarm& alarm = events[0].alarm;
    EXPECT_EQ(alarm.kind, AlarmKind::errors);
    EXPECT_EQ(alarm.server, 2U);
    EXPECT_EQ(alarm.window, (AlarmShare{40, 52}));
    EXPECT_EQ(alarm.others, (AlarmShare{0, 310}));
    EXPECT_THAT(group_.alarms(), SizeIs(1));
}

TEST_F(GroupAlarmsTest, IsToldOnceAndItsEndWithAllThatCame) {
    answer(1, 310);
    answer(2, 52, 40);
    EXPECT_THAT(second(), SizeIs(1));
    for (int i = 0; i < 30; ++i) {
        answer(1, 30);
        answer(2, 10, 5);
        EXPECT_THAT(second(), IsEmpty()) << i;
    }
    for (int i = 0; i < 30; ++i) {
        answer(1, 30);
        answer(2, 10);
        const auto events = second();
        if (!events.empty()) {
            ASSERT_THAT(events, SizeIs(1));
            EXPECT_TRUE(events[0].is_over);
            EXPECT_EQ(events[0].alarm.since, (AlarmShare{40 + 30 * 5, 52 + 30 * 10 + 140}));
            // The window is clean ten seconds after the last error, and calm for five looks.
            EXPECT_EQ(i, 13);
            EXPECT_EQ(events[0].lasted, 44U);
            EXPECT_THAT(group_.alarms(), IsEmpty());
            return;
        }
    }
    FAIL() << "no end";
}

TEST_F(GroupAlarmsTest, ServerWithoutTrafficIsAtItsEndToo) {
    answer(2, 52, 40);
    EXPECT_THAT(second(), SizeIs(1));
    const auto events = quiet(20);
    ASSERT_THAT(events, SizeIs(1));
    EXPECT_TRUE(events[0].is_over);
    EXPECT_EQ(events[0].alarm.since, (AlarmShare{40, 52}));
}

TEST_F(GroupAlarmsTest, NothingIsSaidWithoutTrafficOrOfOneFailure) {
    EXPECT_THAT(quiet(30), IsEmpty());
    answer(1, 1, 1);
    EXPECT_THAT(quiet(30), IsEmpty());
    for (int i = 0; i < 100; ++i) {  // an error every three seconds
        answer(1, 1, 1);
        EXPECT_THAT(quiet(3), IsEmpty());
    }
}

TEST_F(GroupAlarmsTest, GroupIsNamedWhereAllAreBad) {
    answer(1, 40, 20);
    answer(2, 40, 19);
    answer(3, 40, 21);
    const auto events = second();
    ASSERT_THAT(events, SizeIs(1));
    EXPECT_TRUE(events[0].alarm.is_of_group);
    EXPECT_EQ(events[0].alarm.window, (AlarmShare{60, 120}));
    EXPECT_THAT(group_.worst(AlarmKind::errors, 2),
                ElementsAre(std::pair(3U, AlarmShare{21, 40}), std::pair(1U, AlarmShare{20, 40})));
    const auto rest = quiet(20);
    ASSERT_THAT(rest, SizeIs(1));
    EXPECT_TRUE(rest[0].is_over && rest[0].alarm.is_of_group);
}

TEST_F(GroupAlarmsTest, GroupIsNamedWhereAllAreBadWithLittleTraffic) {
    answer(1, 6, 6);
    answer(2, 6, 6);
    answer(3, 6, 6);
    const auto events = second();
    ASSERT_THAT(events, SizeIs(1)) << "and not three servers";
    EXPECT_TRUE(events[0].alarm.is_of_group);
}

TEST_F(GroupAlarmsTest, GroupIsNotBlamedForAServer) {
    answer(1, 100);
    answer(2, 100, 100);
    const auto events = second();
    ASSERT_THAT(events, SizeIs(1));
    EXPECT_EQ(events[0].alarm.server, 2U);
}

TEST_F(GroupAlarmsTest, GroupOfOneIsJudgedByItself) {
    answer(7, 100, 19);
    EXPECT_THAT(second(), IsEmpty());
    answer(7, 0, 1);
    const auto events = second();
    ASSERT_THAT(events, SizeIs(1));
    EXPECT_FALSE(events[0].alarm.is_of_group);
    EXPECT_EQ(events[0].alarm.window, (AlarmShare{20, 100}));
}

TEST_F(GroupAlarmsTest, ServerThatFlapsIsToldOnceAMinute) {
    int begins = 0;
    int ends = 0;
    for (int i = 0; i < 300; ++i) {
        answer(1, 30);
        answer(2, 10, i % 20 == 0 ? 10 : 0);
        for (const AlarmEvent& event : second()) {
            (event.is_over ? ends : begins) += 1;
        }
    }
    EXPECT_GE(begins, 4);
    EXPECT_LE(begins, 5);
    EXPECT_LE(ends, begins);
}

TEST_F(GroupAlarmsTest, BrokenAttemptsAndLoadAreKindsOfTheirOwn) {
    answer(1, 100);
    counted_[2].broken = 10;
    answer(3, 50);
    counted_[3].load = 30;
    std::vector<AlarmKind> kinds;
    for (const AlarmEvent& event : second()) {
        kinds.push_back(event.alarm.kind);
        EXPECT_EQ(event.alarm.server, event.alarm.kind == AlarmKind::load ? 3U : 2U);
    }
    EXPECT_THAT(kinds, ElementsAre(AlarmKind::broken, AlarmKind::load));
}

TEST_F(GroupAlarmsTest, SlowServerIsNamedWithTheMedianOfTheOthers) {
    answer(1, 400);
    counted_[1].heads[7] += 3;  // up to a second
    answer(2, 16);
    counted_[2].heads[7] += 24;
    const auto events = second();
    ASSERT_THAT(events, SizeIs(1));
    const Alarm& alarm = events[0].alarm;
    EXPECT_EQ(alarm.kind, AlarmKind::slow);
    EXPECT_EQ(alarm.server, 2U);
    EXPECT_EQ(alarm.slow_ms, 500U);
    EXPECT_EQ(alarm.median_ms, 5U);
    EXPECT_EQ(alarm.window, (AlarmShare{24, 40}));
    EXPECT_EQ(alarm.others, (AlarmShare{3, 403}));
    const auto rest = quiet(20);
    ASSERT_THAT(rest, SizeIs(1));
    EXPECT_TRUE(rest[0].is_over);
}

TEST_F(GroupAlarmsTest, ServerThatLeavesHasNoAlarmAndANewOneBeginsAtZero) {
    answer(1, 100);
    answer(2, 52, 40);
    EXPECT_THAT(second(), SizeIs(1));
    counted_.erase(2);
    const auto ends = second();
    ASSERT_THAT(ends, SizeIs(1)) << "what was told has an end";
    EXPECT_TRUE(ends[0].is_over && ends[0].is_gone);
    EXPECT_EQ(ends[0].alarm.since, (AlarmShare{40, 52}));
    EXPECT_THAT(second(), IsEmpty());
    EXPECT_THAT(group_.alarms(), IsEmpty());
    answer(3, 10, 10);
    const auto events = second();
    ASSERT_THAT(events, SizeIs(1));
    EXPECT_EQ(events[0].alarm.window, (AlarmShare{10, 10}));
}

TEST_F(GroupAlarmsTest, AlarmOfAnotherProcessGoesOnAndEnds) {
    group_.resume({.kind = AlarmKind::errors, .server = 2, .began = 0, .since = {40, 52}}, now_);
    EXPECT_THAT(group_.told(), SizeIs(1));
    answer(1, 100);
    for (int i = 0; i < 10; ++i) {
        answer(2, 10, 10);
        EXPECT_THAT(second(), IsEmpty()) << "it is known already";
    }
    const auto events = quiet(20);
    ASSERT_THAT(events, SizeIs(1));
    EXPECT_TRUE(events[0].is_over && !events[0].is_gone);
    EXPECT_EQ(events[0].alarm.since, (AlarmShare{140, 152}));
}

TEST_F(GroupAlarmsTest, AGroupThatIsNotWatchedAnyMoreEndsWhatWasTold) {
    answer(1, 100);
    answer(2, 52, 40);
    EXPECT_THAT(group_.end(now_), IsEmpty());
    EXPECT_THAT(second(), SizeIs(1));
    const auto events = group_.end(now_);
    ASSERT_THAT(events, SizeIs(1));
    EXPECT_TRUE(events[0].is_gone);
}

}  // namespace
}  // namespace s3gate::policy
