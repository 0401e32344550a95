#include "old_processes.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "s3gate/state/slot_directory.hpp"
#include "succession.hpp"

namespace s3gate::control {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

TEST(OldProcessReport, IsReadAsItWasWritten) {
    OldProcessReport report;
    report.pid = 4711;
    report.version = "0.1.0";
    report.connections = 3;
    report.requests = 2;
    report.room = {{"group", "node:9000", 1}};

    const auto read = read_report(text_of(report));

    ASSERT_TRUE(read);
    EXPECT_EQ(read->pid, 4711);
    EXPECT_EQ(read->version, "0.1.0");
    EXPECT_EQ(read->connections, 3);
    EXPECT_EQ(read->requests, 2);
    ASSERT_THAT(read->room, SizeIs(1));
    EXPECT_EQ(read->room.front().server, "node:9000");
    EXPECT_EQ(read->requests_at({"group", "node:9000"}), 2)
        << "an earlier version does not say where: each of them may be there";

    EXPECT_EQ(read->mark, 0);
    report.mark = 42;
    report.at_servers = {{"group", "node:9000", 1}};
    const auto exact = read_report(text_of(report));
    ASSERT_TRUE(exact);
    EXPECT_EQ(exact->mark, 42);
    EXPECT_EQ(exact->requests_at({"group", "node:9000"}), 1);
    EXPECT_EQ(exact->requests_at({"other", "node:9000"}), 0);
}

TEST(OldProcessReport, OfGarbageIsNone) {
    EXPECT_FALSE(read_report(""));
    EXPECT_FALSE(read_report("[]"));
    EXPECT_FALSE(read_report(R"({"pid": "x"})"));
    EXPECT_FALSE(read_report("\xff\x00"));
}

// A group with one server of max_connections 5, and an old process at the other end of a link.
class OldProcessesTest : public testing::Test {
  protected:
    OldProcessesTest() { use(5); }
    ~OldProcessesTest() override {
        for (const int end : ends) {
            ::close(end);
        }
    }

    void use(unsigned max_connections) {
        config::Site site;
        site.name = "site";
        site.backends.name = "group";
        config::Server& server = site.backends.servers.emplace_back();
        server.host = "127.0.0.1";
        server.port = 9000;
        server.text = "127.0.0.1:9000";
        server.max_connections = max_connections;
        auto config = std::make_shared<config::Config>();
        config->sites = {site};
        snapshot = state::build_snapshot(config, {}, directory);
    }

    // The oldest first; the last one is the process before, which has not said who is main yet.
    void add(std::size_t count) {
        std::vector<base::Descriptor> links;
        for (std::size_t i = 0; i < count; ++i) {
            std::array<int, 2> pair{};
            EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
            links.emplace_back(pair[0]);
            ends.push_back(pair[1]);
        }
        processes.add(std::move(links), std::move(known));
        known.clear();
    }
    void add_and_become_main(std::size_t count) {
        add(count);
        say(ends.back(), "you-are-main");
        EXPECT_EQ(heard(ends.back()), "i-am-main\n");
    }

    void say(int end, const std::string& line) {
        EXPECT_EQ(::send(end, (line + "\n").data(), line.size() + 1, 0),
                  static_cast<ssize_t>(line.size() + 1));
        settle();
    }
    void say_room(int end, int requests) {
        OldProcessReport report;
        report.pid = 1;
        report.room = {{"group", "127.0.0.1:9000", requests}, {"other", "x", 7}};
        say(end, text_of(report));
    }
    void settle() {
        context.restart();
        context.run_for(milliseconds{50});
    }
    std::string heard(int end) {
        std::array<char, 256> text{};
        const ssize_t got = ::recv(end, text.data(), text.size(), MSG_DONTWAIT);
        return {text.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0))};
    }
    std::int32_t occupied() const {
        return board.occupied(snapshot->sites[0].default_group().servers[0].room.index);
    }

    boost::asio::io_context context;
    state::Board board{1};
    state::SlotDirectory directory{board};
    std::shared_ptr<const state::Snapshot> snapshot;
    int main_calls = 0;
    OldProcesses processes{{context, board, [this] { return snapshot; }, [this] { ++main_calls; },
                            [this](bool is_on_standby) { standby = is_on_standby; },
                            [this](const boost::json::array& list) { overrides = list; },
                            [this] { ++reopen_calls; }}};
    int reopen_calls = 0;
    std::optional<bool> standby;
    std::optional<boost::json::array> overrides;
    std::vector<OldProcessReport> known;  // of the process before
    std::vector<int> ends;
};

TEST_F(OldProcessesTest, RoomThatTheyHoldCounts) {
    add_and_become_main(2);
    say_room(ends[0], 2);
    say_room(ends[1], 1);
    EXPECT_EQ(occupied(), 3);
    say_room(ends[0], 1);
    EXPECT_EQ(occupied(), 2);
}

// A report of a process that has counted so many retries, and speaks for these others.
OldProcessReport counted(pid_t pid, std::uint64_t retries, std::vector<pid_t> ended = {}) {
    OldProcessReport report;
    report.pid = pid;
    report.figures.emplace();
    report.figures->counters["retries"] = retries;
    report.figures->gauges.parked = 1;
    report.has_all_figures = true;
    report.ended = std::move(ended);
    return report;
}

TEST_F(OldProcessesTest, WhatTheyCountedStaysWhenTheyEnd) {
    add_and_become_main(2);
    EXPECT_FALSE(processes.have_told_figures());
    say(ends[0], text_of(counted(1, 3)));
    say(ends[1], text_of(counted(2, 4)));
    EXPECT_TRUE(processes.have_told_figures());
    EXPECT_EQ(processes.figures().counters["retries"], 7u);
    EXPECT_EQ(processes.figures().gauges.parked, 2);
    ::close(std::exchange(ends[0], -1));
    settle();
    EXPECT_EQ(processes.figures().counters["retries"], 7u);
    EXPECT_EQ(processes.figures().gauges.parked, 1) << "what is in progress ends with the process";
    EXPECT_EQ(processes.ended_figures().counters["retries"], 3u);
    EXPECT_THAT(processes.ended(), ElementsAre(1));
}

// It ended while this process started: the one before has its last word.
TEST_F(OldProcessesTest, WhatTheOneBeforeSpeaksForIsCountedOnce) {
    known = {counted(1, 3), counted(2, 4)};
    add(2);
    EXPECT_EQ(processes.figures().counters["retries"], 7u);
    EXPECT_FALSE(processes.have_told_figures()) << "that was another process' word";
    ::close(std::exchange(ends[0], -1));
    say(ends[1], "you-are-main");
    say(ends[1], text_of(counted(2, 9, {1})));
    EXPECT_EQ(processes.figures().counters["retries"], 9u);
    ::close(std::exchange(ends[1], -1));
    settle();
    EXPECT_EQ(processes.figures().counters["retries"], 9u);
}

// Where it comes back, this process counts it from 0. What a living old process still tells of it
// must not make the sum begin higher.
TEST_F(OldProcessesTest, WhatWasCountedForAServerThatLeftIsForgotten) {
    add_and_become_main(2);
    const ServerName here{"group", "127.0.0.1:9000"};
    const ServerName gone{"group", "gone:9000"};
    const auto told = [&](pid_t pid) {
        OldProcessReport report = counted(pid, 1);
        report.figures->servers[here].attempts[4] = 2;
        report.figures->servers[gone].attempts[4] = 3;
        report.figures->sites["site"].keys[0] = 4;
        report.figures->sites["gone"].keys[0] = 5;
        report.figures->buckets[{"gone", "photos"}].requests[1] = 6;
        return text_of(report);
    };
    say(ends[0], told(1));
    say(ends[1], told(2));
    ::close(std::exchange(ends[0], -1));
    settle();
    EXPECT_EQ(processes.figures().servers[gone].attempts[4], 6u);

    processes.forget_absent(*snapshot);
    say(ends[1], told(2));
    const ProcessFigures left = processes.figures();
    EXPECT_FALSE(left.servers.contains(gone));
    EXPECT_FALSE(left.sites.contains("gone"));
    EXPECT_EQ(left.servers.at(here).attempts[4], 4u);
    EXPECT_EQ(left.sites.at("site").keys[0], 8u);
    EXPECT_EQ(left.buckets.at({"gone", "photos"}).requests[1], 12u)
        << "the figures of buckets do not begin again";
    ::close(std::exchange(ends[1], -1));
    settle();
    EXPECT_FALSE(processes.ended_figures().servers.contains(gone));
}

TEST_F(OldProcessesTest, OneOfAVersionWithoutFiguresTellsNone) {
    add_and_become_main(1);
    say_room(ends[0], 1);
    EXPECT_TRUE(processes.have_told_figures());
    EXPECT_TRUE(processes.figures().counters.empty());
}

TEST_F(OldProcessesTest, RoomThatTheOneBeforeKnewCountsAtOnce) {
    known.resize(2);
    known[0].room = {{"group", "127.0.0.1:9000", 2}};
    known[1].room = {{"group", "127.0.0.1:9000", 1}};
    add(2);
    EXPECT_EQ(occupied(), 3);
    say_room(ends[1], 0);
    EXPECT_EQ(occupied(), 2) << "a report of its own replaces that";
}

TEST_F(OldProcessesTest, EachIsToldTheRoomOfAllOthers) {
    add_and_become_main(2);
    board.add_occupied(snapshot->sites[0].default_group().servers[0].room.index, 1);
    say_room(ends[0], 2);
    EXPECT_EQ(heard(ends[0]), R"(room [{"group":"group","server":"127.0.0.1:9000","requests":1}])"
                              "\n");
    say_room(ends[1], 0);
    EXPECT_EQ(heard(ends[1]), R"(room [{"group":"group","server":"127.0.0.1:9000","requests":3}])"
                              "\n");
    say_room(ends[1], 0);
    EXPECT_EQ(heard(ends[1]), "") << "nothing has changed";
}

TEST_F(OldProcessesTest, RoomIsFreeAtTheirEnd) {
    add_and_become_main(2);
    say_room(ends[0], 2);
    say_room(ends[1], 2);
    for (const int end : ends) {
        ::shutdown(end, SHUT_RDWR);
    }
    settle();
    EXPECT_EQ(occupied(), 0);
    EXPECT_TRUE(processes.empty());
}

TEST_F(OldProcessesTest, RoomAtAServerThatLeftIsForgotten) {
    add_and_become_main(1);
    say_room(ends[0], 2);
    const auto before = snapshot;
    use(0);
    say_room(ends[0], 2);
    EXPECT_EQ(board.occupied(before->sites[0].default_group().servers[0].room.index), 0);
}

TEST_F(OldProcessesTest, RoomIsFreeWhereAnotherProcessCommandsThem) {
    add_and_become_main(1);
    say_room(ends[0], 2);
    processes.release();
    settle();
    EXPECT_EQ(occupied(), 0);
    EXPECT_TRUE(processes.empty());
}

TEST_F(OldProcessesTest, HearEachCommand) {
    add_and_become_main(2);
    processes.tell_all(link_command::kReopenLogs);
    EXPECT_EQ(heard(ends[0]), "reopen-logs\n");
    EXPECT_EQ(heard(ends[1]), "reopen-logs\n");
}

TEST_F(OldProcessesTest, TheOldestBeyondFourEndTheirTunnels) {
    add_and_become_main(6);
    EXPECT_EQ(heard(ends[0]), "hurry\n");
    EXPECT_EQ(heard(ends[1]), "hurry\n");
    EXPECT_EQ(heard(ends[2]), "");
}

TEST_F(OldProcessesTest, FourKeepTheirTunnels) {
    add_and_become_main(4);
    EXPECT_EQ(heard(ends[0]), "");
}

TEST_F(OldProcessesTest, TheOneBeforeSaysWhoIsMain) {
    add(1);
    EXPECT_EQ(main_calls, 0);
    say(ends[0], "you-are-main");
    EXPECT_EQ(main_calls, 1);
    say(ends[0], "you-are-main");
    say(ends[0], "something of another version");
    EXPECT_EQ(main_calls, 1);
    EXPECT_FALSE(processes.empty());
}

TEST_F(OldProcessesTest, WhereTheOneBeforeCrashesThisOneIsMain) {
    add(2);
    ::shutdown(ends[1], SHUT_RDWR);
    settle();
    EXPECT_EQ(main_calls, 1);
    say_room(ends[0], 2);
    EXPECT_EQ(occupied(), 2);
}

// Until then that one reads the reports of the others.
TEST_F(OldProcessesTest, AreFollowedOnlyByTheMainProcess) {
    add(2);
    say_room(ends[0], 2);
    EXPECT_EQ(occupied(), 0);
    say(ends[1], "you-are-main");
    settle();
    EXPECT_EQ(occupied(), 2);
}

TEST_F(OldProcessesTest, TheOneBeforePassesOnWhatAnOperatorCommanded) {
    add(1);
    say(ends[0], "standby");
    EXPECT_EQ(standby, true);
    say(ends[0], "active");
    EXPECT_EQ(standby, false);
    say(ends[0], R"(overrides {"no": "list"})");
    say(ends[0], "overrides garbage");
    EXPECT_FALSE(overrides);
    say(ends[0], R"(overrides [{"group": "g"}])");
    ASSERT_TRUE(overrides);
    EXPECT_EQ(overrides->size(), 1U);
}

TEST_F(OldProcessesTest, TheOneBeforeSaysThatLogsWereReopened) {
    add(1);
    say(ends[0], "reopen-logs");
    EXPECT_EQ(reopen_calls, 1);
}

TEST_F(OldProcessesTest, AreKnownInTheirOrder) {
    add_and_become_main(2);
    say_room(ends[0], 0);
    const auto reports = processes.reports();
    ASSERT_THAT(reports, SizeIs(2));
    EXPECT_EQ(reports[0].pid, 1);
    EXPECT_EQ(reports[1].pid, 0);
    EXPECT_THAT(processes.copy_links(), SizeIs(2));
}

// Verdicts and marks of the process before.

TEST_F(OldProcessesTest, AFreshBackendIsNotHandedOver) {
    EXPECT_THAT(backends_of(*snapshot, board), IsEmpty());
}

TEST_F(OldProcessesTest, VerdictsAndMarksAreRestored) {
    const state::Peer& peer = snapshot->sites[0].default_group().peers[0];
    board.set_up(peer.slot, false);
    const auto now = static_cast<std::uint64_t>(
        std::chrono::duration_cast<milliseconds>(base::Clock::now().time_since_epoch()).count());
    board.replace_passive(peer.slot, {}, policy::state_of({2, true, now - 1000}));
    const auto backends = backends_of(*snapshot, board);
    ASSERT_THAT(backends, SizeIs(1));

    state::Board fresh{1};
    state::SlotDirectory names{fresh};
    const auto same = state::build_snapshot(snapshot->config, {}, names);
    restore(backends, *same, fresh);

    const state::Peer& its = same->sites[0].default_group().peers[0];
    EXPECT_FALSE(fresh.is_up(its.slot));
    const policy::PassiveFacts facts = policy::facts_of(fresh.passive(its.slot));
    EXPECT_TRUE(facts.is_marked);
    EXPECT_EQ(facts.fails, 2u);
    EXPECT_NEAR(static_cast<double>(facts.since_ms), static_cast<double>(now - 1000), 500);
}

TEST_F(OldProcessesTest, ABackendThatLeftIsNotRestored) {
    HandOver::Backend backend;
    backend.group = "group";
    backend.server = "127.0.0.1:9000";
    backend.address = "127.0.0.2:9000";
    backend.is_up = false;
    restore({backend}, *snapshot, board);
    EXPECT_TRUE(board.is_up(snapshot->sites[0].default_group().peers[0].slot));
}

}  // namespace
}  // namespace s3gate::control
