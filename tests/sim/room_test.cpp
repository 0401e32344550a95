// The wait for room at a server (backends.max_connections), and the effect of the checks' verdict
// on requests that wait for an answer.
#include "scenario.hpp"

namespace s3gate::sim {
namespace {

using state::WorkerCounterCells;

constexpr std::string_view kBody = "what is to be stored";

void one_at_a_time(config::Site& site) {
    site.backends.max_connections = 1;
    site.backends.queue = 2;
    site.backends.queue_timeout = seconds{3};
}

class Room : public SplitScenario {};
SIM_SPLIT_SUITE(Room);

TEST_P(Room, AServerWithoutItIsPassedOver) {
    Stage stage(2, one_at_a_time);
    stage.split = GetParam();
    stage.node('a').usual = silence();
    stage.ask(request("GET"));
    expect_from(stage.ask(request("GET")), 'b');
    expect_record(stage, 200, "b");
}

TEST_P(Room, IsPassedOnInTheOrderOfWaiting) {
    Stage stage(1, one_at_a_time);
    stage.split = GetParam();
    stage.node('a').usual = silence();
    ClientPeer& first = stage.ask(request("GET"));
    ClientPeer& second = stage.ask(request("GET"));
    ClientPeer& third = stage.ask(request("GET"));
    EXPECT_EQ(stage.node('a').asked, 1u);
    stage.advance(seconds{1});
    stage.say(stage.visit('a'), answer(200, "one"));
    EXPECT_EQ(first.body(), "one");
    EXPECT_EQ(stage.node('a').asked, 2u);
    stage.say(stage.visit('a'), answer(200, "two"));
    EXPECT_EQ(second.body(), "two");
    EXPECT_EQ(third.status(), 0);
    stage.say(stage.visit('a'), answer(200, "three"));
    EXPECT_EQ(third.body(), "three");
    const std::vector<Record> records = stage.records();
    ASSERT_EQ(records.size(), 3u);
    EXPECT_EQ(records[0].queued, -1);
    EXPECT_EQ(records[1].queued, 1000);
    EXPECT_EQ(records[2].queued, 1000);
    EXPECT_EQ(stage.count(&WorkerCounterCells::queued), 2u);
    EXPECT_EQ(stage.visits('a'), 1u);
}

TEST_P(Room, OfADeadAnswerIsPassedOn) {
    Stage stage(1, one_at_a_time);
    stage.split = GetParam();
    stage.node('a').replies = {dies()};
    stage.node('a').replies.front().when = Reply::When::never;
    ClientPeer& first = stage.ask(request("GET"));
    ClientPeer& second = stage.ask(request("GET"));
    stage.rst(stage.visit('a'));
    expect_ours(first, 502, "InternalError");
    expect_from(second, 'a');
}

TEST_P(Room, AFullQueueIsToldAtOnce) {
    Stage stage(1, one_at_a_time);
    stage.split = GetParam();
    stage.node('a').usual = silence();
    ClientPeer& first = stage.ask(request("GET"));
    stage.ask(request("GET"));
    stage.ask(request("GET"));
    ClientPeer& last = stage.ask(request("GET"));
    expect_ours(last, 503, "SlowDown");
    EXPECT_FALSE(last.is_closed());
    expect_record(stage, 503, "", "backend queue full");
    EXPECT_EQ(first.status(), 0);
    EXPECT_EQ(stage.count(&WorkerCounterCells::queue_full), 1u);
}

TEST(Rooms, WaitingHasALimit) {
    Stage stage(1, one_at_a_time);
    stage.node('a').usual = silence();
    stage.ask(request("GET"));
    ClientPeer& waiting = stage.ask(request("GET"));
    expect_fires_after(stage, seconds{3}, [&] { return waiting.status() != 0; });
    expect_ours(waiting, 503, "SlowDown");
    EXPECT_FALSE(waiting.is_closed());
    const Record record = stage.record();
    EXPECT_EQ(record.error, "backend queue timeout");
    EXPECT_GE(record.queued, 3000);
    EXPECT_EQ(record.tries, 0);
    EXPECT_EQ(stage.count(&WorkerCounterCells::queue_timeouts), 1u);
    // Its place in the queue is free again.
    stage.ask(request("GET"));
    ClientPeer& next = stage.ask(request("GET"));
    EXPECT_EQ(next.status(), 0);
}

TEST(Rooms, OfAServerThatComesUpIsSeenByTheNextTick) {
    Stage stage(2, one_at_a_time);
    stage.node('a').usual = silence();
    stage.set_up('b', false);
    stage.ask(request("GET"));
    ClientPeer& waiting = stage.ask(request("GET"));
    EXPECT_EQ(stage.node('b').asked, 0u);
    stage.set_up('b', true);
    stage.advance(kTick);
    expect_from(waiting, 'b');
}

TEST(Rooms, TheBodyIsNotReadMeanwhile) {
    Stage stage(1, one_at_a_time);
    stage.node('a').usual = silence();
    stage.ask(request("GET"));
    ClientPeer& waiting = stage.ask(request_with(kBody).substr(0, 60));
    stage.say(waiting, request_with(kBody).substr(60));
    stage.advance(seconds{1});
    stage.node('a').usual = says(answer(200, "from a"));
    stage.say(stage.visit('a'), answer(200));
    expect_from(waiting, 'a');
    EXPECT_EQ(stage.visit('a').request().payload, kBody);
}

TEST(Rooms, AClientThatLeavesMakesPlace) {
    for (const bool by_reset : {false, true}) {
        Stage stage(1, one_at_a_time);
        stage.node('a').usual = silence();
        stage.ask(request("GET"));
        ClientPeer& leaving = stage.ask(request("GET"));
        ClientPeer& staying = stage.ask(request("GET"));
        if (by_reset) {
            stage.rst(leaving);
        } else {
            stage.fin(leaving);
        }
        EXPECT_TRUE(leaving.is_closed());
        expect_record(stage, 499, "", "client closed");
        stage.say(stage.visit('a'), answer(200, "one"));
        stage.say(stage.visit('a'), answer(200, "two"));
        EXPECT_EQ(staying.body(), "two");
        EXPECT_EQ(stage.node('a').asked, 2u);
    }
}

TEST(Rooms, IsGivenBackByAClientThatLeaves) {
    Stage stage(1, one_at_a_time);
    stage.node('a').replies = {silence()};
    ClientPeer& leaving = stage.ask(request("GET"));
    ClientPeer& waiting = stage.ask(request("GET"));
    stage.rst(leaving);
    expect_from(waiting, 'a');
}

TEST(Rooms, AStaleConnectionIsRepeatedOnTheRoomThatIsHeld) {
    Stage stage(1, one_at_a_time);
    ClientPeer& client = stage.ask(request("GET"));
    stage.records();
    stage.visit('a').end->peer_closed = true;
    stage.say(client, request("GET"));
    expect_from(client, 'a', 2);
    expect_record(stage, 200, "aa");
}

TEST(Rooms, IsKeptByARepetitionAtTheSameNode) {
    Stage stage(1, one_at_a_time);
    ClientPeer& first = stage.ask(request("GET"));
    stage.node('a').usual = silence();
    stage.say(first, request("GET"));
    ClientPeer& waiting = stage.ask(request("GET"));
    EXPECT_EQ(stage.node('a').asked, 2u);
    stage.rst(stage.visit('a'));
    EXPECT_EQ(stage.node('a').asked, 3u);
    stage.say(stage.visit('a'), answer(200, "one"));
    EXPECT_EQ(first.body(), "one");
    stage.say(stage.visit('a'), answer(200, "two"));
    EXPECT_EQ(waiting.body(), "two");
}

// A request with an answer does not wait for room to get another one.
TEST(Rooms, AnAnswerIsRelayedRatherThanWaitedFor) {
    Stage stage(2, one_at_a_time);
    stage.node('a').usual = silence();
    stage.node('b').usual = silence();
    stage.ask(request("GET"));
    ClientPeer& second = stage.ask(request("GET"));
    stage.say(stage.visit('b'), answer(503, "no"));
    EXPECT_EQ(second.status(), 503);
    expect_record(stage, 503, "b");
}

// A request without an answer waits.
TEST(Rooms, ADeathWaitsForRoomAtTheNextNode) {
    Stage stage(2, one_at_a_time);
    stage.node('a').usual = silence();
    stage.node('b').replies = {silence(), silence()};
    ClientPeer& first = stage.ask(request("GET"));
    ClientPeer& second = stage.ask(request("GET"));
    stage.rst(stage.visit('b'));
    EXPECT_EQ(second.status(), 0);
    stage.node('a').usual = says(answer(200, "from a"));
    stage.say(stage.visit('a'), answer(200, "one"));
    EXPECT_EQ(first.body(), "one");
    expect_from(second, 'a');
}

TEST(Rooms, AStopTellsThoseThatWait) {
    Stage stage(1, one_at_a_time);
    stage.node('a').usual = silence();
    ClientPeer& first = stage.ask(request("GET"));
    ClientPeer& second = stage.ask(request("GET"));
    stage.stop();
    expect_ours(first, 503, "ServiceUnavailable");
    expect_ours(second, 503, "ServiceUnavailable");
    for (const Record& record : stage.records()) {
        EXPECT_EQ(record.error, "cut at shutdown");
    }
    EXPECT_TRUE(stage.worker().is_finished());
}

TEST(Rooms, ADrainServesThoseThatWait) {
    Stage stage(1, one_at_a_time);
    stage.node('a').usual = silence();
    stage.ask(request("GET"));
    ClientPeer& second = stage.ask(request("GET"));
    stage.drain();
    stage.advance(seconds{2});
    stage.node('a').usual = says(answer(200, "from a"));
    stage.say(stage.visit('a'), answer(200));
    expect_from(second, 'a');
    EXPECT_TRUE(second.answers.back().message().lists("connection", "close"));
}

TEST(Rooms, NobodyLeftEndsTheWait) {
    Stage stage(1, [](config::Site& site) {
        one_at_a_time(site);
        site.when_all_down = config::AllDown::refuse;
    });
    stage.node('a').usual = silence();
    stage.ask(request("GET"));
    ClientPeer& waiting = stage.ask(request("GET"));
    stage.set_up('a', false);
    stage.advance(kTick);
    expect_ours(waiting, 503, "ServiceUnavailable");
    EXPECT_EQ(stage.record().error, "no backend available");
}

// ---- taken down while waiting ------------------------------------------------------------------

TEST(TakenDown, ReadsAndPartsGoOnWhateverTheirTime) {
    for (const std::string& text :
         {request("GET"), request_with(kBody, "PUT", "/b/k?partNumber=1&uploadId=U")}) {
        Stage stage;
        stage.node('a').usual = silence();
        ClientPeer& client = stage.ask(text);
        stage.advance(seconds{100});
        stage.take_down('a');
        expect_from(client, 'b');
        EXPECT_TRUE(stage.visit('a').is_cut());
        expect_record(stage, 200, "ab");
        EXPECT_EQ(stage.count(&WorkerCounterCells::backend_taken_down), 1u);
    }
}

TEST(TakenDown, OtherWritesAreTold) {
    Stage stage;
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(request("DELETE"));
    stage.take_down('a');
    expect_ours(client, 504, "RequestTimeout");
    expect_record(stage, 504, "a", "backend taken down");
}

TEST(TakenDown, TakesNothingFromTheBudget) {
    Stage stage;
    stage.each([](Node& node) { node.usual = silence(); });
    for (int i = 0; i < 8; ++i) {
        stage.ask(request("GET"));
    }
    stage.take_down('a');
    EXPECT_EQ(stage.node('b').asked, 8u);
    EXPECT_EQ(stage.worker().retries(), 0);
}

TEST(TakenDown, NeverAThirdNode) {
    Stage stage(4, [](config::Site& site) { site.retry.max_tries = 100; });
    stage.each([](Node& node) { node.usual = silence(); });
    ClientPeer& client = stage.ask(request("GET"));
    stage.take_down('a');
    stage.take_down('b');
    expect_ours(client, 504, "RequestTimeout");
    EXPECT_EQ(stage.record().nodes, "ab");
}

TEST(TakenDown, AnAnswerThatBeganIsWaitedFor) {
    Stage stage;
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(request("GET"));
    const std::string text = answer(200, "from a");
    stage.say(stage.visit('a'), text.substr(0, 10));
    stage.take_down('a');
    stage.say(stage.visit('a'), text.substr(10));
    expect_from(client, 'a');
    expect_record(stage, 200, "a");
}

TEST(TakenDown, OtherNodesRequestsAreLeftAlone) {
    Stage stage;
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(request("GET"));
    stage.take_down('b');
    stage.say(stage.visit('a'), answer(200, "from a"));
    expect_from(client, 'a');
}

TEST(TakenDown, ParkedConnectionsAreClosed) {
    Stage stage;
    stage.ask(request("GET"));
    stage.take_down('a');
    EXPECT_TRUE(stage.visit('a').is_closed());
    expect_from(stage.ask(request("GET")), 'b');
}

TEST(TakenDown, NobodyLeftIsTriedAnyway) {
    for (const config::AllDown choice : {config::AllDown::try_anyway, config::AllDown::refuse}) {
        Stage stage(3, [&](config::Site& site) { site.when_all_down = choice; });
        for (const char name : {'a', 'b', 'c'}) {
            stage.set_up(name, false);
        }
        ClientPeer& client = stage.ask(request("GET"));
        if (choice == config::AllDown::try_anyway) {
            expect_from(client, 'a');
        } else {
            expect_ours(client, 503, "ServiceUnavailable");
            expect_record(stage, 503, "", "no backend available");
        }
    }
}

// ---- passive marks -----------------------------------------------------------------------------

void mark_at_once(config::Site& site) {
    site.passive.max_fails = 1;
    site.passive.fail_timeout = seconds{5};
}

TEST(Marks, RefusedConnectsAndFreshBreaksMark) {
    for (const bool refused : {true, false}) {
        Stage stage(3, mark_at_once);
        (refused ? stage.node('a').door = Node::Door::refuse : Node::Door::open);
        stage.node('a').usual = dies();
        stage.ask(request("GET"));
        EXPECT_TRUE(stage.is_marked('a'));
        EXPECT_EQ(stage.record().nodes, "ab");
        stage.ask(request("GET"));
        EXPECT_EQ(stage.record().nodes, "b");
        // When the mark's time is over, one request tries the node.
        stage.node('a').door = Node::Door::open;
        stage.node('a').usual = says(answer(200, "from a"));
        stage.advance(seconds{6});
        expect_from(stage.ask(request("GET")), 'a');
        EXPECT_FALSE(stage.is_marked('a'));
    }
}

TEST(Marks, WhatIsNoFaultOfTheNodeDoesNot) {
    {
        Stage stage(3, mark_at_once);
        stage.node('a').usual = says(answer(500));
        stage.ask(request("GET"));
        EXPECT_FALSE(stage.is_marked('a'));
    }
    {
        Stage stage(3, [](config::Site& site) {
            mark_at_once(site);
            site.timeouts.backend_head = seconds{2};
        });
        stage.node('a').usual = silence();
        stage.ask(request("GET"));
        stage.advance(seconds{3});
        EXPECT_EQ(stage.node('b').asked, 1u);
        EXPECT_FALSE(stage.is_marked('a'));
    }
    {
        Stage stage(3, mark_at_once);
        ClientPeer& client = stage.ask(request("GET"));
        stage.visit('a').end->peer_closed = true;
        stage.say(client, request("GET"));
        EXPECT_EQ(stage.visits('a'), 2u);
        EXPECT_EQ(stage.count(&WorkerCounterCells::passive_marks_set), 0u);
    }
    {
        // The client stalled and the node gave up on it.
        Stage stage(3, mark_at_once);
        const std::string text = request_with(kBody);
        ClientPeer& client = stage.ask(text.substr(0, text.size() - 5));
        stage.fin(stage.visit('a'));
        expect_ours(client, 502, "InternalError");
        EXPECT_FALSE(stage.is_marked('a'));
    }
}

}  // namespace
}  // namespace s3gate::sim
