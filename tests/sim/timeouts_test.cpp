// Every limit of config::Timeouts: it fires, not too early, and not while there is progress.
#include "scenario.hpp"

namespace s3gate::sim {
namespace {

using state::WorkerCounterCells;

constexpr std::string_view kBody = "what is to be stored";

// All different, so none is taken for another.
void set_limits(config::Site& site) {
    site.timeouts.connect = seconds{2};
    site.timeouts.client_head = seconds{3};
    site.timeouts.client_idle = seconds{5};
    site.timeouts.client_body = seconds{7};
    site.timeouts.client_write = seconds{9};
    site.timeouts.backend_head = seconds{11};
    site.timeouts.backend_body = seconds{13};
    site.timeouts.backend_stream = seconds{40};
    site.timeouts.tunnel_idle = seconds{17};
    site.upgrade = true;
}

TEST(Timeouts, ConnectFires) {
    Stage stage(1, set_limits);
    stage.node('a').door = Node::Door::hang;
    ClientPeer& client = stage.ask(request("GET"));
    expect_fires_after(stage, seconds{2}, [&] { return client.status() != 0; });
    expect_ours(client, 503, "ServiceUnavailable");
    expect_record(stage, 503, "a", "connect timed out");
}

TEST(Timeouts, ClientHeadFiresOnASilentConnection) {
    Stage stage(1, set_limits);
    ClientPeer& client = stage.client();
    expect_fires_after(stage, seconds{3}, [&] { return client.is_closed(); });
    EXPECT_EQ(client.heard(), "");
    EXPECT_TRUE(client.is_finished());
    EXPECT_TRUE(stage.records().empty());
    EXPECT_EQ(stage.count(&WorkerCounterCells::client_idle_closed), 1u);
}

// The whole head has one deadline, even if bytes arrive steadily.
TEST(Timeouts, ClientHeadFiresOnATrickle) {
    Stage stage(1, set_limits);
    ClientPeer& client = stage.ask("GET / HT");
    for (int i = 0; i < 11; ++i) {
        stage.say(client, "T");
        stage.advance(kTick);
        ASSERT_EQ(client.heard(), "");
    }
    stage.advance(2 * kTick);
    expect_ours(client, 408, "RequestTimeout");
    EXPECT_TRUE(client.is_finished());
    expect_record(stage, 408, "", "client head timeout");
    EXPECT_EQ(stage.count(&WorkerCounterCells::client_head_timeouts), 1u);
}

TEST(Timeouts, ClientIdleFiresBetweenRequests) {
    Stage stage(1, set_limits);
    ClientPeer& client = stage.ask(request("GET"));
    stage.advance(seconds{4});
    stage.say(client, request("GET"));
    expect_from(client, 'a', 2);
    stage.records();
    expect_fires_after(stage, seconds{5}, [&] { return client.is_closed(); });
    EXPECT_TRUE(client.is_finished());
    EXPECT_TRUE(stage.records().empty());
    EXPECT_EQ(stage.count(&WorkerCounterCells::client_idle_closed), 1u);
}

TEST(Timeouts, AnEmptyLineBehindARequestIsNoBeginning) {
    Stage stage(1, set_limits);
    ClientPeer& client = stage.ask(request("GET"));
    stage.records();
    stage.say(client, "\r\n");
    stage.advance(seconds{4});
    EXPECT_TRUE(client.is_closed());
    EXPECT_EQ(client.answers.size(), 1u);
    EXPECT_TRUE(stage.records().empty());
}

TEST(Timeouts, ClientBodyFiresWithoutProgress) {
    Stage stage(1, set_limits);
    std::string text = request_with(kBody);
    ClientPeer& client = stage.ask(text.substr(0, text.size() - 10));
    stage.advance(seconds{6});
    stage.say(client, "x");
    expect_fires_after(stage, seconds{7}, [&] { return client.status() != 0; });
    expect_ours(client, 408, "RequestTimeout");
    EXPECT_TRUE(client.is_closed());
    EXPECT_TRUE(stage.visit('a').is_cut());
    expect_record(stage, 408, "a", "client body timeout");
    EXPECT_EQ(stage.count(&WorkerCounterCells::client_body_timeouts), 1u);
}

// The fault is the client's, so no other node is tried, even for a repeatable request.
TEST(Timeouts, ClientBodyIsToldWhateverMayBeRepeated) {
    for (const bool expects : {false, true}) {
        Stage stage(3, set_limits);
        stage.node('a').usual = silence();
        std::string text = request_with(kBody, "PUT", "/bucket/key?partNumber=1&uploadId=U",
                                        expects ? "Expect: 100-continue\r\n" : "");
        ClientPeer& client = stage.ask(text.substr(0, text.size() - 10));
        if (expects) {
            stage.say(stage.visit('a'), "HTTP/1.1 100 Continue\r\n\r\n");
        }
        stage.advance(seconds{10});
        expect_ours(client, 408, "RequestTimeout");
        EXPECT_EQ(stage.visits('b'), 0u);
        expect_record(stage, 408, "a", "client body timeout");
        EXPECT_EQ(stage.count(&WorkerCounterCells::client_body_timeouts), 1u);
        EXPECT_EQ(stage.count(&WorkerCounterCells::retries), 0u);
    }
}

TEST(Timeouts, ClientWriteFiresWithoutProgress) {
    Stage stage(1, set_limits);
    stage.node('a').usual = says(answer(200, std::string(300000, 'x')));
    ClientPeer& client = stage.client();
    client.end->room = 5000;
    stage.say(client, request("GET"));
    stage.advance(seconds{8});
    stage.take(*client.end, 1000);
    expect_fires_after(stage, seconds{9}, [&] { return client.is_closed(); });
    EXPECT_TRUE(client.is_reset());
    EXPECT_EQ(client.heard().size(), 6000u);
    EXPECT_TRUE(stage.visit('a').is_cut());
    expect_record(stage, 200, "a", "client write timeout");
    EXPECT_EQ(stage.count(&WorkerCounterCells::client_write_timeouts), 1u);
}

TEST(Timeouts, BackendHeadFires) {
    Stage stage(1, set_limits);
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(request("DELETE"));
    expect_fires_after(stage, seconds{11}, [&] { return client.status() != 0; });
    expect_ours(client, 504, "RequestTimeout");
    expect_record(stage, 504, "a", "backend response timeout");
    EXPECT_EQ(stage.count(&WorkerCounterCells::backend_head_timeouts), 1u);
}

// An answer is not late while the request is in transit.
TEST(Timeouts, BackendHeadBeginsBehindTheRequest) {
    Stage stage(1, set_limits);
    stage.node('a').usual = silence();
    std::string text = request_with(kBody);
    ClientPeer& client = stage.ask(text.substr(0, text.size() - 4));
    for (std::size_t left = 4; left > 0; --left) {
        stage.advance(seconds{6});
        stage.say(client, text.substr(text.size() - left, 1));
    }
    EXPECT_EQ(client.status(), 0);
    expect_fires_after(stage, seconds{11}, [&] { return client.status() != 0; });
    expect_ours(client, 504, "RequestTimeout");
}

TEST(Timeouts, BackendBodyFiresWithoutProgress) {
    Stage stage(1, set_limits);
    const std::string text = answer(200, std::string(1000, 'x'));
    stage.node('a').usual = says(text.substr(0, text.size() - 10));
    ClientPeer& client = stage.ask(request("GET"));
    stage.advance(seconds{12});
    stage.say(stage.visit('a'), "x");
    expect_fires_after(stage, seconds{13}, [&] { return client.is_closed(); });
    // Visibly cut: the declared length shows it, and the received bytes arrive.
    EXPECT_TRUE(client.is_finished());
    EXPECT_EQ(client.body().size(), 991u);
    EXPECT_FALSE(client.answers.back().message().is_complete());
    expect_record(stage, 200, "a", "backend body timeout");
    EXPECT_EQ(stage.count(&WorkerCounterCells::backend_body_timeouts), 1u);
}

TEST(Timeouts, BackendBodyFiresOnANodeThatStopsReading) {
    Stage stage(1, set_limits);
    stage.node('a').room = 1000;
    ClientPeer& client = stage.ask(request_with(std::string(100000, 'x')));
    stage.advance(seconds{12});
    stage.take(*stage.visit('a').end, 100);
    expect_fires_after(stage, seconds{13}, [&] { return client.status() != 0; });
    expect_ours(client, 504, "RequestTimeout");
    expect_record(stage, 504, "a", "backend stopped reading");
    EXPECT_EQ(stage.count(&WorkerCounterCells::backend_write_timeouts), 1u);
}

TEST(Timeouts, BackendStreamIsForAnswersThatWaitByNature) {
    for (const char* target : {"/bucket?events=s3:ObjectCreated:*", "/minio/admin/v3/trace"}) {
        Stage stage(1, set_limits);
        stage.node('a').usual = silence();
        ClientPeer& client = stage.ask(request("GET", target));
        // Instead of backend_head …
        stage.advance(seconds{30});
        EXPECT_EQ(client.status(), 0) << target;
        stage.say(stage.visit('a'), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        EXPECT_EQ(client.status(), 200);
        // … and of backend_body.
        expect_fires_after(stage, seconds{40}, [&] { return client.is_closed(); });
        expect_record(stage, 200, "a", "backend body timeout");
    }
}

TEST(Timeouts, BackendStreamFiresOnAHead) {
    Stage stage(1, set_limits);
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(request("GET", "/bucket?events=x"));
    expect_fires_after(stage, seconds{40}, [&] { return client.status() != 0; });
    expect_ours(client, 504, "RequestTimeout");
}

TEST(Timeouts, BackendStreamIsForEventStreams) {
    Stage stage(1, [](config::Site& site) {
        set_limits(site);
        site.type = config::SiteType::http;
    });
    stage.node('a').usual = says(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    ClientPeer& client = stage.ask(request("GET"));
    expect_fires_after(stage, seconds{40}, [&] { return client.is_closed(); });
}

TEST(Timeouts, AnObjectCalledLikeAStreamHasTheUsualLimits) {
    Stage stage(1, set_limits);
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(request("GET", "/bucket/key?events=x"));
    expect_fires_after(stage, seconds{11}, [&] { return client.status() != 0; });
}

constexpr std::string_view kOffer = "Connection: upgrade\r\nUpgrade: websocket\r\n";
constexpr std::string_view kSwitch =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";

TEST(Timeouts, TunnelIdleFires) {
    Stage stage(1, set_limits);
    stage.node('a').usual = says(std::string(kSwitch));
    ClientPeer& client = stage.ask(request("GET", "/ws", kOffer));
    ASSERT_EQ(client.status(), 101);
    stage.advance(seconds{16});
    stage.say(client, "ping");
    stage.advance(seconds{16});
    stage.say(stage.visit('a'), "pong");
    EXPECT_TRUE(client.heard().ends_with("pong"));
    EXPECT_TRUE(stage.visit('a').heard().ends_with("ping"));
    expect_fires_after(stage, seconds{17}, [&] { return client.is_closed(); });
    EXPECT_TRUE(client.is_reset());
    EXPECT_TRUE(stage.visit('a').is_cut());
    expect_record(stage, 101, "a", "tunnel idle timeout");
    EXPECT_EQ(stage.count(&WorkerCounterCells::tunnel_idle_timeouts), 1u);
}

TEST(Timeouts, PoolIdleClosesAParkedConnection) {
    Stage stage(1, [](config::Site& site) { site.backends.idle_timeout = seconds{6}; });
    stage.ask(request("GET"));
    expect_fires_after(stage, seconds{6}, [&] { return stage.visit('a').is_closed(); });
}

// After a stall of the process no peer is late.
TEST(Timeouts, OurOwnStandstillIsNobodysFault) {
    Stage stage(1, set_limits);
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(request("GET"));
    stage.advance(seconds{2});
    stage.network().now += seconds{3600};
    stage.settle();
    EXPECT_EQ(client.status(), 0);
    stage.advance(seconds{8});
    EXPECT_EQ(client.status(), 0);
    stage.say(stage.visit('a'), answer(200, "from a"));
    expect_from(client, 'a');
}

}  // namespace
}  // namespace s3gate::sim
