// The retry table of docs/architecture.md, row by row, as clients, nodes and the log see it.
#include <algorithm>
#include <cerrno>

#include "scenario.hpp"

namespace s3gate::sim {
namespace {

using state::WorkerCounterCells;

constexpr std::string_view kPart = "/bucket/key?partNumber=3&uploadId=U1";
constexpr std::string_view kBody = "what is to be stored";

void change_nothing(config::Site&) {}

// Too small to keep a body of kBody.
void keep_nothing(config::Site& site) {
    site.retry.replay_buffer = 4;
}

// ---- row 1 -------------------------------------------------------------------------------------

class Row1 : public SplitScenario {};
SIM_SPLIT_SUITE(Row1);

TEST_P(Row1, AnAnswerThatBeganIsCutAndNotRepeated) {
    for (const Reply::Then how : {Reply::Then::fin, Reply::Then::rst}) {
        Stage stage;
        stage.split = GetParam();
        std::string text = answer(200, std::string(1000, 'x'));
        text.resize(text.size() - 300);
        stage.node('a').usual = says(text, how);
        ClientPeer& client = stage.ask(request("GET"));
        EXPECT_EQ(client.status(), 200);
        EXPECT_FALSE(client.answers.back().message().is_complete());
        EXPECT_TRUE(client.is_closed());
        EXPECT_EQ(stage.node('b').asked, 0u);
        expect_record(stage, 200, "a", "backend closed in body");
    }
}

// ---- row 2 -------------------------------------------------------------------------------------

class Row2 : public SplitScenario {};
SIM_SPLIT_SUITE(Row2);

TEST_P(Row2, RefusedGoesOnWithAnyMethod) {
    for (const char* method : {"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH"}) {
        Stage stage(3, keep_nothing);
        stage.split = GetParam();
        stage.node('a').door = Node::Door::refuse;
        ClientPeer& client =
            stage.ask(request_with(kBody, method, "/bucket/key", "If-None-Match: *\r\n"));
        ASSERT_EQ(client.status(), 200) << method;
        EXPECT_EQ(stage.visit('b').request().payload, kBody);
        expect_record(stage, 200, "ab");
    }
}

TEST_P(Row2, RefusedTakesNoTryAndNoBudget) {
    Stage stage(4, [](config::Site& site) { site.retry.max_tries = 1; });
    stage.split = GetParam();
    for (const char name : {'a', 'b', 'c'}) {
        stage.node(name).door = Node::Door::refuse;
    }
    expect_from(stage.ask(request_with(kBody, "POST")), 'd');
    expect_record(stage, 200, "abcd");
    EXPECT_EQ(stage.worker().retries(), 0);
}

TEST(Row2, ConnectTimeoutGoesOn) {
    Stage stage(3, keep_nothing);
    stage.node('a').door = Node::Door::hang;
    ClientPeer& client = stage.ask(request_with(kBody, "POST"));
    expect_fires_after(stage, seconds{2}, [&] { return stage.node('b').asked == 1; });
    expect_from(client, 'b');
    expect_record(stage, 200, "ab");
    EXPECT_EQ(stage.count(&WorkerCounterCells::connect_timeouts), 1u);
}

TEST(Row2, AHangingConnectThatIsRefusedGoesOn) {
    Stage stage;
    stage.node('a').door = Node::Door::hang;
    ClientPeer& client = stage.ask(request("DELETE"));
    stage.advance(seconds{1});
    stage.turn_away(stage.visit('a'));
    expect_from(client, 'b');
    expect_record(stage, 200, "ab");
}

TEST(Row2, ALateConnectIsUsed) {
    Stage stage;
    stage.node('a').door = Node::Door::hang;
    ClientPeer& client = stage.ask(request("GET"));
    stage.advance(milliseconds{1750});
    stage.let_in(stage.visit('a'));
    expect_from(client, 'a');
    expect_record(stage, 200, "a");
}

TEST(Row2, NobodyLetsUsIn) {
    Stage stage;
    stage.each([](Node& node) { node.door = Node::Door::refuse; });
    ClientPeer& client = stage.ask(request("GET"));
    expect_ours(client, 503, "ServiceUnavailable");
    EXPECT_EQ(client.answers.back().message().find("retry-after"), "1");
    expect_record(stage, 503, "abc", "connect refused");
}

TEST(Row2, IsSwitchedOffByKind) {
    Stage refused(3, [](config::Site& site) { site.retry.on.error = false; });
    refused.node('a').door = Node::Door::refuse;
    expect_ours(refused.ask(request("GET")), 503, "ServiceUnavailable");
    expect_record(refused, 503, "a", "connect refused");
}

TEST(Row2, ATimeoutIsNotSwitchedOffWithErrors) {
    Stage stage(3, [](config::Site& site) { site.retry.on.error = false; });
    stage.node('a').door = Node::Door::hang;
    ClientPeer& client = stage.ask(request("GET"));
    stage.advance(milliseconds{2500});
    expect_from(client, 'b');
}

TEST(Row2, AConnectTimeoutIsSwitchedOffWithTimeouts) {
    Stage stage(3, [](config::Site& site) { site.retry.on.timeout = false; });
    stage.node('a').door = Node::Door::hang;
    ClientPeer& client = stage.ask(request("GET"));
    stage.advance(milliseconds{2500});
    expect_ours(client, 503, "ServiceUnavailable");
    expect_record(stage, 503, "a", "connect timed out");
}

TEST(Row2, HasNoTimeAfterMaxTime) {
    Stage stage(3, [](config::Site& site) { site.retry.max_time = seconds{2}; });
    stage.each([](Node& node) { node.door = Node::Door::hang; });
    ClientPeer& client = stage.ask(request("GET"));
    stage.advance(seconds{10});
    expect_ours(client, 503, "ServiceUnavailable");
    expect_record(stage, 503, "a", "connect timed out");
}

// Resets the latest connection to `a` directly before the next send to it.
void reset_before_send(Stage& stage) {
    stage.network().before_output = [&stage](Endpoint& end) {
        if (&end == stage.visit('a').end) {
            stage.network().before_output = {};
            stage.network().reset(end, ECONNRESET);
        }
    };
}

TEST(Row2, AWriteWhoseFirstByteNeverLeftGoesOn) {
    for (const bool is_parked : {true, false}) {
        Stage stage(3, [](config::Site& site) { site.retry.max_tries = 1; });
        ClientPeer& client = stage.client();
        if (is_parked) {
            stage.say(client, request("GET"));
            stage.records();
            reset_before_send(stage);
        } else {
            stage.node('a').door = Node::Door::hang;
        }
        stage.say(client, request("DELETE"));
        if (!is_parked) {
            reset_before_send(stage);
            stage.let_in(stage.visit('a'));
        }
        EXPECT_EQ(stage.node('b').asked, 1u);
        EXPECT_EQ(client.body(), "from b");
        expect_record(stage, 200, "ab");
    }
}

TEST(Row2, AWriteWhoseFirstByteNeverLeftIsNoTry) {
    Stage stage(3, [](config::Site& site) { site.retry.max_tries = 2; });
    ClientPeer& client = stage.ask(request("GET"));
    stage.records();
    reset_before_send(stage);
    stage.node('b').usual = says(answer(503));
    stage.say(client, request("DELETE"));
    expect_from(client, 'c', 2);
    expect_record(stage, 200, "abc");
}

// A read may be repeated once a backend is available, whatever its earlier attempts met.
TEST(Row2, AReadThatEndsWithoutANodeGets503) {
    for (const char* method : {"GET", "PUT"}) {
        Stage stage;
        stage.node('a').usual = dies();
        stage.node('b').door = stage.node('c').door = Node::Door::refuse;
        const std::string target = "/bucket/key?partNumber=1&uploadId=U";
        ClientPeer& client =
            stage.ask(request_with(std::string(method) == "GET" ? "" : kBody, method, target));
        EXPECT_EQ(client.status(), std::string(method) == "GET" ? 503 : 502);
        EXPECT_EQ(stage.record().nodes, "abc");
    }
}

// The reset has arrived, but not its event: a write asks the socket before it uses the connection.
TEST(Row2, AWriteLooksAtAParkedConnectionFirst) {
    Stage stage;
    ClientPeer& client = stage.ask(request("GET"));
    stage.records();
    stage.visit('a').end->reset_in = true;
    stage.visit('a').end->error = ECONNRESET;
    stage.say(client, request("DELETE"));
    expect_from(client, 'a', 2);
    expect_record(stage, 200, "a");
}

// ---- row 3 -------------------------------------------------------------------------------------

std::string expecting(std::string_view method = "POST", std::size_t length = kBody.size()) {
    return request(method, "/bucket/key",
                   "Expect: 100-continue\r\nContent-Length: " + std::to_string(length) + "\r\n");
}

class Row3 : public SplitScenario {};
SIM_SPLIT_SUITE(Row3);

TEST_P(Row3, ABreakBeforeTheBodyGoesOnOnce) {
    for (const Reply::Then how : {Reply::Then::fin, Reply::Then::rst}) {
        Stage stage(3, keep_nothing);
        stage.split = GetParam();
        Reply death = dies(how);
        death.when = Reply::When::head;
        stage.node('a').usual = death;
        ClientPeer& client = stage.ask(expecting());
        ASSERT_EQ(stage.node('b').asked, 1u);
        EXPECT_EQ(client.heard(), "HTTP/1.1 100 Continue\r\n\r\n");
        stage.say(client, kBody);
        expect_from(client, 'b');
        expect_record(stage, 200, "ab");
    }
}

TEST_P(Row3, NeverAThirdAfterABreak) {
    Stage stage(4, [](config::Site& site) { site.retry.max_tries = 100; });
    stage.split = GetParam();
    stage.each([](Node& node) {
        node.usual = dies();
        node.usual.when = Reply::When::head;
    });
    expect_ours(stage.ask(expecting()), 502, "InternalError");
    EXPECT_EQ(stage.record().nodes, "ab");
}

TEST_P(Row3, A503GoesOnEvenIfItIsLoad) {
    for (const char* code : {"SlowDown", "SomethingElse"}) {
        Stage stage(3, keep_nothing);
        stage.split = GetParam();
        for (const char name : {'a', 'b'}) {
            stage.node(name).usual = says(error_answer(503, code));
            stage.node(name).usual.when = Reply::When::head;
        }
        ClientPeer& client = stage.ask(expecting());
        stage.say(client, kBody);
        expect_from(client, 'c');
        EXPECT_EQ(client.answers.back().interims, std::vector<int>{100});
        expect_record(stage, 200, "abc");
    }
}

TEST(Row3, A503IsRelayedWhereItIsSwitchedOff) {
    Stage stage(3, [](config::Site& site) { site.retry.on.http_503 = false; });
    stage.node('a').usual = says(error_answer(503, "SlowDown"));
    stage.node('a').usual.when = Reply::When::head;
    ClientPeer& client = stage.ask(expecting());
    EXPECT_EQ(client.status(), 503);
    expect_record(stage, 503, "a");
}

TEST(Row3, IsOverOnceTheNodeAskedForTheBody) {
    Stage stage(3, keep_nothing);
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(expecting());
    stage.say(stage.visit('a'), "HTTP/1.1 100 Continue\r\n\r\n");
    stage.rst(stage.visit('a'));
    expect_ours(client, 502, "InternalError");
    EXPECT_EQ(stage.record().nodes, "a");
}

TEST(Row3, IsOverOnceABodyByteWentOut) {
    Stage stage(3, keep_nothing);
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(expecting());
    stage.say(client, kBody.substr(0, 5));
    stage.rst(stage.visit('a'));
    expect_ours(client, 502, "InternalError");
    EXPECT_EQ(stage.record().nodes, "a");
}

TEST(Row3, SilenceGoesOn) {
    Stage stage(3, [](config::Site& site) { site.timeouts.backend_head = seconds{4}; });
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(expecting());
    expect_fires_after(stage, seconds{4}, [&] { return stage.node('b').asked == 1; });
    stage.say(client, kBody);
    expect_from(client, 'b');
    expect_record(stage, 200, "ab");
}

// ---- row 4 -------------------------------------------------------------------------------------

// A client whose first request left a parked connection to `a`. The connection is dead, which only
// its next use reveals.
ClientPeer& with_stale_connection(Stage& stage) {
    ClientPeer& client = stage.ask(request("GET"));
    expect_from(client, 'a');
    stage.records();
    stage.visit('a').end->peer_closed = true;
    return client;
}

class Row4 : public SplitScenario {};
SIM_SPLIT_SUITE(Row4);

TEST_P(Row4, AStaleConnectionCostsNothing) {
    for (const char* method : {"GET", "HEAD", "OPTIONS"}) {
        Stage stage(3, [](config::Site& site) { site.retry.max_tries = 1; });
        stage.split = GetParam();
        ClientPeer& client = with_stale_connection(stage);
        stage.say(client, request(method));
        EXPECT_EQ(client.status(), 200);
        ASSERT_EQ(client.answers.size(), 2u);
        expect_record(stage, 200, "aa");
        EXPECT_EQ(stage.node('b').asked, 0u);
        EXPECT_EQ(stage.visits('a'), 2u);
        EXPECT_EQ(stage.count(&WorkerCounterCells::backend_stale), 1u);
    }
}

TEST_P(Row4, ARefusalBehindItWasADeath) {
    Stage stage;
    stage.split = GetParam();
    ClientPeer& client = with_stale_connection(stage);
    stage.node('a').door = Node::Door::refuse;
    stage.say(client, request("GET"));
    expect_from(client, 'b', 2);
    expect_record(stage, 200, "aab");
}

TEST_P(Row4, ADeathIsTheOneBlindRetry) {
    Stage stage(4, [](config::Site& site) { site.retry.max_tries = 100; });
    stage.split = GetParam();
    ClientPeer& client = with_stale_connection(stage);
    stage.node('a').door = Node::Door::refuse;
    stage.node('b').usual = dies();
    stage.say(client, request("GET"));
    expect_ours(client, 502, "InternalError");
    EXPECT_EQ(stage.record().nodes, "aab");
}

TEST(Row4, ADeathCountsAsATry) {
    Stage stage(3, [](config::Site& site) { site.retry.max_tries = 1; });
    ClientPeer& client = with_stale_connection(stage);
    stage.node('a').door = Node::Door::refuse;
    stage.say(client, request("GET"));
    expect_ours(client, 503, "ServiceUnavailable");
    EXPECT_EQ(stage.record().nodes, "aa");
}

TEST(Row4, TakesNothingFromMaxTries) {
    Stage stage(3, [](config::Site& site) { site.retry.max_tries = 2; });
    ClientPeer& client = with_stale_connection(stage);
    stage.node('a').usual = says(answer(503));
    stage.say(client, request("GET"));
    expect_from(client, 'b', 2);
    // The first attempt, on the stale connection, does not count.
    EXPECT_EQ(stage.record().nodes, "aab");
}

TEST(Row4, TakesAFreshConnection) {
    Stage stage;
    stage.node('a').replies = {silence(), silence()};
    ClientPeer& first = stage.ask(request("GET"));
    ClientPeer& second = stage.ask(request("GET"));
    for (const std::size_t nth : {0u, 1u}) {
        stage.say(stage.visit('a', nth), answer(200, "from a"));
        stage.visit('a', nth).end->peer_closed = true;
    }
    EXPECT_EQ(second.status(), 200);
    stage.records();
    stage.say(first, request("GET"));
    expect_from(first, 'a', 2);
    expect_record(stage, 200, "aa");
    EXPECT_EQ(stage.visits('a'), 3u);
}

TEST(Row4, IsNotForSilence) {
    Stage stage(3, [](config::Site& site) { site.timeouts.backend_head = seconds{4}; });
    ClientPeer& client = stage.ask(request("GET"));
    stage.records();
    stage.node('a').usual = silence();
    stage.say(client, request("GET"));
    stage.advance(seconds{5});
    expect_from(client, 'b', 2);
    expect_record(stage, 200, "ab");
}

TEST(Row4, IsUsedOnce) {
    Stage stage(4, [](config::Site& site) { site.retry.max_tries = 100; });
    ClientPeer& client = with_stale_connection(stage);
    stage.each([](Node& node) { node.usual = dies(); });
    stage.say(client, request("GET"));
    expect_ours(client, 502, "InternalError");
    EXPECT_EQ(stage.record().nodes, "aab");
}

TEST(Row4, IsNotForWrites) {
    Stage stage;
    ClientPeer& client = with_stale_connection(stage);
    stage.say(client, request("DELETE"));
    expect_ours(client, 502, "InternalError");
    EXPECT_EQ(stage.record().nodes, "a");
    EXPECT_EQ(stage.visits('a'), 1u);
}

TEST(Row4, IsNotForAnAnswerThatBegan) {
    Stage stage;
    ClientPeer& client = stage.ask(request("GET"));
    stage.records();
    stage.node('a').usual = says("HTTP/1.1 2", Reply::Then::rst);
    stage.say(client, request("GET"));
    expect_from(client, 'b', 2);
    expect_record(stage, 200, "ab");
}

TEST(Row4, IsSwitchedOffWithErrors) {
    Stage stage(3, [](config::Site& site) { site.retry.on.error = false; });
    ClientPeer& client = with_stale_connection(stage);
    stage.say(client, request("GET"));
    EXPECT_EQ(client.status(), 503);
    EXPECT_EQ(stage.record().nodes, "a");
}

TEST(Row4, AnOldConnectionIsNotUsedForWrites) {
    for (const auto& [idle, connections] : {std::pair(seconds{4}, 1u), std::pair(seconds{6}, 2u)}) {
        Stage stage;
        ClientPeer& client = stage.ask(request("GET"));
        stage.advance(idle);
        stage.say(client, request("DELETE"));
        EXPECT_EQ(client.answers.size(), 2u);
        EXPECT_EQ(stage.visits('a'), connections);
        stage.say(client, request("GET"));
        EXPECT_EQ(stage.visits('a'), connections);
    }
}

// ---- row 5 -------------------------------------------------------------------------------------

class Row5 : public SplitScenario {};
SIM_SPLIT_SUITE(Row5);

TEST_P(Row5, A503GoesOnForReadsAndSimpleWritesInHand) {
    for (const std::string& text :
         {request("GET"), request("HEAD"), request("OPTIONS"), request("DELETE"),
          request_with(kBody), request_with(kBody, "PUT", kPart)}) {
        Stage stage;
        stage.split = GetParam();
        for (const char name : {'a', 'b'}) {
            stage.node(name).usual = says(error_answer(503, "XMinioServerNotInitialized"));
        }
        ClientPeer& client = stage.ask(text);
        ASSERT_EQ(client.status(), 200) << text;
        expect_record(stage, 200, "abc");
        if (text.ends_with(kBody)) {
            EXPECT_EQ(stage.visit('c').request().payload, kBody);
        }
    }
}

TEST_P(Row5, A503IsRelayedForOtherWrites) {
    const std::string if_match = "If-Match: \"e\"\r\n";
    const std::string if_none_match = "If-None-Match: *\r\n";
    const std::string copy = "x-amz-copy-source: /b/other\r\n";
    for (const std::string& text : {request("POST"), request("PATCH"), request_with(kBody, "POST"),
                                    request("DELETE", "/bucket/key", if_match),
                                    request_with(kBody, "PUT", "/bucket/key", if_none_match),
                                    request_with("", "PUT", "/bucket/key", copy)}) {
        Stage stage;
        stage.split = GetParam();
        stage.node('a').usual = says(error_answer(503, "Unknown"));
        ClientPeer& client = stage.ask(text);
        EXPECT_EQ(client.status(), 503) << text;
        expect_record(stage, 503, "a");
    }
}

TEST_P(Row5, A503IsRelayedOnceTheBodyIsGone) {
    Stage stage(3, keep_nothing);
    stage.split = GetParam();
    stage.node('a').usual = says(error_answer(503, "Unknown"));
    EXPECT_EQ(stage.ask(request_with(kBody)).status(), 503);
    expect_record(stage, 503, "a");
}

TEST_P(Row5, LoadIsRelayedByItsExactCode) {
    for (const std::string_view code :
         {"SlowDown", "TooManyRequests", "ServerBusy", "Busy", "RequestTimeout"}) {
        Stage stage;
        stage.split = GetParam();
        stage.node('a').usual = says(error_answer(503, code));
        EXPECT_EQ(stage.ask(request("GET")).status(), 503) << code;
        expect_record(stage, 503, "a");
    }
}

TEST_P(Row5, CodesThatAreLikeLoadAreNone) {
    for (const std::string_view code : {"SlowDownRead", "SlowDownWrite", "Slow", "slowdown", ""}) {
        Stage stage;
        stage.split = GetParam();
        stage.node('a').usual = says(error_answer(503, code));
        expect_from(stage.ask(request("GET")), 'b');
        expect_record(stage, 200, "ab");
    }
}

TEST_P(Row5, TheCodeOfAHeadIsInAField) {
    for (const auto& [code, nodes] :
         {std::pair("SlowDown", "a"), std::pair("SlowDownRead", "ab")}) {
        Stage stage;
        stage.split = GetParam();
        stage.node('a').usual =
            says(answer(503, "", std::string("x-minio-error-code: ") + code + "\r\n"));
        stage.ask(request("HEAD"));
        EXPECT_EQ(stage.record().nodes, nodes);
    }
}

TEST_P(Row5, TheCodeMayBeInAChunkedBody) {
    Stage stage;
    stage.split = GetParam();
    stage.node('a').usual = says(
        "HTTP/1.1 503 Slow\r\nTransfer-Encoding: chunked\r\n\r\n"
        "d\r\n<Error><Code>\r\n4\r\nSlow\r\n4\r\nDown\r\nf\r\n</Code></Error>\r\n0\r\n\r\n");
    EXPECT_EQ(stage.ask(request("GET")).status(), 503);
    expect_record(stage, 503, "a");
}

TEST(Row5, TheCodeIsWaitedForUpToASecond) {
    for (const auto& [wait, status] :
         {std::pair(milliseconds{750}, 503), std::pair(milliseconds{1500}, 200)}) {
        Stage stage;
        stage.node('a').usual = silence();
        ClientPeer& client = stage.ask(request("GET"));
        const std::string text = error_answer(503, "SlowDown");
        const std::size_t head_end = text.find("\r\n\r\n") + 4;
        stage.say(stage.visit('a'), text.substr(0, head_end));
        stage.advance(wait);
        stage.say(stage.visit('a'), text.substr(head_end));
        EXPECT_EQ(client.status(), status);
    }
}

TEST_P(Row5, A429IsRelayed) {
    Stage stage;
    stage.split = GetParam();
    stage.node('a').usual = says(answer(429));
    EXPECT_EQ(stage.ask(request("GET")).status(), 429);
    expect_record(stage, 429, "a");
}

// A node that refuses has executed nothing: the request tries each node once, without using up
// attempts or tokens.
TEST(Row5, ARefusalCostsNothing) {
    Stage stage(4, [](config::Site& site) { site.retry.max_tries = 1; });
    for (const char name : {'a', 'b', 'c'}) {
        stage.node(name).usual = says(error_answer(503, "SlowDownWrite"));
    }
    ClientPeer& client = stage.client();
    for (int i = 0; i < 30; ++i) {
        stage.say(client, request_with(kBody));
        ASSERT_EQ(client.status(), 200);
        expect_record(stage, 200, "abcd");
    }
    EXPECT_EQ(stage.count(&WorkerCounterCells::budget_spent), 0u);
}

TEST(Row5, RefusalsAreBoundByTheNumberOfNodesAlone) {
    Stage stage;
    stage.each([](Node& node) { node.usual = says(error_answer(503, "SlowDownWrite")); });
    ClientPeer& client = stage.client();
    for (int i = 0; i < 30; ++i) {
        stage.say(client, request("GET"));
        EXPECT_EQ(client.status(), 503);
        expect_record(stage, 503, "abc");
    }
    stage.node('b').usual = silence();
    for (int i = 0; i < 15; ++i) {
        stage.ask(request("GET"));
    }
    EXPECT_EQ(stage.node('b').asked, 45u);
    EXPECT_EQ(stage.worker().retries(), 0);
    EXPECT_EQ(stage.count(&WorkerCounterCells::budget_spent), 0u);
}

TEST(Row5, WhenAllRefuseAMarkedNodeIsAsked) {
    Stage stage(3, [](config::Site& site) { site.passive.max_fails = 1; });
    stage.node('a').door = Node::Door::refuse;
    stage.ask(request("GET"));
    ASSERT_TRUE(stage.is_marked('a'));
    stage.records();
    stage.node('a').door = Node::Door::open;
    for (const char name : {'b', 'c'}) {
        stage.node(name).usual = says(error_answer(503, "XMinioServerNotInitialized"));
    }
    expect_from(stage.ask(request_with(kBody)), 'a');
    EXPECT_EQ(stage.record().nodes, "bca");
}

TEST(Row5, TheLastAnswerIsRelayed) {
    Stage stage;
    stage.each([](Node& node) { node.usual = says(answer(503, node.name)); });
    ClientPeer& client = stage.ask(request("GET"));
    EXPECT_EQ(client.status(), 503);
    EXPECT_EQ(client.body(), "c");
    expect_record(stage, 503, "abc");
}

TEST(Row5, IsSwitchedOff) {
    Stage stage(3, [](config::Site& site) { site.retry.on.http_503 = false; });
    stage.node('a').usual = says(answer(503));
    EXPECT_EQ(stage.ask(request("GET")).status(), 503);
    expect_record(stage, 503, "a");
}

// ---- row 6 -------------------------------------------------------------------------------------

class Row6 : public SplitScenario {};
SIM_SPLIT_SUITE(Row6);

TEST_P(Row6, ReadsGoOn) {
    for (const int status : {500, 502, 504}) {
        for (const char* method : {"GET", "HEAD", "OPTIONS"}) {
            Stage stage;
            stage.split = GetParam();
            stage.node('a').usual = says(answer(status, "x"));
            EXPECT_EQ(stage.ask(request(method)).status(), 200);
            expect_record(stage, 200, "ab");
        }
    }
}

TEST_P(Row6, WritesGetTheAnswer) {
    for (const int status : {500, 502, 504}) {
        for (const std::string& text : {request("DELETE"), request_with(kBody), request("POST"),
                                        request_with(kBody, "PUT", kPart)}) {
            Stage stage;
            stage.split = GetParam();
            stage.node('a').usual = says(answer(status, "x"));
            EXPECT_EQ(stage.ask(text).status(), status);
            expect_record(stage, status, "a");
        }
    }
}

TEST(Row6, AReadWithABodyThatIsGoneGetsTheAnswer) {
    for (const auto& [change, nodes] :
         {std::pair(&keep_nothing, "a"), std::pair(&change_nothing, "ab")}) {
        Stage stage(3, change);
        stage.node('a').usual = says(answer(500, "x"));
        stage.ask(request_with(kBody, "GET"));
        EXPECT_EQ(stage.record().nodes, nodes);
    }
}

TEST(Row6, EachStatusIsSwitchedOffByItself) {
    for (const int off : {500, 502, 504}) {
        for (const int status : {500, 502, 504}) {
            Stage stage(3, [off](config::Site& site) {
                site.retry.on.http_500 = off != 500;
                site.retry.on.http_502 = off != 502;
                site.retry.on.http_504 = off != 504;
            });
            stage.node('a').usual = says(answer(status));
            stage.ask(request("GET"));
            EXPECT_EQ(stage.record().nodes, status == off ? "a" : "ab");
        }
    }
}

TEST(Row6, OtherStatusesAreRelayed) {
    for (const int status : {204, 304, 400, 403, 404, 409, 412, 501, 505, 507}) {
        Stage stage;
        const std::string length = status == 204 || status == 304 ? "" : "Content-Length: 0\r\n";
        stage.node('a').usual =
            says("HTTP/1.1 " + std::to_string(status) + " No\r\n" + length + "\r\n");
        EXPECT_EQ(stage.ask(request("GET")).status(), status);
        expect_record(stage, status, "a");
    }
}

// ---- row 7 -------------------------------------------------------------------------------------

void write_unanswered(config::Site& site) {
    site.retry.unanswered_writes = true;
}

class Row7 : public SplitScenario {};
SIM_SPLIT_SUITE(Row7);

TEST_P(Row7, ReadsAndPartsInHandGoOn) {
    for (const Reply::Then how : {Reply::Then::fin, Reply::Then::rst}) {
        for (const std::string& text : {request("GET"), request("HEAD"), request("OPTIONS"),
                                        request_with(kBody, "PUT", kPart)}) {
            Stage stage;
            stage.split = GetParam();
            stage.node('a').usual = dies(how);
            EXPECT_EQ(stage.ask(text).status(), 200) << text;
            expect_record(stage, 200, "ab");
            EXPECT_EQ(stage.count(&WorkerCounterCells::backend_broken), 1u);
        }
    }
}

TEST_P(Row7, OtherWritesAreTold) {
    for (const std::string& text :
         {request("DELETE"), request("POST"), request_with(kBody), request_with(kBody, "POST"),
          request_with(kBody, "GET"), request_with("", "PUT", kPart),
          request_with(kBody, "PUT", kPart, "x-amz-copy-source: /b/other\r\n")}) {
        Stage stage;
        stage.split = GetParam();
        stage.node('a').usual = dies();
        expect_ours(stage.ask(text), 502, "InternalError");
        EXPECT_EQ(stage.record().nodes, "a") << text;
    }
}

TEST_P(Row7, APartThatIsGoneIsTold) {
    Stage stage(3, keep_nothing);
    stage.split = GetParam();
    stage.node('a').usual = dies();
    expect_ours(stage.ask(request_with(kBody, "PUT", kPart)), 502, "InternalError");
    EXPECT_EQ(stage.record().nodes, "a");
}

TEST_P(Row7, UnansweredObjectsAndDeletesGoOnWhereAskedFor) {
    for (const std::string& text : {request("DELETE"), request_with(kBody), request_with("")}) {
        Stage stage(3, write_unanswered);
        stage.split = GetParam();
        stage.node('a').usual = dies();
        expect_from(stage.ask(text), 'b');
        expect_record(stage, 200, "ab");
    }
}

TEST_P(Row7, UnansweredWritesOfOtherKindsAreTold) {
    for (const std::string& text :
         {request("POST"), request_with(kBody, "POST"), request("DELETE", "/bucket"),
          request_with(kBody, "PUT", "/bucket/key?acl"),
          request("DELETE", "/bucket/key", "If-Match: \"e\"\r\n"),
          request_with(kBody, "PUT", "/bucket/key", "If-None-Match: *\r\n"),
          request_with("", "PUT", "/bucket/key", "x-amz-copy-source: /b/other\r\n")}) {
        Stage stage(3, write_unanswered);
        stage.split = GetParam();
        stage.node('a').usual = dies();
        expect_ours(stage.ask(text), 502, "InternalError");
        EXPECT_EQ(stage.record().nodes, "a") << text;
    }
}

TEST(Row7, AnUnansweredObjectThatIsGoneIsTold) {
    Stage stage(3, [](config::Site& site) {
        write_unanswered(site);
        keep_nothing(site);
    });
    stage.node('a').usual = dies();
    expect_ours(stage.ask(request_with(kBody)), 502, "InternalError");
    EXPECT_EQ(stage.record().nodes, "a");
}

TEST(Row7, PlainSitesHaveNoObjects) {
    Stage stage(3, [](config::Site& site) {
        write_unanswered(site);
        site.type = config::SiteType::http;
    });
    stage.node('a').usual = dies();
    expect_ours(stage.ask(request_with(kBody)), 502, "InternalError");
    EXPECT_EQ(stage.record().nodes, "a");
}

TEST(Row7, ARequestKillsTwoNodesAtMost) {
    for (const std::string& text :
         {request("GET"), request_with(kBody, "PUT", kPart), request_with(kBody)}) {
        Stage stage(12, [](config::Site& site) {
            write_unanswered(site);
            site.retry.max_tries = 100;
        });
        std::size_t asked = 0;
        stage.each([](Node& node) { node.usual = dies(); });
        expect_ours(stage.ask(text), 502, "InternalError");
        stage.each([&](Node& node) { asked += node.asked; });
        EXPECT_EQ(asked, 2u);
        EXPECT_EQ(stage.record().tries, 2);
    }
}

// No retry follows it, and a parked connection might be stale.
TEST(Row7, ABlindRetryOpensAFreshConnection) {
    Stage stage;
    stage.set_up('a', false);
    stage.ask(request("GET"));
    stage.visit('b').end->peer_closed = true;
    stage.records();
    stage.set_up('a', true);
    stage.node('a').usual = dies();
    ClientPeer& client = stage.ask(request("GET"));
    expect_from(client, 'b');
    expect_record(stage, 200, "ab");
    EXPECT_EQ(stage.visits('b'), 2u);
}

// The blind retry is spent, in whichever row; rows with an answer still retry.
TEST(Row7, AStatusBehindADeathStillGoesOn) {
    Stage stage(4, [](config::Site& site) { site.retry.max_tries = 100; });
    stage.node('a').usual = dies();
    stage.node('b').usual = says(answer(503));
    stage.node('c').usual = dies();
    expect_ours(stage.ask(request("GET")), 502, "InternalError");
    EXPECT_EQ(stage.record().nodes, "abc");
}

void answer_within_4s(config::Site& site) {
    site.timeouts.backend_head = seconds{4};
}

TEST(Row7, SilenceGoesOnForReads) {
    Stage stage(3, answer_within_4s);
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(request("GET"));
    expect_fires_after(stage, seconds{4}, [&] { return stage.node('b').asked == 1; });
    expect_from(client, 'b');
    expect_record(stage, 200, "ab");
    EXPECT_TRUE(stage.visit('a').is_cut());
}

TEST(Row7, SilenceIsToldToWrites) {
    Stage stage(3, answer_within_4s);
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(request_with(kBody));
    expect_fires_after(stage, seconds{4}, [&] { return client.status() != 0; });
    expect_ours(client, 504, "RequestTimeout");
    expect_record(stage, 504, "a", "backend response timeout");
}

TEST(Row7, SilenceTwiceIsTold) {
    Stage stage(3, answer_within_4s);
    stage.each([](Node& node) { node.usual = silence(); });
    ClientPeer& client = stage.ask(request("GET"));
    stage.advance(seconds{20});
    expect_ours(client, 504, "RequestTimeout");
    expect_record(stage, 504, "ab", "backend response timeout");
}

TEST(Row7, BreaksAndTimeoutsAreSwitchedOffByKind) {
    for (const bool error : {false, true}) {
        for (const bool is_break : {false, true}) {
            Stage stage(3, [error](config::Site& site) {
                answer_within_4s(site);
                site.retry.on.error = error;
                site.retry.on.timeout = !error;
            });
            stage.node('a').usual = is_break ? dies() : silence();
            ClientPeer& client = stage.ask(request("GET"));
            stage.advance(seconds{5});
            EXPECT_EQ(stage.record().nodes, error == is_break ? "ab" : "a");
            EXPECT_EQ(client.status(), error == is_break ? 200 : is_break ? 502 : 504);
        }
    }
}

TEST(Row7, WhatIsNoHttpGoesOnForReads) {
    for (const bool is_read : {true, false}) {
        Stage stage;
        stage.node('a').usual = says("SSH-2.0-what\r\n\r\n");
        ClientPeer& client = stage.ask(is_read ? request("GET") : request("DELETE"));
        EXPECT_EQ(client.status(), is_read ? 200 : 502);
        EXPECT_EQ(stage.record().nodes, is_read ? "ab" : "a");
        EXPECT_EQ(stage.count(&WorkerCounterCells::backend_malformed), 1u);
        EXPECT_FALSE(stage.is_marked('a'));
    }
}

// ---- limits ------------------------------------------------------------------------------------

TEST(RetryLimits, MaxTriesCountsWhatWasSent) {
    for (const unsigned tries : {1u, 2u, 3u}) {
        Stage stage(4, [tries](config::Site& site) { site.retry.max_tries = tries; });
        stage.node('a').door = Node::Door::refuse;
        for (const char name : {'b', 'c', 'd'}) {
            stage.node(name).usual = says(answer(503));
        }
        EXPECT_EQ(stage.ask(request("GET")).status(), 503);
        EXPECT_EQ(stage.record().nodes, std::string("abcd").substr(0, 1 + tries));
    }
}

TEST(RetryLimits, MaxTimeBoundsTheBeginOfTries) {
    Stage stage(4, [](config::Site& site) { site.retry.max_time = seconds{3}; });
    stage.each([](Node& node) { node.usual = silence(); });
    ClientPeer& client = stage.ask(request("GET"));
    stage.advance(seconds{2});
    stage.say(stage.visit('a'), answer(503));
    EXPECT_EQ(stage.node('b').asked, 1u);
    stage.advance(seconds{2});
    stage.say(stage.visit('b'), answer(503));
    EXPECT_EQ(client.status(), 503);
    expect_record(stage, 503, "ab");
}

TEST(RetryLimits, TokensAreSpentOnASickCluster) {
    Stage stage;
    stage.each([](Node& node) { node.usual = says(answer(503)); });
    ClientPeer& client = stage.client();
    for (int i = 0; i < 100; ++i) {
        stage.say(client, request("GET"));
        EXPECT_EQ(client.status(), 503);
    }
    std::size_t asked = 0;
    stage.each([&](Node& node) { asked += node.asked; });
    // The clients' requests, a tenth more, and ten.
    EXPECT_GE(asked, 100u + 18);
    EXPECT_LE(asked, 100u + 20);
    EXPECT_GT(stage.count(&WorkerCounterCells::budget_spent), 80u);
}

TEST(RetryLimits, ARetryThatHelpedCostsNoToken) {
    Stage stage;
    stage.node('a').usual = says(answer(503));
    ClientPeer& client = stage.client();
    for (int i = 0; i < 100; ++i) {
        stage.say(client, request("GET"));
        ASSERT_EQ(client.status(), 200);
    }
    EXPECT_EQ(stage.count(&WorkerCounterCells::budget_spent), 0u);
}

std::vector<ClientPeer*> ask_many(Stage& stage, int count) {
    std::vector<ClientPeer*> clients;
    for (int i = 0; i < count; ++i) {
        clients.push_back(&stage.ask(request("GET")));
    }
    return clients;
}

int count_with(const std::vector<ClientPeer*>& clients, int status) {
    const auto has_status = [&](const ClientPeer* one) { return one->status() == status; };
    return static_cast<int>(std::count_if(clients.begin(), clients.end(), has_status));
}

TEST(RetryLimits, TimeoutsShareABudgetOfThreeUnderWay) {
    Stage stage(3, answer_within_4s);
    stage.each([](Node& node) { node.usual = silence(); });
    const std::vector<ClientPeer*> clients = ask_many(stage, 5);
    stage.advance(seconds{5});
    EXPECT_EQ(stage.worker().retries(), 3);
    EXPECT_EQ(stage.node('b').asked, 3u);
    EXPECT_EQ(count_with(clients, 504), 2);
    EXPECT_EQ(stage.count(&WorkerCounterCells::budget_spent), 2u);
}

TEST(RetryLimits, AFifthOfTheRequestsInFlightMayBeRetries) {
    Stage stage(3, answer_within_4s);
    stage.each([](Node& node) { node.usual = silence(); });
    const std::vector<ClientPeer*> clients = ask_many(stage, 25);
    stage.advance(seconds{5});
    // Each request that gives up reduces the number in flight: 25 allow five retries, the remaining
    // 20 four.
    EXPECT_EQ(stage.worker().retries(), 5);
    EXPECT_EQ(count_with(clients, 504), 20);
}

TEST(RetryLimits, ARetryIsUnderWayUntilItsAnswerBegins) {
    Stage stage(3, answer_within_4s);
    stage.each([](Node& node) { node.usual = silence(); });
    ClientPeer& client = stage.ask(request("GET"));
    stage.advance(seconds{5});
    EXPECT_EQ(stage.worker().retries(), 1);
    const std::string text = answer(200, "long in coming");
    stage.say(stage.visit('b'), text.substr(0, text.size() - 3));
    EXPECT_EQ(stage.worker().retries(), 0);
    EXPECT_EQ(stage.worker().requests(), 1);
    stage.say(stage.visit('b'), text.substr(text.size() - 3));
    EXPECT_EQ(client.body(), "long in coming");
}

TEST(RetryLimits, ADeathTakesNothingFromTheBudget) {
    Stage stage;
    stage.each([](Node& node) { node.usual = silence(); });
    const std::vector<ClientPeer*> clients = ask_many(stage, 8);
    for (std::size_t i = 0; i < 8; ++i) {
        stage.rst(stage.visit('a', i));
    }
    EXPECT_EQ(stage.node('b').asked, 8u);
    EXPECT_EQ(stage.worker().retries(), 0);
    EXPECT_EQ(stage.count(&WorkerCounterCells::budget_spent), 0u);
}

TEST(RetryLimits, NonsenseTakesFromTheBudget) {
    Stage stage;
    stage.node('a').usual = says("nonsense\r\n\r\n");
    stage.node('b').usual = silence();
    const std::vector<ClientPeer*> clients = ask_many(stage, 5);
    EXPECT_EQ(stage.worker().retries(), 3);
    EXPECT_EQ(count_with(clients, 502), 2);
}

}  // namespace
}  // namespace s3gate::sim
