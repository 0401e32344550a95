// Drain and stop.
#include "scenario.hpp"

namespace s3gate::sim {
namespace {

constexpr std::string_view kOffer = "Connection: upgrade\r\nUpgrade: websocket\r\n";
constexpr std::string_view kSwitch =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";

void allow_upgrade(config::Site& site) {
    site.upgrade = true;
}

class Drain : public SplitScenario {};
SIM_SPLIT_SUITE(Drain);

TEST_P(Drain, AnAnswerInProgressSaysCloseAndIsComplete) {
    Stage stage;
    stage.split = GetParam();
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(request("GET"));
    stage.drain();
    stage.advance(seconds{20});
    EXPECT_FALSE(stage.worker().is_finished());
    stage.say(stage.visit('a'), answer(200, "from a"));
    expect_from(client, 'a');
    EXPECT_TRUE(client.answers.back().message().lists("connection", "close"));
    EXPECT_TRUE(client.is_finished());
    expect_record(stage, 200, "a");
    stage.fin(client);
    EXPECT_TRUE(stage.worker().is_finished());
}

TEST_P(Drain, AnAnswerThatBeganBeforeIsComplete) {
    Stage stage;
    stage.split = GetParam();
    const std::string text = answer(200, "from a");
    stage.node('a').usual = says(text.substr(0, text.size() - 2));
    ClientPeer& client = stage.ask(request("GET"));
    stage.drain();
    stage.advance(seconds{20});
    stage.say(stage.visit('a'), " a");
    expect_from(client, 'a');
    expect_record(stage, 200, "a");
    // Its head did not announce the end, so the connection is closed after a quiet second.
    stage.advance(milliseconds{1500});
    EXPECT_TRUE(client.is_finished());
    EXPECT_TRUE(stage.worker().is_finished());
}

TEST_P(Drain, OurOwnAnswersSayCloseToo) {
    Stage stage;
    stage.split = GetParam();
    stage.each([](Node& node) { node.door = Node::Door::refuse; });
    ClientPeer& client = stage.client();
    stage.drain();
    stage.say(client, request("GET"));
    expect_ours(client, 503, "ServiceUnavailable");
    EXPECT_TRUE(client.answers.back().message().lists("connection", "close"));
    EXPECT_TRUE(client.is_finished());
}

TEST(Drains, IdleConnectionsAreClosedAfterAQuietSecond) {
    Stage stage;
    ClientPeer& used = stage.ask(request("GET"));
    ClientPeer& fresh = stage.client();
    stage.drain();
    stage.advance(milliseconds{750});
    EXPECT_FALSE(used.is_closed());
    EXPECT_FALSE(fresh.is_closed());
    stage.advance(milliseconds{500});
    EXPECT_TRUE(used.is_finished());
    EXPECT_TRUE(fresh.is_finished());
    EXPECT_TRUE(stage.worker().is_finished());
    EXPECT_TRUE(stage.visit('a').is_closed());
}

TEST(Drains, ARequestWithinTheSecondIsServed) {
    Stage stage;
    ClientPeer& client = stage.ask(request("GET"));
    stage.drain();
    stage.advance(milliseconds{750});
    stage.say(client, request("GET"));
    expect_from(client, 'a', 2);
    EXPECT_TRUE(client.answers.back().message().lists("connection", "close"));
    EXPECT_TRUE(client.is_finished());
}

TEST(Drains, WhoIsInTheAcceptQueueIsServed) {
    Stage stage;
    ClientPeer& client = stage.client();
    Endpoint& late = stage.network().open(false);
    late.peer = client.end->peer;
    stage.network().connect_client(*stage.network().find(Network::kFirst), late);
    stage.network().deliver(late, request("GET"));
    stage.drain();
    stage.settle();
    EXPECT_NE(late.out.find("from a"), std::string::npos);
    EXPECT_NE(late.out.find("Connection: close"), std::string::npos);
    stage.network().finish(late);
    stage.settle();
}

TEST(Drains, AnUploadGoesOn) {
    Stage stage;
    const std::string text = request_with(std::string(5000, 'x'));
    ClientPeer& client = stage.ask(text.substr(0, 1000));
    stage.drain();
    stage.advance(seconds{20});
    stage.say(client, text.substr(1000));
    expect_from(client, 'a');
    EXPECT_TRUE(client.answers.back().message().lists("connection", "close"));
    EXPECT_EQ(stage.visit('a').request().payload.size(), 5000u);
}

TEST(Drains, ATunnelGoesOn) {
    Stage stage(3, allow_upgrade);
    stage.node('a').usual = says(std::string(kSwitch));
    ClientPeer& client = stage.ask(request("GET", "/ws", kOffer));
    stage.drain();
    stage.advance(seconds{20});
    stage.say(client, "ping");
    EXPECT_TRUE(stage.visit('a').heard().ends_with("ping"));
    stage.fin(client);
    stage.fin(stage.visit('a'));
    EXPECT_TRUE(stage.worker().is_finished());
}

TEST(Drains, AnswersThatWaitByNatureAreEndedAfterTwoSeconds) {
    for (const bool has_begun : {false, true}) {
        Stage stage;
        stage.node('a').usual =
            has_begun ? says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")
                      : silence();
        ClientPeer& client = stage.ask(request("GET", "/bucket?events=x"));
        EXPECT_EQ(client.status(), has_begun ? 200 : 0);
        stage.drain();
        stage.advance(milliseconds{1750});
        EXPECT_FALSE(client.is_closed());
        stage.advance(milliseconds{750});
        EXPECT_TRUE(client.is_closed());
        EXPECT_EQ(stage.worker().ended_answers(), 1u);
        EXPECT_TRUE(stage.visit('a').is_cut());
        if (!has_begun) {
            expect_ours(client, 503, "ServiceUnavailable");
        }
        EXPECT_EQ(stage.record().status, has_begun ? 200 : 503);
        stage.fin(client);
        EXPECT_TRUE(stage.worker().is_finished());
    }
}

TEST(Drains, OtherAnswersAreNotEnded) {
    Stage stage;
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(request("GET", "/bucket/key?events=x"));
    stage.drain();
    stage.advance(seconds{5});
    EXPECT_FALSE(client.is_closed());
    EXPECT_EQ(stage.worker().ended_answers(), 0u);
}

// ---- stop --------------------------------------------------------------------------------------

class Stop : public SplitScenario {};
SIM_SPLIT_SUITE(Stop);

TEST_P(Stop, WhoGotNothingIsTold) {
    Stage stage;
    stage.split = GetParam();
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(request("GET"));
    stage.stop();
    expect_ours(client, 503, "ServiceUnavailable");
    EXPECT_TRUE(client.answers.back().message().lists("connection", "close"));
    EXPECT_TRUE(client.is_closed());
    EXPECT_TRUE(stage.visit('a').is_cut());
    expect_record(stage, 503, "a", "cut at shutdown");
    EXPECT_EQ(stage.worker().cut_requests(), 1u);
    EXPECT_TRUE(stage.worker().is_finished());
}

TEST_P(Stop, AnAnswerThatBeganIsCut) {
    Stage stage;
    stage.split = GetParam();
    const std::string text = answer(200, std::string(1000, 'x'));
    stage.node('a').usual = says(text.substr(0, text.size() - 100));
    ClientPeer& client = stage.ask(request("GET"));
    stage.stop();
    EXPECT_TRUE(client.is_reset());
    EXPECT_FALSE(client.answers.back().message().is_complete());
    expect_record(stage, 200, "a", "cut at shutdown");
    EXPECT_TRUE(stage.worker().is_finished());
}

TEST_P(Stop, AnUploadIsCutAndTold) {
    Stage stage;
    stage.split = GetParam();
    const std::string text = request_with(std::string(5000, 'x'));
    ClientPeer& client = stage.ask(text.substr(0, 1000));
    stage.stop();
    expect_ours(client, 503, "ServiceUnavailable");
    EXPECT_TRUE(stage.visit('a').is_cut());
    expect_record(stage, 503, "a", "cut at shutdown");
    EXPECT_TRUE(stage.worker().is_finished());
}

TEST(Stops, AConnectIsCutAndTold) {
    Stage stage;
    stage.node('a').door = Node::Door::hang;
    ClientPeer& client = stage.ask(request("GET"));
    stage.stop();
    expect_ours(client, 503, "ServiceUnavailable");
    expect_record(stage, 503, "a", "cut at shutdown");
    EXPECT_EQ(stage.node('b').asked, 0u);
    EXPECT_TRUE(stage.worker().is_finished());
}

TEST(Stops, WhoDoesNotListenIsNotWaitedFor) {
    Stage stage;
    stage.node('a').usual = silence();
    ClientPeer& client = stage.client();
    client.end->room = 0;
    stage.say(client, request("GET"));
    stage.stop();
    stage.advance(milliseconds{750});
    EXPECT_TRUE(client.is_closed());
    EXPECT_TRUE(stage.worker().is_finished());
}

// A part of an interim answer was sent: any further bytes would be read as its rest.
TEST(Stops, NothingFollowsHalfAnInterimAnswer) {
    Stage stage;
    stage.node('a').usual = says("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
    ClientPeer& client = stage.client();
    client.end->room = 12;
    stage.say(client, request("GET"));
    EXPECT_EQ(client.heard(), "HTTP/1.1 103");
    stage.stop();
    stage.take(*client.end);
    EXPECT_EQ(client.heard(), "HTTP/1.1 103");
    EXPECT_TRUE(client.is_reset());
    expect_record(stage, 499, "a", "cut at shutdown");
    EXPECT_TRUE(stage.worker().is_finished());
}

// A close would reset the client in the queue, whose handshake has completed.
TEST(Drains, AClientThatCouldNotBeAcceptedIsServed) {
    Stage stage(1);
    stage.network().accepts_fail = true;
    ClientPeer& client = stage.client();
    stage.drain();
    stage.advance(seconds{5});
    ASSERT_FALSE(client.is_closed());
    EXPECT_FALSE(stage.worker().is_finished());
    stage.network().accepts_fail = false;
    stage.advance(kTick);
    stage.say(client, request("GET"));
    expect_from(client, 'a');
    EXPECT_TRUE(client.answers.back().message().lists("connection", "close"));
    stage.fin(client);
    stage.advance(kTick);
    EXPECT_TRUE(stage.worker().is_finished());
}

TEST(Drains, AnEmptyQueueNeedsNoDescriptor) {
    Stage stage(1);
    stage.network().accepts_fail = true;
    stage.drain();
    EXPECT_TRUE(stage.worker().is_finished());
}

TEST(Stops, AClientThatCannotBeAcceptedIsReset) {
    Stage stage(1);
    stage.network().accepts_fail = true;
    ClientPeer& client = stage.client();
    stage.drain();
    stage.stop();
    EXPECT_TRUE(client.is_reset());
    EXPECT_TRUE(stage.worker().is_finished());
}

TEST(Stops, IdleConnectionsEnd) {
    Stage stage;
    ClientPeer& used = stage.ask(request("GET"));
    ClientPeer& fresh = stage.client();
    ClientPeer& in_head = stage.ask("GET / HTT");
    stage.stop();
    for (const ClientPeer* client : {&used, &fresh, &in_head}) {
        EXPECT_TRUE(client->is_closed());
    }
    EXPECT_EQ(stage.worker().cut_requests(), 0u);
    EXPECT_TRUE(stage.worker().is_finished());
}

TEST(Stops, ATunnelIsReset) {
    Stage stage(3, allow_upgrade);
    stage.node('a').usual = says(std::string(kSwitch));
    ClientPeer& client = stage.ask(request("GET", "/ws", kOffer));
    stage.stop();
    EXPECT_TRUE(client.is_reset());
    EXPECT_TRUE(stage.visit('a').is_cut());
    expect_record(stage, 101, "a", "tunnel cut at shutdown");
    EXPECT_EQ(stage.worker().cut_tunnels(), 1u);
    EXPECT_EQ(stage.worker().cut_requests(), 0u);
}

TEST(Stops, ALingeringCloseEnds) {
    Stage stage;
    stage.node('a').usual = says(answer(403));
    stage.node('a').usual.when = Reply::When::head;
    stage.ask(request_with(std::string(5000, 'x')).substr(0, 1000));
    EXPECT_EQ(stage.worker().clients(), 1u);
    stage.stop();
    EXPECT_TRUE(stage.worker().is_finished());
}

}  // namespace
}  // namespace s3gate::sim
