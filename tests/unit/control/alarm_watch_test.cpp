// The lines about alarms: which alarm has an end that is told, and what a successor gets.

#include "alarm_watch.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "s3gate/state/slot_directory.hpp"

namespace s3gate::control {
namespace {

using policy::AttemptClass;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class AlarmWatchTest : public testing::Test {
  protected:
    using Hosts = std::vector<std::string>;

    AlarmWatchTest() { use({"10.0.0.1", "10.0.0.2"}); }

    void use(const Hosts& hosts, bool alarms = true) {
        auto config = std::make_shared<config::Config>();
        config->log.alarms = alarms;
        config::Site& site = config->sites.emplace_back();
        site.backends.name = "group";
        for (const std::string& host : hosts) {
            config::Server& server = site.backends.servers.emplace_back();
            server.host = host;
            server.port = 9000;
            server.text = host + ":9000";
        }
        snapshot = state::build_snapshot(config, {}, directory);
    }
    void answer(std::size_t server, AttemptClass what, int times = 1) {
        const std::uint32_t cell = snapshot->sites[0].default_group().servers[server].figures.index;
        for (int i = 0; i < times; ++i) {
            state::bump(board.server_figures(0, cell).attempts[static_cast<std::size_t>(what)]);
        }
    }
    std::vector<std::string> look(AlarmWatch& by, int times = 1) {
        for (int i = 0; i < times; ++i) {
            now += seconds{1};
            by.look(*snapshot, board, now);
            lines.tick(now);
        }
        return std::exchange(written, {});
    }
    // The second server answers 5xx alone.
    void begin_alarm() {
        look(watch);
        answer(0, AttemptClass::success, 100);
        answer(1, AttemptClass::server_error, 40);
        ASSERT_THAT(look(watch), ElementsAre(kBegin));
    }

    const std::string kBegin =
        "group: 10.0.0.2:9000 answers 5xx: 40 of 40 in 10 s (others 0 of 100)";
    state::Board board{1};
    state::SlotDirectory directory{board};
    std::shared_ptr<const state::Snapshot> snapshot;
    std::vector<std::string> written;
    RepeatedLines lines{[this](auto, const std::string& text) { written.push_back(text); }};
    AlarmWatch watch{lines};
    base::TimePoint now{seconds{100}};
};

TEST_F(AlarmWatchTest, AnAlarmIsToldAndSoIsItsEnd) {
    begin_alarm();
    EXPECT_THAT(look(watch, 30), ElementsAre(HasSubstr("group: 10.0.0.2:9000: 5xx answers are over "
                                                       "after 14 s: 40 of 40 answers")));
}

TEST_F(AlarmWatchTest, AReloadIsNeitherABeginNorAnEnd) {
    begin_alarm();
    use({"10.0.0.1", "10.0.0.2", "10.0.0.3"});
    EXPECT_THAT(look(watch, 3), IsEmpty());
    EXPECT_THAT(watch.alarms(now), SizeIs(1));
}

TEST_F(AlarmWatchTest, AServerThatIsNoLongerConfiguredHasAnEnd) {
    begin_alarm();
    use({"10.0.0.1"});
    EXPECT_THAT(look(watch), ElementsAre("group: 10.0.0.2:9000: not watched for 5xx answers any "
                                         "more after 1 s: 40 of 40 answers"));
    EXPECT_THAT(watch.alarms(now), IsEmpty());
    EXPECT_THAT(look(watch, 100), IsEmpty());
}

TEST_F(AlarmWatchTest, AlarmsThatAreSwitchedOffHaveAnEnd) {
    begin_alarm();
    use({"10.0.0.1", "10.0.0.2"}, false);
    EXPECT_THAT(look(watch), ElementsAre(HasSubstr("not watched for 5xx answers any more")));
    EXPECT_THAT(look(watch, 100), IsEmpty());
}

TEST_F(AlarmWatchTest, ASuccessorNamesTheServerAndTellsTheEnd) {
    begin_alarm();
    const auto handed = watch.hand_over();
    ASSERT_THAT(handed, SizeIs(1));
    EXPECT_EQ(handed[0].server, "10.0.0.2:9000");
    now += seconds{70};
    lines.tick(now);
    AlarmWatch successor(lines);
    successor.resume(handed, *snapshot, now);
    EXPECT_THAT(std::exchange(written, {}),
                ElementsAre(kBegin + ", as the process before told 1 min ago"));
    EXPECT_THAT(successor.alarms(now), SizeIs(1));
    EXPECT_THAT(look(successor, 30),
                ElementsAre("group: 10.0.0.2:9000: 5xx answers are over after 1 min: 80 of 80 "
                            "answers"));
}

TEST_F(AlarmWatchTest, ASuccessorLeavesOutWhatItDoesNotKnow) {
    const HandOver::Alarm known{"group", "10.0.0.2:9000", "errors", 1, {5, 5}, "x"};
    HandOver::Alarm of_group = known;
    of_group.group = "other";
    HandOver::Alarm of_server = known;
    of_server.server = "10.9.9.9:9000";
    HandOver::Alarm of_kind = known;
    of_kind.kind = "mood";
    watch.resume({of_group, of_server, of_kind}, *snapshot, now);
    EXPECT_THAT(written, IsEmpty());
    EXPECT_THAT(look(watch, 20), IsEmpty());
    HandOver::Alarm from_the_future = known;
    from_the_future.began = 1'000'000;
    watch.resume({from_the_future}, *snapshot, now);
    EXPECT_THAT(look(watch, 20), ElementsAre(HasSubstr("told 0 s ago"), HasSubstr("are over")));
}

TEST_F(AlarmWatchTest, ASuccessorWithoutAlarmsTellsNone) {
    use({"10.0.0.1", "10.0.0.2"}, false);
    watch.resume({{"group", "10.0.0.2:9000", "errors", 1, {5, 5}, "x"}}, *snapshot, now);
    EXPECT_THAT(look(watch, 20), IsEmpty());
}

}  // namespace
}  // namespace s3gate::control
