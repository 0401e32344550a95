// Answers before the request is complete, and lingering closes.
#include "scenario.hpp"

namespace s3gate::sim {
namespace {

using state::WorkerCounterCells;

// A PUT with only the first `said` bytes of its body.
std::string half_a_put(std::size_t length = 100000, std::size_t said = 1000) {
    std::string text = request_with(std::string(length, 'x'));
    text.resize(text.size() - length + said);
    return text;
}

Reply early(std::string text, Reply::Then then = Reply::Then::keep) {
    Reply reply = says(std::move(text), then);
    reply.when = Reply::When::head;
    return reply;
}

class EarlyAnswer : public SplitScenario {};
SIM_SPLIT_SUITE(EarlyAnswer);

TEST_P(EarlyAnswer, IsRelayedAtOnceAndClosesBoth) {
    Stage stage;
    stage.split = GetParam();
    stage.node('a').usual = early(answer(403, "no"));
    ClientPeer& client = stage.ask(half_a_put());
    EXPECT_EQ(client.status(), 403);
    EXPECT_EQ(client.body(), "no");
    EXPECT_TRUE(client.answers.back().message().lists("connection", "close"));
    EXPECT_TRUE(client.is_finished());
    EXPECT_TRUE(stage.visit('a').is_closed());
    expect_record(stage, 403, "a");
}

TEST_P(EarlyAnswer, OfANodeThatIsGoneIsRelayed) {
    for (const Reply::Then how : {Reply::Then::fin, Reply::Then::rst}) {
        Stage stage;
        stage.split = GetParam();
        stage.node('a').usual = early(answer(403, "no"), how);
        ClientPeer& client = stage.ask(half_a_put());
        EXPECT_EQ(client.status(), 403);
        EXPECT_EQ(client.body(), "no");
        EXPECT_TRUE(client.is_finished());
        expect_record(stage, 403, "a");
    }
}

// A reset destroys an answer that is still to come.
TEST(EarlyAnswers, OfANodeThatResetIsNotWaitedFor) {
    Stage stage;
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(half_a_put());
    stage.rst(stage.visit('a'));
    expect_ours(client, 502, "InternalError");
    EXPECT_TRUE(client.is_finished());
    expect_record(stage, 502, "a", "backend closed");
}

// Both may be long: the upload continues beside the answer.
TEST(EarlyAnswers, TheUploadGoesOnBesideALongAnswer) {
    Stage stage;
    const std::string text = answer(200, std::string(2000, 'y'));
    stage.node('a').usual = early(text.substr(0, text.size() - 1000));
    ClientPeer& client = stage.ask(half_a_put());
    EXPECT_EQ(client.status(), 200);
    const std::size_t before = stage.visit('a').heard().size();
    stage.say(client, std::string(500, 'x'));
    EXPECT_EQ(stage.visit('a').heard().size(), before + 500);
    stage.say(stage.visit('a'), text.substr(text.size() - 1000));
    EXPECT_EQ(client.body().size(), 2000u);
    // The answer is complete, so the rest of the upload does not matter.
    EXPECT_TRUE(client.is_finished());
    EXPECT_TRUE(stage.visit('a').is_closed());
    expect_record(stage, 200, "a");
}

TEST(EarlyAnswers, LoadDuringAnUploadIsRelayed) {
    Stage stage;
    stage.node('a').usual = early(error_answer(503, "SlowDown"));
    EXPECT_EQ(stage.ask(half_a_put()).status(), 503);
    expect_record(stage, 503, "a");
}

// The body received so far is kept; the rest follows to the next node.
TEST(EarlyAnswers, A503DuringAnUploadInHandGoesOn) {
    Stage stage;
    stage.node('a').usual = early(error_answer(503, "Unknown"));
    ClientPeer& client = stage.ask(half_a_put(3000, 1000));
    EXPECT_EQ(client.status(), 0);
    stage.say(client, std::string(2000, 'x'));
    expect_from(client, 'b');
    EXPECT_EQ(stage.visit('b').request().payload, std::string(3000, 'x'));
    EXPECT_TRUE(stage.visit('a').is_cut());
    expect_record(stage, 200, "ab");
}

TEST(EarlyAnswers, AMalformedBodyIsRefusedAndCut) {
    Stage stage;
    ClientPeer& client = stage.ask(request("PUT", "/bucket/key", "Transfer-Encoding: chunked\r\n") +
                                   "5\r\nhello\r\nzz\r\n");
    expect_ours(client, 400, "InvalidRequest");
    EXPECT_TRUE(stage.visit('a').is_cut());
    EXPECT_FALSE(stage.visit('a').heard().ends_with("0\r\n\r\n"));
    expect_record(stage, 400, "a", "malformed chunked body");
}

// The fault is the client's, so no other node is tried, even for a repeatable request.
TEST(EarlyAnswers, AMalformedBodyIsRefusedWhateverMayBeRepeated) {
    Stage stage;
    ClientPeer& client = stage.ask(
        request("PUT", "/bucket/key?partNumber=1&uploadId=U", "Transfer-Encoding: chunked\r\n") +
        "5\r\nhello\r\nzz\r\n");
    expect_ours(client, 400, "InvalidRequest");
    EXPECT_TRUE(stage.visit('a').is_cut());
    EXPECT_EQ(stage.visits('b'), 0u);
    expect_record(stage, 400, "a", "malformed chunked body");
    EXPECT_EQ(stage.count(&WorkerCounterCells::refused_requests), 1u);
    EXPECT_EQ(stage.count(&WorkerCounterCells::retries), 0u);
}

// ---- lingering ---------------------------------------------------------------------------------

ClientPeer& with_early_answer(Stage& stage) {
    stage.node('a').usual = early(answer(403, "no"));
    ClientPeer& client = stage.ask(half_a_put());
    EXPECT_TRUE(client.is_finished());
    EXPECT_EQ(stage.worker().clients(), 1u);
    return client;
}

TEST(Lingering, WhatTheClientStillSendsIsDiscarded) {
    Stage stage;
    ClientPeer& client = with_early_answer(stage);
    stage.say(client, std::string(50000, 'x'));
    EXPECT_FALSE(client.end->unread());
    EXPECT_FALSE(client.is_reset());
    stage.fin(client);
    EXPECT_EQ(stage.worker().clients(), 0u);
    EXPECT_FALSE(client.is_reset());
}

TEST(Lingering, LastsFiveSecondsWhateverComes) {
    Stage stage;
    ClientPeer& client = with_early_answer(stage);
    for (int i = 0; i < 19; ++i) {
        stage.advance(kTick);
        stage.say(client, "x");
        ASSERT_EQ(stage.worker().clients(), 1u);
    }
    stage.advance(3 * kTick);
    EXPECT_EQ(stage.worker().clients(), 0u);
}

TEST(Lingering, TakesSixteenMebibytesAtMost) {
    Stage stage;
    ClientPeer& client = with_early_answer(stage);
    const std::string mebibyte(1024 * 1024, 'x');
    for (int i = 0; i < 15; ++i) {
        stage.say(client, mebibyte);
        ASSERT_EQ(stage.worker().clients(), 1u);
    }
    stage.say(client, mebibyte);
    EXPECT_EQ(stage.worker().clients(), 0u);
}

TEST(Lingering, OfADrainLastsForASecondOfSilence) {
    Stage stage;
    ClientPeer& client = with_early_answer(stage);
    stage.drain();
    stage.advance(milliseconds{750});
    stage.say(client, "x");
    stage.advance(milliseconds{750});
    EXPECT_EQ(stage.worker().clients(), 1u);
    stage.advance(milliseconds{750});
    EXPECT_EQ(stage.worker().clients(), 0u);
}

TEST(Lingering, ThatLastsWhenADrainBeginsIsShorterToo) {
    Stage stage;
    with_early_answer(stage);
    stage.drain();
    stage.advance(milliseconds{750});
    EXPECT_EQ(stage.worker().clients(), 1u);
    stage.advance(milliseconds{750});
    EXPECT_EQ(stage.worker().clients(), 0u);
}

}  // namespace
}  // namespace s3gate::sim
