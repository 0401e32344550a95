// A client that leaves, by FIN and by RST, in each stage of its request: the backend's connection
// is reset, nothing is repeated, the log says 499 or the status that was sent, and no node is
// blamed.
#include "scenario.hpp"

namespace s3gate::sim {
namespace {

constexpr std::string_view kOffer = "Connection: upgrade\r\nUpgrade: websocket\r\n";
constexpr std::string_view kSwitch =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";

enum class Way { fin, rst };

class Leaves : public testing::TestWithParam<Way> {
  protected:
    void leave(Stage& stage, ClientPeer& client) const {
        if (GetParam() == Way::fin) {
            stage.fin(client);
        } else {
            stage.rst(client);
        }
    }
    // The client's request ended when it left.
    static void expect_gone(Stage& stage, const ClientPeer& client, int status,
                            std::string_view nodes, std::string_view error = "client closed") {
        EXPECT_TRUE(client.is_closed());
        expect_record(stage, status, nodes, error);
        EXPECT_EQ(stage.count(&state::WorkerCounterCells::clients_gone), 1u);
        EXPECT_EQ(stage.worker().clients(), 0u);
        for (const char node : nodes) {
            EXPECT_TRUE(stage.visit(node).is_cut());
            EXPECT_FALSE(stage.is_marked(node));
        }
    }
};

INSTANTIATE_TEST_SUITE_P(Ways, Leaves, testing::Values(Way::fin, Way::rst),
                         [](const auto& way) { return way.param == Way::fin ? "Fin" : "Rst"; });

void serve_one_try(config::Site& site) {
    site.passive.max_fails = 1;
    site.upgrade = true;
}

TEST_P(Leaves, BeforeItAsks) {
    Stage stage(3, serve_one_try);
    ClientPeer& client = stage.client();
    leave(stage, client);
    EXPECT_TRUE(client.is_closed());
    EXPECT_TRUE(stage.records().empty());
    EXPECT_EQ(stage.worker().clients(), 0u);
}

TEST_P(Leaves, BetweenRequests) {
    Stage stage(3, serve_one_try);
    ClientPeer& client = stage.ask(request("GET"));
    expect_record(stage, 200, "a");
    leave(stage, client);
    EXPECT_TRUE(client.is_closed());
    EXPECT_TRUE(stage.records().empty());
    EXPECT_FALSE(stage.visit('a').is_closed());
}

TEST_P(Leaves, InTheHead) {
    Stage stage(3, serve_one_try);
    ClientPeer& client = stage.ask("GET /bucket/key HTTP/1.1\r\nHos");
    leave(stage, client);
    expect_gone(stage, client, 499, "", "client closed in head");
}

TEST_P(Leaves, RightBehindTheRequest) {
    Stage stage(3, serve_one_try);
    ClientPeer& client = stage.client();
    stage.node('a').usual = silence();
    stage.network().deliver(*client.end, request("GET"));
    leave(stage, client);
    EXPECT_TRUE(client.is_closed());
    EXPECT_EQ(stage.node('a').asked, 0u);
    if (GetParam() == Way::fin) {
        expect_record(stage, 499, "", "client closed");
    } else {
        EXPECT_LE(stage.records().size(), 1u);
    }
}

TEST_P(Leaves, WhileAConnectHangs) {
    Stage stage(3, serve_one_try);
    stage.node('a').door = Node::Door::hang;
    ClientPeer& client = stage.ask(request("GET"));
    leave(stage, client);
    expect_gone(stage, client, 499, "a");
    EXPECT_EQ(stage.node('b').asked, 0u);
}

TEST_P(Leaves, InTheBody) {
    Stage stage(3, serve_one_try);
    std::string text = request_with("what is to be stored");
    ClientPeer& client = stage.ask(text.substr(0, text.size() - 5));
    leave(stage, client);
    expect_gone(stage, client, 499, "a");
}

TEST_P(Leaves, InAChunkedBody) {
    Stage stage(3, serve_one_try);
    ClientPeer& client = stage.ask(request("PUT", "/bucket/key", "Transfer-Encoding: chunked\r\n") +
                                   "5\r\nhello\r\n5\r\nwo");
    EXPECT_NE(stage.visit('a').heard().find("hello"), std::string::npos);
    leave(stage, client);
    expect_gone(stage, client, 499, "a");
    EXPECT_FALSE(stage.visit('a').heard().ends_with("0\r\n\r\n"));
}

TEST_P(Leaves, WhileItWaitsForAContinue) {
    Stage stage(3, serve_one_try);
    stage.node('a').usual = silence();
    ClientPeer& client =
        stage.ask(request("PUT", "/bucket/key", "Expect: 100-continue\r\nContent-Length: 20\r\n"));
    leave(stage, client);
    expect_gone(stage, client, 499, "a");
}

TEST_P(Leaves, WhileItWaitsForTheAnswer) {
    for (const char* method : {"GET", "DELETE"}) {
        Stage stage(3, serve_one_try);
        stage.node('a').usual = silence();
        ClientPeer& client = stage.ask(request(method));
        stage.advance(seconds{1});
        leave(stage, client);
        expect_gone(stage, client, 499, "a");
        EXPECT_EQ(stage.node('b').asked, 0u);
    }
}

TEST_P(Leaves, WhileTheBackendIsFull) {
    Stage stage(3, serve_one_try);
    stage.node('a').room = 500;
    ClientPeer& client = stage.ask(request_with(std::string(100000, 'x')));
    leave(stage, client);
    expect_gone(stage, client, 499, "a");
}

TEST_P(Leaves, InARetry) {
    Stage stage(3, serve_one_try);
    stage.node('a').usual = says(answer(503));
    stage.node('b').usual = silence();
    ClientPeer& client = stage.ask(request("GET"));
    leave(stage, client);
    EXPECT_TRUE(client.is_closed());
    expect_record(stage, 499, "ab", "client closed");
    EXPECT_TRUE(stage.visit('b').is_cut());
    EXPECT_EQ(stage.node('c').asked, 0u);
}

TEST_P(Leaves, WhileTheCodeOfA503IsWaitedFor) {
    Stage stage(3, serve_one_try);
    stage.node('a').usual = says("HTTP/1.1 503 No\r\nContent-Length: 100\r\n\r\n");
    ClientPeer& client = stage.ask(request("GET"));
    EXPECT_EQ(client.status(), 0);
    leave(stage, client);
    expect_gone(stage, client, 499, "a");
    EXPECT_EQ(stage.node('b').asked, 0u);
}

TEST_P(Leaves, InTheAnswer) {
    Stage stage(3, serve_one_try);
    const std::string text = answer(200, std::string(1000, 'x'));
    stage.node('a').usual = says(text.substr(0, text.size() - 100));
    ClientPeer& client = stage.ask(request("GET"));
    leave(stage, client);
    expect_gone(stage, client, 200, "a");
}

TEST_P(Leaves, InALongAnswerThatItDoesNotTake) {
    Stage stage(3, serve_one_try);
    stage.node('a').usual = says(answer(200, std::string(1000000, 'x')));
    ClientPeer& client = stage.client();
    client.end->room = 10000;
    stage.say(client, request("GET"));
    leave(stage, client);
    expect_gone(stage, client, 200, "a");
    EXPECT_TRUE(client.is_reset());
}

TEST_P(Leaves, ATunnel) {
    Stage stage(3, serve_one_try);
    stage.node('a').usual = says(std::string(kSwitch));
    ClientPeer& client = stage.ask(request("GET", "/ws", kOffer));
    stage.say(client, "last words");
    leave(stage, client);
    EXPECT_TRUE(stage.visit('a').heard().ends_with("last words"));
    if (GetParam() == Way::fin) {
        // One direction ends.
        EXPECT_TRUE(stage.visit('a').end->fin_out);
        EXPECT_FALSE(client.is_closed());
        stage.say(stage.visit('a'), "bye");
        EXPECT_TRUE(client.heard().ends_with("bye"));
        stage.half_close(stage.visit('a'));
        EXPECT_TRUE(client.is_finished());
        expect_record(stage, 101, "a");
    } else {
        EXPECT_TRUE(stage.visit('a').is_cut());
        expect_record(stage, 101, "a", "client closed tunnel");
    }
}

// The client leaves while its last bytes are in transit.
TEST_P(Leaves, ATunnelToAFullNode) {
    Stage stage(3, serve_one_try);
    stage.node('a').usual = says(std::string(kSwitch));
    ClientPeer& client = stage.ask(request("GET", "/ws", kOffer));
    Visit& visit = stage.visit('a');
    visit.end->room = 100;
    stage.say(client, std::string(5000, 'x'));
    leave(stage, client);
    if (GetParam() == Way::fin) {
        EXPECT_FALSE(client.is_closed());
        const std::size_t before = visit.heard().size();
        stage.take(*visit.end);
        EXPECT_EQ(visit.heard().size(), before + 4900);
        EXPECT_TRUE(visit.end->fin_out);
        EXPECT_FALSE(visit.is_cut());
        stage.half_close(visit);
        expect_record(stage, 101, "a");
    } else {
        EXPECT_TRUE(visit.is_cut());
        expect_record(stage, 101, "a", "client closed tunnel");
    }
}

TEST_P(Leaves, BehindAnEarlyAnswer) {
    Stage stage(3, serve_one_try);
    stage.node('a').usual = says(answer(403, "no"));
    stage.node('a').usual.when = Reply::When::head;
    ClientPeer& client = stage.ask(request_with(std::string(9000, 'x')).substr(0, 1000));
    expect_record(stage, 403, "a");
    leave(stage, client);
    EXPECT_EQ(stage.worker().clients(), 0u);
    EXPECT_TRUE(stage.records().empty());
}

// ---- client_half_close: serve ------------------------------------------------------------------

TEST(HalfClose, IsServedWhereAskedFor) {
    Stage stage(3, [](config::Site& site) { site.client_half_close = config::HalfClose::serve; });
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(request("GET"));
    stage.fin(client);
    stage.advance(seconds{1});
    EXPECT_FALSE(client.is_closed());
    stage.say(stage.visit('a'), answer(200, "from a"));
    expect_from(client, 'a');
    expect_record(stage, 200, "a");
    EXPECT_EQ(stage.worker().clients(), 0u);
}

TEST(HalfClose, AResetIsNoneOfIt) {
    Stage stage(3, [](config::Site& site) { site.client_half_close = config::HalfClose::serve; });
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(request("GET"));
    stage.fin(client);
    stage.rst(client);
    EXPECT_TRUE(stage.visit('a').is_cut());
    expect_record(stage, 499, "a", "client closed");
}

}  // namespace
}  // namespace s3gate::sim
