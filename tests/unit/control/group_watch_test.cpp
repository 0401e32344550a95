// The log messages about a group without a usable server: once per outage, even if servers flap.

#include "group_watch.hpp"

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <memory>
#include <sstream>
#include <string>

#include "s3gate/state/passive_marks.hpp"

#include "s3gate/state/slot_directory.hpp"

namespace s3gate::control {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class GroupWatchTest : public testing::Test {
  protected:
    GroupWatchTest() {
        auto logger = std::make_shared<spdlog::logger>(
            "test", std::make_shared<spdlog::sinks::ostream_sink_st>(log));
        logger->set_pattern("%l %v");
        before_ = spdlog::default_logger();
        spdlog::set_default_logger(logger);
        site.backends.name = "group";
    }
    ~GroupWatchTest() override { spdlog::set_default_logger(before_); }

    config::Server& add_server(const std::string& host) {
        config::Server& server = site.backends.servers.emplace_back();
        server.host = host;
        server.port = 9000;
        server.text = host + ":9000";
        return server;
    }

    void build() {
        auto config = std::make_shared<config::Config>();
        config->sites = {site};
        snapshot = state::build_snapshot(config, {}, directory);
    }

    // The messages after `later` has passed.
    std::string look(base::Duration later = seconds{1}) {
        now += later;
        watch.look(*snapshot, board, now);
        lines.tick(now);
        const std::string said = log.str();
        log.str("");
        return said;
    }

    void set_all(bool up) {
        for (const state::Peer& peer : snapshot->sites[0].default_group().peers) {
            board.set_up(peer.slot, up);
        }
    }

    std::ostringstream log;
    config::Site site;
    state::Board board{1};
    state::SlotDirectory directory{board};
    std::shared_ptr<const state::Snapshot> snapshot;
    RepeatedLines lines{[](spdlog::level::level_enum level, const std::string& text) {
        spdlog::log(level, "{}", text);
    }};
    GroupWatch watch{lines};
    base::TimePoint now{seconds{1000}};

  private:
    std::shared_ptr<spdlog::logger> before_;
};

constexpr const char* kTrying = "error No server of group is usable: trying all\n";
constexpr const char* kRefusing = "error No server of group is usable: refusing\n";

TEST_F(GroupWatchTest, AnOutageIsOneErrorAndItsEndOneInfo) {
    add_server("10.0.0.1");
    add_server("10.0.0.2");
    build();
    EXPECT_EQ(look(), "");
    board.set_up(0, false);
    EXPECT_EQ(look(), "") << "one of two is left";
    set_all(false);
    EXPECT_EQ(look(), kTrying);
    EXPECT_EQ(look(), "");
    EXPECT_EQ(look(seconds{60}), "");
    board.set_up(1, true);
    EXPECT_EQ(look(), "") << "it may be a flap";
    EXPECT_EQ(look(GroupWatch::kSettled - milliseconds{1}), "");
    EXPECT_EQ(look(milliseconds{1}), "info A server of group is usable again, after 62 s\n");
    EXPECT_EQ(look(), "");
    set_all(false);
    EXPECT_EQ(look(), kTrying) << "the next outage is news";
}

TEST_F(GroupWatchTest, AGroupThatFlapsIsOneError) {
    add_server("10.0.0.1");
    build();
    set_all(false);
    EXPECT_EQ(look(), kTrying);
    for (int i = 0; i < 100; ++i) {
        set_all(true);
        EXPECT_EQ(look(GroupWatch::kSettled / 2), "");
        set_all(false);
        EXPECT_EQ(look(GroupWatch::kSettled / 2), "");
    }
    set_all(true);
    EXPECT_EQ(look(), "");
    EXPECT_EQ(look(GroupWatch::kSettled), "info A server of group is usable again, after 301 s\n");
}

TEST_F(GroupWatchTest, MarksAndChecksTogetherMakeAnOutage) {
    add_server("10.0.0.1");
    add_server("10.0.0.2");
    build();
    board.set_up(0, false);
    const policy::PassiveRule rule{1, 1000};
    ASSERT_EQ(state::count_failure(board, snapshot->sites[0].default_group().peers, 1, rule, 10),
              state::MarkChange::set);
    EXPECT_EQ(look(), kTrying);
    EXPECT_EQ(look(seconds{30}), "") << "a trial that is due has not been passed";
    state::count_success(board, 1);
    EXPECT_EQ(look(), "");
    EXPECT_EQ(look(GroupWatch::kSettled), "info A server of group is usable again, after 31 s\n");
}

TEST_F(GroupWatchTest, AGroupThatIsGoneIsForgotten) {
    add_server("10.0.0.1");
    build();
    set_all(false);
    EXPECT_EQ(look(), kTrying);
    site.backends.name = "other";
    build();
    EXPECT_EQ(look(), "");
    site.backends.name = "group";
    build();
    set_all(true);
    EXPECT_EQ(look(), "");
    EXPECT_EQ(look(GroupWatch::kSettled), "") << "nobody was told that it is here again";
}

TEST_F(GroupWatchTest, SaysThatItRefuses) {
    add_server("10.0.0.1");
    site.when_all_down = config::AllDown::refuse;
    build();
    set_all(false);
    EXPECT_EQ(look(), kRefusing);
}

TEST_F(GroupWatchTest, NothingIsTriedWhereNothingIsKnownOrAllIsOut) {
    add_server("unresolved");
    add_server("10.0.0.1").drained = true;
    build();
    EXPECT_EQ(look(), kRefusing);
}

TEST_F(GroupWatchTest, CountsTheServersThatRequestsGoTo) {
    add_server("10.0.0.1");
    add_server("10.0.0.2");
    add_server("unresolved");
    add_server("10.0.0.4").down = true;
    add_server("10.0.0.5").drained = true;
    build();
    ServerCount count = count_servers(*snapshot, board);
    EXPECT_EQ(count.up, 2U);
    EXPECT_EQ(count.all, 3U) << "what the configuration takes out is missed by nobody";
    board.set_up(1, false);
    count = count_servers(*snapshot, board);
    EXPECT_EQ(count.up, 1U);
    EXPECT_EQ(count.all, 3U);
}

}  // namespace
}  // namespace s3gate::control
