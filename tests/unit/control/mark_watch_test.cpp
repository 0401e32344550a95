// The lines about passive marks, which workers only count.

#include "mark_watch.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "s3gate/state/passive_marks.hpp"
#include "s3gate/state/slot_directory.hpp"

namespace s3gate::control {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

class MarkWatchTest : public testing::Test {
  protected:
    MarkWatchTest() {
        auto config = std::make_shared<config::Config>();
        config::Site& site = config->sites.emplace_back();
        site.backends.name = "group";
        for (const char* const host : {"10.0.0.1", "many"}) {
            config::Server& server = site.backends.servers.emplace_back();
            server.host = host;
            server.port = 9000;
            server.text = std::string(host) + ":9000";
        }
        const state::Resolution names{
            {"many", {*base::IpAddress::parse("10.0.1.1"), *base::IpAddress::parse("10.0.1.2")}}};
        snapshot = state::build_snapshot(config, names, directory);
    }

    const state::Group& group() const { return snapshot->sites[0].default_group(); }
    // As a worker does: the mark first, then its count.
    void mark(std::size_t place) {
        const state::Peer& peer = group().peers[place];
        set(peer);
        count(peer, 0);
    }
    void set(const state::Peer& peer) {
        board.replace_passive(peer.slot, board.passive(peer.slot), policy::state_of({1, true, 10}));
    }
    void clear(std::size_t place) {
        const state::Peer& peer = group().peers[place];
        state::count_success(board, peer.slot);
        count(peer, 1);
    }
    std::vector<std::string> look(seconds later = seconds{1}) {
        now += later;
        watch.look(*snapshot, board, now);
        lines.tick(now);
        return std::exchange(written, {});
    }

    state::Board board{2};
    state::SlotDirectory directory{board};
    std::shared_ptr<const state::Snapshot> snapshot;
    std::vector<std::string> written;
    RepeatedLines lines{[this](auto, const std::string& text) { written.push_back(text); }};
    MarkWatch watch{lines};
    base::TimePoint now{seconds{100}};

  private:
    void count(const state::Peer& peer, std::size_t change) {
        const std::uint32_t server = group().servers[peer.server].figures.index;
        state::bump(board.server_figures(1, server).marks[change]);
    }
};

TEST_F(MarkWatchTest, AMarkAndItsEndAreToldOnce) {
    EXPECT_THAT(look(), IsEmpty());
    mark(0);
    EXPECT_THAT(look(), ElementsAre("group: 10.0.0.1:9000 is passively marked after 3 failures"));
    EXPECT_THAT(look(), IsEmpty());
    clear(0);
    EXPECT_THAT(look(), ElementsAre("group: 10.0.0.1:9000 is no longer passively marked"));
    EXPECT_THAT(look(), IsEmpty());
}

TEST_F(MarkWatchTest, AMarkThatWasShortIsToldWithItsEndLast) {
    mark(0);
    clear(0);
    EXPECT_THAT(look(), ElementsAre("group: 10.0.0.1:9000 is passively marked after 3 failures",
                                    "group: 10.0.0.1:9000 is no longer passively marked"));
}

TEST_F(MarkWatchTest, AMarkThatCameAgainIsToldLast) {
    mark(0);
    clear(0);
    mark(0);
    EXPECT_THAT(look(), ElementsAre("group: 10.0.0.1:9000 is no longer passively marked",
                                    "group: 10.0.0.1:9000 is passively marked after 3 failures (1 "
                                    "more line about it in the last 1 s)"));
}

TEST_F(MarkWatchTest, AnAddressOfSeveralIsNamed) {
    mark(2);
    EXPECT_THAT(look(), ElementsAre("group: many:9000 (10.0.1.2:9000) is passively marked after 3 "
                                    "failures"));
    mark(1);
    EXPECT_THAT(look(), ElementsAre("group: many:9000 (10.0.1.1:9000) is passively marked after 3 "
                                    "failures"));
    clear(2);
    EXPECT_THAT(look(),
                ElementsAre("group: many:9000 (10.0.1.2:9000) is no longer passively marked"));
}

TEST_F(MarkWatchTest, AMarkThatIsCountedLaterIsToldThen) {
    set(group().peers[0]);
    EXPECT_THAT(look(), IsEmpty());
    mark(0);
    EXPECT_THAT(look(), ElementsAre("group: 10.0.0.1:9000 is passively marked after 3 failures"));
}

TEST_F(MarkWatchTest, AStormIsALineAMinute) {
    for (int i = 0; i < 59; ++i) {
        mark(0);
        clear(0);
        const auto now_written = look();
        EXPECT_EQ(now_written.size(), i == 0 ? 2u : 0u);
    }
    EXPECT_THAT(look(seconds{2}), ElementsAre("group: 10.0.0.1:9000 is no longer passively marked "
                                              "(115 more lines about it in the last 60 s)"));
}

}  // namespace
}  // namespace s3gate::control
