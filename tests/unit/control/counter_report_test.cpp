// The counter lines of the operational log: when they appear, at which level, with which text.

#include "counter_report.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <thread>

namespace s3gate::control {
namespace {

using std::chrono::seconds;

class CounterReportTest : public testing::Test {
  protected:
    base::TimePoint at(int second) const { return start + seconds{second}; }
    std::string text(std::optional<CounterReport::Line> line) const {
        return line ? line->text : "";
    }

    base::TimePoint start = base::Clock::now();
    state::Board board{2, 1, 1};
    CounterReport report{board, start};
    const state::Snapshot none;  // without a server
};

TEST_F(CounterReportTest, SaysNothingWhileNothingFails) {
    state::bump(board.counters(0).accepted);
    state::bump(board.counters(1).requests);
    state::bump(board.counters(1).ticks);
    state::bump(board.control().passed);
    EXPECT_FALSE(report.tick(at(1), none));
    EXPECT_FALSE(report.tick(at(100), none));
    EXPECT_FALSE(report.rest(at(101), none));
}

TEST_F(CounterReportTest, AddsTheWorkersAndWordsTheNumber) {
    EXPECT_FALSE(report.tick(at(1), none));
    state::bump(board.counters(0).client_head_timeouts);
    state::bump<std::uint64_t>(board.counters(1).client_head_timeouts, 11);
    state::bump(board.counters(1).connects_refused);
    const auto line = report.tick(at(2), none);
    ASSERT_TRUE(line);
    EXPECT_EQ(line->text, "in the last 1 s: 12 client head timeouts, 1 connect refused");
    EXPECT_EQ(line->level, state::CounterLevel::trouble);
}

TEST_F(CounterReportTest, IsQuietAboutHarmlessThings) {
    state::bump(board.counters(0).client_idle_closed);
    const auto line = report.tick(at(1), none);
    ASSERT_TRUE(line);
    EXPECT_EQ(line->level, state::CounterLevel::note);
    EXPECT_EQ(line->text, "in the last 1 s: 1 idle client connection closed");
}

TEST_F(CounterReportTest, AtMostOneLineAMinuteWithAllThatCameMeanwhile) {
    state::bump(board.counters(0).retries);
    EXPECT_TRUE(report.tick(at(1), none));
    for (int second = 2; second < 61; ++second) {
        state::bump(board.counters(0).retries);
        EXPECT_FALSE(report.tick(at(second), none)) << second;
    }
    EXPECT_EQ(text(report.tick(at(61), none)), "in the last 60 s: 59 retries");
    EXPECT_FALSE(report.tick(at(121), none));
}

TEST_F(CounterReportTest, TimeOfQuietIsNotCounted) {
    state::bump(board.counters(0).retries);
    EXPECT_TRUE(report.tick(at(1), none));
    EXPECT_FALSE(report.tick(at(3600), none));
    state::bump(board.counters(0).retries);
    EXPECT_EQ(text(report.tick(at(3601), none)), "in the last 1 s: 1 retry");
}

TEST_F(CounterReportTest, TheRestComesAtTheEndHoweverSoon) {
    state::bump(board.counters(0).retries);
    EXPECT_TRUE(report.tick(at(1), none));
    state::bump(board.control().lookups_failed);
    EXPECT_FALSE(report.tick(at(2), none));
    EXPECT_EQ(text(report.rest(at(4), none)), "in the last 3 s: 1 name lookup failed");
    EXPECT_FALSE(report.rest(at(5), none));
}

TEST_F(CounterReportTest, TotalsNameEverythingThatIsNotZero) {
    EXPECT_EQ(report.totals(), "served 0 requests on 0 connections");
    state::bump(board.counters(0).requests);
    state::bump<std::uint64_t>(board.counters(0).accepted, 2);
    EXPECT_EQ(report.totals(), "served 1 request on 2 connections");
    state::bump(board.counters(1).backend_broken);
    state::bump<std::uint64_t>(board.control().passed, 5);
    EXPECT_EQ(report.totals(),
              "served 1 request on 2 connections; in all: 1 backend connection broken before an "
              "answer, 5 checks passed");
}

TEST(Counters, EveryRowHasItsOwnCellNameAndWords) {
    std::set<std::string> names;
    std::set<std::string> words;
    state::WorkerCounters worker;
    state::ControlCounters control;
    std::set<const void*> cells;
    const auto look = [&](const void* cell, const state::CounterText& text) {
        EXPECT_TRUE(cells.insert(cell).second) << text.name;
        EXPECT_TRUE(names.insert(text.name).second) << text.name;
        EXPECT_TRUE(words.insert(text.one).second) << text.one;
        EXPECT_TRUE(words.insert(text.many).second) << text.many;
        EXPECT_EQ(std::string(text.name).find_first_not_of("abcdefghijklmnopqrstuvwxyz_"),
                  std::string::npos)
            << text.name;
    };
    for (const state::WorkerCounterRow& row : state::kWorkerCounters) {
        look(&(worker.*row.cell), row.text);
    }
    for (const state::ControlCounterRow& row : state::kControlCounters) {
        look(&(control.*row.cell), row.text);
    }
    EXPECT_FALSE(cells.contains(&worker.ticks));
}

// Workers count in different cache lines, so none waits for another.
TEST(Counters, WorkersShareNoCacheLine) {
    state::Board board(2, 1, 1);
    const auto line_of = [](const void* cell) {
        return reinterpret_cast<std::uintptr_t>(cell) / 64;
    };
    std::set<std::uintptr_t> lines;
    for (const state::WorkerCounterRow& row : state::kWorkerCounters) {
        lines.insert(line_of(&(board.counters(0).*row.cell)));
    }
    lines.insert(line_of(&board.counters(0).connections));
    for (const state::WorkerCounterRow& row : state::kWorkerCounters) {
        EXPECT_FALSE(lines.contains(line_of(&(board.counters(1).*row.cell)))) << row.text.name;
        EXPECT_FALSE(lines.contains(line_of(&(board.control().*state::kControlCounters[0].cell))));
    }
}

// "Backend head timeouts" alone do not say where to look.
TEST_F(CounterReportTest, NamesTheServersOfAFault) {
    config::Server one;
    config::Server three;
    one.text = "minio1:9000";
    three.text = "minio3:9000";
    state::Snapshot snapshot;
    state::Group& group = snapshot.sites.emplace_back().groups.emplace_back();
    for (const config::Server* const server : {&one, &three}) {
        state::GroupServer& added = group.servers.emplace_back();
        added.config = server;
        added.figures = *board.add_cell(state::CellKind::server);
    }
    const auto fail = [&](std::size_t worker, std::size_t server, std::uint64_t times) {
        constexpr auto kFault = static_cast<std::size_t>(state::ServerFault::head_timeout);
        state::bump(board.counters(worker).backend_head_timeouts, times);
        state::bump(
            board.server_figures(worker, group.servers[server].figures.index).faults[kFault],
            times);
    };
    fail(0, 0, 1);
    fail(0, 1, 5);
    fail(1, 1, 6);
    EXPECT_EQ(text(report.tick(at(1), snapshot)),
              "in the last 1 s: 12 backend head timeouts (minio3:9000 11, minio1:9000 1)");
    fail(1, 0, 2);
    EXPECT_EQ(text(report.rest(at(2), snapshot)),
              "in the last 1 s: 2 backend head timeouts (minio1:9000 2)");
}

}  // namespace
}  // namespace s3gate::control
