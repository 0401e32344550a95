// What operators command for servers (`s3gate ctl drain`, `down`, `maintain`): requests that are
// there go on, further ones go elsewhere, connections are not kept.
#include "scenario.hpp"

namespace s3gate::sim {
namespace {

using state::Override;

class Command : public testing::TestWithParam<Override> {};
INSTANTIATE_TEST_SUITE_P(All, Command,
                         testing::Values(Override::drained, Override::down, Override::maintained));

TEST_P(Command, LetsRequestsInProgressEndAndKeepsNoConnection) {
    Stage stage;
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(request("GET"));
    stage.command('a', GetParam());
    EXPECT_FALSE(stage.visit('a').is_closed());
    expect_from(stage.ask(request("GET")), 'b');
    stage.say(stage.visit('a'), answer(200, "from a"));
    expect_from(client, 'a');
    EXPECT_TRUE(stage.visit('a').is_closed()) << "nobody would use it";
}

TEST_P(Command, ClosesParkedConnections) {
    Stage stage;
    expect_from(stage.ask(request("GET")), 'a');
    EXPECT_FALSE(stage.visit('a').is_closed());
    stage.command('a', GetParam());
    EXPECT_TRUE(stage.visit('a').is_closed());
    stage.command('a', Override::none);
    expect_from(stage.ask(request("GET")), 'a');
}

TEST_P(Command, ARetryGoesPastTheServer) {
    Stage stage;
    stage.command('b', GetParam());
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(request("GET"));
    stage.take_down('a');
    expect_from(client, 'c');
    expect_record(stage, 200, "ac");
}

TEST_P(Command, IsNoLastResort) {
    Stage stage;
    stage.each([](Node& node) { node.usual = silence(); });
    stage.command('a', GetParam());
    stage.set_up('b', false);
    stage.set_up('c', false);
    ClientPeer& client = stage.ask(request("GET"));
    EXPECT_EQ(stage.node('a').asked, 0u);
    EXPECT_EQ(stage.node('b').asked, 1u) << "down by the checks, but nobody took it out";
    stage.say(stage.visit('b'), answer(200, "from b"));
    expect_from(client, 'b');
}

TEST_P(Command, ForAllLeavesNobody) {
    Stage stage(2);
    stage.command('a', GetParam());
    stage.command('b', GetParam());
    expect_ours(stage.ask(request("GET")), 503, "ServiceUnavailable");
    EXPECT_EQ(stage.node('a').asked + stage.node('b').asked, 0u);
}

TEST_P(Command, ARequestThatWaitsForRoomGoesElsewhere) {
    Stage stage(2, [](config::Site& site) {
        site.backends.max_connections = 1;
        site.backends.queue_timeout = seconds{30};
    });
    stage.each([](Node& node) { node.usual = silence(); });
    ClientPeer& first = stage.ask(request("GET"));
    ClientPeer& second = stage.ask(request("GET"));
    ClientPeer& third = stage.ask(request("GET"));
    stage.command('a', GetParam());
    stage.say(stage.visit('a'), answer(200, "from a"));
    expect_from(first, 'a');
    EXPECT_EQ(stage.node('a').asked, 1u) << "its room is for nobody now";
    stage.say(stage.visit('b'), answer(200, "from b"));
    expect_from(second, 'b');
    EXPECT_EQ(stage.node('b').asked, 2u);
    stage.say(stage.visit('b'), answer(200, "from b"));
    expect_from(third, 'b');
}

TEST_P(Command, ARequestThatWaitsForRoomOfTheLastServerIsTold) {
    Stage stage(1, [](config::Site& site) {
        site.backends.max_connections = 1;
        site.backends.queue_timeout = seconds{30};
    });
    stage.node('a').usual = silence();
    ClientPeer& first = stage.ask(request("GET"));
    ClientPeer& second = stage.ask(request("GET"));
    stage.command('a', GetParam());
    stage.advance(seconds{1});
    expect_ours(second, 503, "ServiceUnavailable");
    stage.say(stage.visit('a'), answer(200, "from a"));
    expect_from(first, 'a');
}

class Sessions : public testing::Test {
  protected:
    // The body of the answer to a request with that query.
    std::string ask(const std::string& query) {
        return stage.ask(request("GET", "/bucket/key?" + query)).body();
    }
    // The first number whose key leads to node a.
    int home_at_a(const std::string& name, int from) {
        for (int i = from;; ++i) {
            if (ask(name + "=" + std::to_string(i)) == "from a") {
                return i;
            }
        }
    }

    Stage stage{3, [](config::Site& site) {
                    site.balance.key = config::Balance{}.key;
                    site.balance.session_ttl = seconds{60};
                }};
};

TEST_F(Sessions, StayWhereTheyAreKnown) {
    const std::string known = "sessionid=" + std::to_string(home_at_a("sessionid", 0));
    stage.command('a', Override::keeps_sessions);
    EXPECT_EQ(ask(known), "from a");
    for (int i = 1000; i < 1040; ++i) {
        EXPECT_NE(ask("sessionid=" + std::to_string(i)), "from a");
    }
    EXPECT_FALSE(stage.visit('a').is_closed()) << "its connections are still used";
    stage.command('a', Override::down);
    EXPECT_NE(ask(known), "from a");
}

TEST_F(Sessions, LeaveAfterTheirTime) {
    const std::string used = "sessionid=" + std::to_string(home_at_a("sessionid", 0));
    const std::string other = "sessionid=" + std::to_string(home_at_a("sessionid", 500));
    stage.advance(seconds{59});
    stage.command('a', Override::keeps_sessions);
    EXPECT_EQ(ask(other), "from a") << "known for at least session_ttl";
    for (int i = 0; i < 4; ++i) {
        EXPECT_EQ(ask(used), "from a");
        stage.advance(seconds{31});
    }
    EXPECT_EQ(ask(used), "from a") << "each request begins the time anew";
    EXPECT_NE(ask(other), "from a");
}

TEST_F(Sessions, UploadsStayWithoutBeingKnown) {
    stage.command('a', Override::keeps_sessions);
    bool has_met_a = false;
    for (int i = 0; i < 40; ++i) {
        has_met_a = has_met_a || ask("uploadId=" + std::to_string(i)) == "from a";
    }
    EXPECT_TRUE(has_met_a);
}

// A key that was seen at another server only, as while its own one was down, is none of this one's.
TEST_F(Sessions, AreKnownAtTheirServerOnly) {
    stage.set_up('a', false);
    std::vector<std::string> keys;
    for (int i = 0; i < 60; ++i) {
        keys.push_back("sessionid=" + std::to_string(i));
        EXPECT_NE(ask(keys.back()), "from a");
    }
    stage.set_up('a', true);
    stage.command('a', Override::keeps_sessions);
    for (const std::string& key : keys) {
        EXPECT_NE(ask(key), "from a");
    }
}

}  // namespace
}  // namespace s3gate::sim
