// Expect: 100-continue according to docs/architecture.md.
#include "scenario.hpp"

namespace s3gate::sim {
namespace {

constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
constexpr std::string_view kBody = "what is to be stored";

std::string expecting(std::string_view fields = "") {
    return request("PUT", "/bucket/key",
                   "Expect: 100-continue\r\nContent-Length: " + std::to_string(kBody.size()) +
                       "\r\n" + std::string(fields));
}

class Expect : public SplitScenario {};
SIM_SPLIT_SUITE(Expect);

TEST_P(Expect, IsPassedOnAndAnsweredByTheNode) {
    Stage stage;
    stage.split = GetParam();
    stage.node('a').usual.asks = false;
    ClientPeer& client = stage.ask(expecting());
    EXPECT_TRUE(stage.visit('a').request().lists("expect", "100-continue"));
    EXPECT_EQ(client.heard(), "");
    stage.say(stage.visit('a'), kContinue);
    EXPECT_EQ(client.heard(), kContinue);
    stage.say(client, kBody);
    expect_from(client, 'a');
    EXPECT_EQ(stage.visit('a').request().payload, kBody);
    EXPECT_FALSE(client.is_closed());
    expect_record(stage, 200, "a");
    // The connection stays usable on both sides.
    stage.say(client, request("GET"));
    expect_from(client, 'a', 2);
    EXPECT_EQ(stage.visits('a'), 1u);
}

TEST_P(Expect, AContinueIsRelayedBareAndOnce) {
    Stage stage;
    stage.split = GetParam();
    stage.node('a').usual.asks = false;
    ClientPeer& client = stage.ask(expecting());
    stage.say(stage.visit('a'), "HTTP/1.1 100 Go On\r\nX-Field: hangs clients\r\n\r\n");
    stage.say(stage.visit('a'), kContinue);
    EXPECT_EQ(client.heard(), kContinue);
    stage.say(client, kBody);
    expect_from(client, 'a');
}

TEST_P(Expect, AContinueThatNobodyAskedForIsSwallowed) {
    Stage stage;
    stage.split = GetParam();
    stage.node('a').usual = says(std::string(kContinue) + answer(200, "from a"));
    ClientPeer& client = stage.ask(request("GET"));
    expect_from(client, 'a');
    EXPECT_TRUE(client.answers.back().interims.empty());
}

TEST_P(Expect, ASecondNodesContinueIsWithheld) {
    Stage stage;
    stage.split = GetParam();
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(request("PUT", "/bucket/key?partNumber=1&uploadId=U",
                                           "Expect: 100-continue\r\nContent-Length: 20\r\n"));
    stage.say(stage.visit('a'), kContinue);
    stage.say(client, kBody);
    stage.rst(stage.visit('a'));
    expect_from(client, 'b');
    EXPECT_EQ(client.answers.back().interims, std::vector<int>{100});
    EXPECT_EQ(stage.visit('b').request().payload, kBody);
    expect_record(stage, 200, "ab");
}

TEST_P(Expect, OtherInterimAnswersAreRelayed) {
    Stage stage;
    stage.split = GetParam();
    stage.node('a').usual =
        says("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer(200, "from a"));
    ClientPeer& client = stage.ask(request("GET"));
    expect_from(client, 'a');
    EXPECT_EQ(client.answers.back().interims, std::vector<int>{103});
}

TEST_P(Expect, AFinalAnswerWithoutAContinueCloses) {
    Stage stage;
    stage.split = GetParam();
    stage.node('a').usual = says(answer(403, "no"));
    stage.node('a').usual.when = Reply::When::head;
    ClientPeer& client = stage.ask(expecting());
    EXPECT_EQ(client.status(), 403);
    EXPECT_EQ(client.body(), "no");
    EXPECT_TRUE(client.answers.back().message().lists("connection", "close"));
    EXPECT_TRUE(client.is_finished());
    // The backend's connection cannot be used again either.
    EXPECT_TRUE(stage.visit('a').is_closed());
    expect_record(stage, 403, "a");
}

TEST_P(Expect, AClientThatDoesNotWaitIsServed) {
    Stage stage;
    stage.split = GetParam();
    ClientPeer& client = stage.ask(expecting() + std::string(kBody));
    expect_from(client, 'a');
    EXPECT_EQ(stage.visit('a').request().payload, kBody);
    expect_record(stage, 200, "a");
}

// The 100 may still come, and would be taken for a part of the next answer.
TEST_P(Expect, AConnectionWhoseContinueIsStillDueIsNotUsedAgain) {
    Stage stage;
    stage.split = GetParam();
    stage.node('a').usual.asks = false;
    ClientPeer& client = stage.ask(expecting() + std::string(kBody));
    expect_from(client, 'a');
    EXPECT_TRUE(stage.visit('a').is_closed());
}

TEST_P(Expect, OfAnEmptyBodyIsAnsweredByUs) {
    Stage stage;
    stage.split = GetParam();
    ClientPeer& client =
        stage.ask(request("PUT", "/bucket/key", "Expect: 100-continue\r\nContent-Length: 0\r\n"));
    expect_from(client, 'a');
    EXPECT_EQ(client.answers.back().interims, std::vector<int>{100});
    EXPECT_FALSE(client.answers.back().message().lists("connection", "close"));
    EXPECT_FALSE(client.is_closed());
    EXPECT_FALSE(stage.visit('a').is_closed());
}

TEST_P(Expect, OfAnEmptyBodyClosesWhereAskedFor) {
    Stage stage(3, [](config::Site& site) { site.expect_empty_body = config::EmptyExpect::close; });
    stage.split = GetParam();
    stage.node('a').usual.asks = false;
    ClientPeer& client =
        stage.ask(request("PUT", "/bucket/key", "Expect: 100-continue\r\nContent-Length: 0\r\n"));
    EXPECT_TRUE(client.answers.back().interims.empty());
    EXPECT_TRUE(client.answers.back().message().lists("connection", "close"));
    EXPECT_TRUE(client.is_finished());
}

TEST_P(Expect, OfHttp10IsDropped) {
    Stage stage;
    stage.split = GetParam();
    const std::string text =
        "PUT /bucket/key HTTP/1.0\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 20\r\n\r\n";
    ClientPeer& client = stage.ask(text + std::string(kBody));
    EXPECT_EQ(client.status(), 200);
    EXPECT_TRUE(client.answers.back().interims.empty());
    EXPECT_EQ(stage.visit('a').request().count("expect"), 0u);
}

TEST(ExpectTime, WaitsAsLongAsTheNodeMay) {
    Stage stage(1, [](config::Site& site) {
        site.timeouts.client_body = seconds{2};
        site.timeouts.backend_head = seconds{8};
    });
    stage.node('a').usual.asks = false;
    ClientPeer& client = stage.ask(expecting());
    stage.advance(seconds{7});
    EXPECT_EQ(client.heard(), "");
    stage.say(stage.visit('a'), kContinue);
    // From now on the client must send.
    expect_fires_after(stage, seconds{2}, [&] { return client.status() != 0; });
    expect_ours(client, 408, "RequestTimeout");
    expect_record(stage, 408, "a", "client body timeout");
}

TEST(ExpectTime, TheNodesSilenceIsTheNodes) {
    Stage stage(1, [](config::Site& site) { site.timeouts.backend_head = seconds{4}; });
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(expecting());
    expect_fires_after(stage, seconds{4}, [&] { return client.status() != 0; });
    expect_ours(client, 504, "RequestTimeout");
    EXPECT_TRUE(client.answers.back().message().lists("connection", "close"));
    expect_record(stage, 504, "a", "backend response timeout");
}

}  // namespace
}  // namespace s3gate::sim
