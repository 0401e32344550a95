#include "repeated_lines.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace s3gate::control {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class RepeatedLinesTest : public testing::Test {
  protected:
    void note(const std::string& subject, bool is_up, Topic topic = Topic::health) {
        lines.note({.topic = topic,
                    .subject = subject,
                    .is_end = is_up,
                    .level = is_up ? spdlog::level::info : spdlog::level::warn,
                    .text = subject + (is_up ? " is up" : " is down")},
                   now);
    }
    std::vector<std::string> take() { return std::exchange(written, {}); }
    // The lines of so many seconds without an event.
    std::vector<std::string> wait(int time) {
        for (int i = 0; i < time; ++i) {
            now += seconds{1};
            lines.tick(now);
        }
        return take();
    }

    std::vector<std::string> written;
    spdlog::level::level_enum level = spdlog::level::off;  // of the last one
    RepeatedLines lines{[this](spdlog::level::level_enum of, const std::string& text) {
        level = of;
        written.push_back(text);
    }};
    base::TimePoint now{seconds{5}};
};

TEST_F(RepeatedLinesTest, AnOutageIsToldAtOnceAndSoIsItsEnd) {
    note("a", false);
    EXPECT_THAT(take(), ElementsAre("a is down"));
    EXPECT_EQ(level, spdlog::level::warn);
    EXPECT_THAT(wait(5), IsEmpty());
    note("a", true);
    EXPECT_THAT(take(), ElementsAre("a is up"));
    EXPECT_EQ(level, spdlog::level::info);
    EXPECT_THAT(wait(300), IsEmpty());
    note("a", false);
    EXPECT_THAT(take(), ElementsAre("a is down")) << "news, without a count";
}

TEST_F(RepeatedLinesTest, OneThatFlapsIsToldOnceAMinuteOfEachStateWithTheCount) {
    std::size_t changes = 0;
    for (int second = 0; second < 600; ++second) {
        note("a", second % 2 == 1);
        ++changes;
        now += seconds{1};
        lines.tick(now);
    }
    EXPECT_EQ(changes, 600u);
    EXPECT_LE(
        std::ranges::count_if(written, [](const auto& t) { return t.starts_with("a is up"); }), 10);
    EXPECT_LE(
        std::ranges::count_if(written, [](const auto& t) { return t.starts_with("a is down"); }),
        10);
    take();
    const auto last = wait(60);
    EXPECT_EQ(last.back().substr(0, 7), "a is up") << "the state that lasts";
    EXPECT_THAT(wait(200), IsEmpty());
}

TEST_F(RepeatedLinesTest, TheLastLineSaysHowMuchWasLeftOut) {
    note("a", false);
    note("a", true);
    for (int i = 0; i < 3; ++i) {
        note("a", false);
        note("a", true);
    }
    EXPECT_THAT(take(), ElementsAre("a is down", "a is up"));
    EXPECT_THAT(wait(59), IsEmpty());
    EXPECT_THAT(wait(1), ElementsAre("a is up (5 more lines about it in the last 60 s)"));
}

TEST_F(RepeatedLinesTest, OneMoreIsALineAndNotLines) {
    note("a", false);
    note("a", false);
    note("a", false);
    EXPECT_EQ(wait(60).back(), "a is down (1 more line about it in the last 60 s)");
}

TEST_F(RepeatedLinesTest, VariantsDoNotWaitForEachOtherAndAnEndIsLast) {
    const auto fail = [this](std::size_t variant) {
        lines.note({.topic = Topic::names,
                    .subject = "n",
                    .variant = variant,
                    .text = "no answer " + std::to_string(variant)},
                   now);
    };
    for (std::size_t i = 0; i < RepeatedLine::kVariants; ++i) {
        fail(i);
    }
    EXPECT_THAT(take(), SizeIs(RepeatedLine::kVariants));
    fail(3);
    note("n", true, Topic::names);
    EXPECT_THAT(take(), ElementsAre("n is up (1 more line about it in the last 1 s)"));
    EXPECT_THAT(wait(120), IsEmpty()) << "the end was the last word";
}

TEST_F(RepeatedLinesTest, SubjectsAndTopicsDoNotWaitForEachOther) {
    note("a", false);
    note("b", false);
    note("a", false, Topic::marks);
    EXPECT_THAT(take(), SizeIs(3));
}

TEST_F(RepeatedLinesTest, ManyServersGetAFewLinesAndOneForTheOthers) {
    for (int i = 10; i < 90; ++i) {
        note("n" + std::to_string(i), false);
    }
    EXPECT_THAT(take(), SizeIs(RepeatedLines::kMostLines));
    EXPECT_THAT(wait(1),
                ElementsAre("64 more lines about servers that went up or down: n26, n27, n28, n29, "
                            "n30, n31, n32, n33 and 56 others; s3gate ctl status shows the present "
                            "state"));
    EXPECT_EQ(level, spdlog::level::warn);
    EXPECT_THAT(wait(300), IsEmpty());
}

TEST_F(RepeatedLinesTest, AStormOfAThousandServersIsBoundedAndForgotten) {
    for (int second = 0; second < 179; ++second) {
        for (int i = 0; i < 1500; ++i) {
            note("n" + std::to_string(i), second % 2 == 1);
        }
        now += seconds{1};
        lines.tick(now);
    }
    EXPECT_LE(written.size(), 3 * (RepeatedLines::kMostLines + 1));
    take();
    wait(180);
    note("n1499", false);
    EXPECT_THAT(written, testing::Contains("n1499 is down")) << "the known ones are forgotten";
}

TEST_F(RepeatedLinesTest, SubjectsThatHaveNoPlaceAreCounted) {
    for (std::size_t i = 0; i < RepeatedLines::kMostSubjects + 5; ++i) {
        note(std::to_string(i), false);
    }
    take();
    EXPECT_THAT(wait(1).at(0), HasSubstr("989 more lines about servers"));
}

TEST_F(RepeatedLinesTest, TheEndOfTheProcessTellsWhatWaits) {
    note("a", false);
    note("a", true);
    note("a", false);
    take();
    lines.flush(now);
    EXPECT_THAT(take(), ElementsAre("a is down"));
    lines.flush(now);
    EXPECT_THAT(take(), IsEmpty());
}

}  // namespace
}  // namespace s3gate::control
