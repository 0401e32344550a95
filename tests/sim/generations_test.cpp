// A new generation while the worker serves: which resources it releases, which connections it
// closes, and messages about cells that have a new owner.
#include "scenario.hpp"

namespace s3gate::sim {
namespace {

void without_b(config::Site& site) {
    site.backends.servers.erase(site.backends.servers.begin() + 1);
}

TEST(Generations, OneWithoutARequestIsLetGoOfAtOnce) {
    Stage stage(2);
    const auto old = stage.generation();
    expect_from(stage.ask(request("GET")), 'a');
    stage.reconfigure(without_b);
    EXPECT_TRUE(old.expired());
}

TEST(Generations, OneIsKeptUntilItsLastRequestIsOver) {
    Stage stage(2);
    stage.node('a').usual = silence();
    const auto old = stage.generation();
    ClientPeer& first = stage.ask(request("GET"));
    ClientPeer& second = stage.ask(request("GET"));
    stage.reconfigure(without_b);
    stage.say(stage.visit('a', 0), answer(200, "from a"));
    expect_from(first, 'a');
    EXPECT_FALSE(old.expired()) << "the other request began with it";
    stage.say(stage.visit('a', 1), answer(200, "from a"));
    expect_from(second, 'a');
    EXPECT_TRUE(old.expired());
}

TEST(Generations, ParkedConnectionsToABackendThatLeftAreClosed) {
    Stage stage(2);
    stage.node('a').door = Node::Door::refuse;
    expect_from(stage.ask(request("GET")), 'b');
    EXPECT_FALSE(stage.visit('b').is_closed());
    stage.reconfigure([](config::Site& site) { site.backends.idle_timeout = seconds{60}; });
    EXPECT_FALSE(stage.visit('b').is_closed()) << "it is one of the new generation's too";
    stage.reconfigure(without_b);
    EXPECT_TRUE(stage.visit('b').is_closed());
}

// The last request of the old generation parks its connection after the parked ones were dropped.
// The cell may soon belong to another backend.
TEST(Generations, AConnectionParkedLateIsClosedWithItsGeneration) {
    Stage stage(2);
    stage.node('a').door = Node::Door::refuse;
    stage.node('b').usual = silence();
    ClientPeer& client = stage.ask(request("GET"));
    stage.reconfigure(without_b);
    EXPECT_FALSE(stage.visit('b').is_closed());
    stage.say(stage.visit('b'), answer(200, "from b"));
    expect_from(client, 'b');
    EXPECT_TRUE(stage.visit('b').is_closed());
}

TEST(Generations, ABackendOfAnEarlierEpochIsNotTakenDown) {
    Stage stage(2);
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(request("GET"));
    const state::CellId present = stage.backend('a');
    stage.worker().take_down({present.index, present.epoch + 1});
    stage.settle();
    EXPECT_EQ(stage.visits('b'), 0u);
    EXPECT_FALSE(stage.visit('a').is_closed());
    stage.worker().take_down(present);
    stage.settle();
    expect_from(client, 'b');
}

class StaleRoom : public ::testing::Test {
  protected:
    StaleRoom() : stage(1, [](config::Site& site) { site.backends.max_connections = 1; }) {
        stage.node('a').usual = silence();
        first = &stage.ask(request("GET"));
        second = &stage.ask(request("GET"));
    }

    void end() {
        stage.say(stage.visit('a'), answer(200, "from a"));
        expect_from(*first, 'a');
        stage.say(stage.visit('a'), answer(200, "from a"));
        expect_from(*second, 'a');
    }

    Stage stage;
    ClientPeer* first = nullptr;
    ClientPeer* second = nullptr;  // waits for room
};

TEST_F(StaleRoom, OfAnEarlierEpochIsNobodys) {
    const state::CellId room = stage.room('a');
    stage.worker().receive_room(stage.group(), {room.index, room.epoch + 1});
    stage.settle();
    EXPECT_EQ(stage.node('a').asked, 1u);
    EXPECT_EQ(stage.worker().held_room(room), 1);
    end();
}

TEST_F(StaleRoom, ForAGroupThatIsGoneIsGivenBack) {
    const state::CellId room = stage.room('a');
    const state::CellId group = stage.group();
    stage.worker().hold_room(room);
    stage.worker().receive_room({group.index, group.epoch + 1}, room);
    stage.settle();
    EXPECT_EQ(stage.node('a').asked, 1u) << "who waits is of another group";
    EXPECT_EQ(stage.worker().held_room(room), 1);
    end();
}

TEST_F(StaleRoom, ThatIsNotIsTaken) {
    stage.worker().hold_room(stage.room('a'));
    stage.worker().receive_room(stage.group(), stage.room('a'));
    stage.settle();
    EXPECT_EQ(stage.node('a').asked, 2u);
    EXPECT_EQ(stage.worker().held_room(stage.room('a')), 2);
    stage.say(stage.visit('a', 0), answer(200, "from a"));
    stage.say(stage.visit('a', 1), answer(200, "from a"));
    expect_from(*first, 'a');
    expect_from(*second, 'a');
}

// What is left of the generation once a test's client is gone.
void without_a(config::Site& site) {
    site.backends.servers.erase(site.backends.servers.begin());
}

bool is_last(const ClientPeer& client) {
    return client.answers.back().message().lists("connection", "close");
}

TEST(AddressThatLeft, AnIdleClientGetsOneMoreAnswerFromTheLastGenerationThatHadIt) {
    Stage stage(2);
    ClientPeer& client = stage.ask(request("GET"));
    expect_from(client, 'a');
    EXPECT_FALSE(is_last(client));
    const auto last = stage.generation();
    stage.leave_address(without_a);
    stage.close_listener();
    stage.advance(seconds{30});
    EXPECT_FALSE(client.is_closed()) << "a close would race with its next request";
    EXPECT_FALSE(last.expired());
    stage.reconfigure([](config::Site& site) { site.backends.idle_timeout = seconds{60}; });
    EXPECT_FALSE(last.expired()) << "a later generation changes nothing for it";
    stage.say(client, request("GET"));
    expect_from(client, 'a', 2);
    EXPECT_TRUE(is_last(client));
    EXPECT_TRUE(client.is_finished());
    stage.fin(client);
    stage.advance(seconds{1});
    EXPECT_TRUE(last.expired()) << "nobody comes that way any more";
}

TEST(AddressThatLeft, AClientInItsQueueIsServed) {
    Stage stage(2);
    const auto last = stage.generation();
    stage.leave_address(without_a);
    ClientPeer& client = stage.client();
    stage.close_listener();
    stage.say(client, request("GET"));
    expect_from(client, 'a');
    EXPECT_TRUE(is_last(client));
    EXPECT_TRUE(client.is_finished());
    stage.fin(client);
    stage.advance(seconds{1});
    EXPECT_TRUE(last.expired());
}

TEST(AddressThatLeft, AnAnswerWhoseHeadIsOutIsNotTheLastOne) {
    Stage stage(1);
    const std::string text = answer(200, "from a");
    stage.node('a').usual = says(text.substr(0, text.size() - 2));
    ClientPeer& client = stage.ask(request("GET"));
    stage.leave_address();
    stage.close_listener();
    stage.say(stage.visit('a'), " a");
    expect_from(client, 'a');
    EXPECT_FALSE(is_last(client));
    EXPECT_FALSE(client.is_closed());
    stage.node('a').usual = says(text);
    stage.say(client, request("GET"));
    expect_from(client, 'a', 2);
    EXPECT_TRUE(is_last(client));
}

TEST(AddressThatLeft, AnUploadInProgressIsAnsweredAsTheLastOne) {
    Stage stage(1);
    ClientPeer& client = stage.client();
    const std::string text = request_with("0123456789");
    stage.say(client, text.substr(0, text.size() - 4));
    stage.leave_address();
    stage.close_listener();
    stage.say(client, text.substr(text.size() - 4));
    expect_from(client, 'a');
    EXPECT_TRUE(is_last(client));
    EXPECT_TRUE(client.is_finished());
}

TEST(AddressThatLeft, NothingLeavesForAClientWhenItComesBack) {
    Stage stage(2);
    ClientPeer& client = stage.ask(request("GET"));
    expect_from(client, 'a');
    const auto last = stage.generation();
    stage.leave_address();
    stage.close_listener();
    EXPECT_FALSE(last.expired());
    stage.return_to_address();
    EXPECT_TRUE(last.expired()) << "the present generation has the address";
    stage.reconfigure(without_a);
    stage.say(client, request("GET"));
    expect_from(client, 'b', 2);
    EXPECT_FALSE(is_last(client));
    expect_from(stage.ask(request("GET")), 'b');
}

TEST(AddressThatLeft, ItComesBackBeforeItsSocketIsClosed) {
    Stage stage(1);
    ClientPeer& early = stage.client();
    stage.leave_address();
    ClientPeer& late = stage.client();
    stage.return_to_address();
    stage.close_listener();
    for (ClientPeer* const client : {&early, &late, &stage.client()}) {
        stage.say(*client, request("GET"));
        expect_from(*client, 'a');
        EXPECT_FALSE(is_last(*client));
    }
}

TEST(AddressThatLeft, ItLeavesTwice) {
    Stage stage(1);
    ClientPeer& first = stage.client();
    stage.leave_address();
    stage.close_listener();
    stage.return_to_address();
    ClientPeer& second = stage.client();
    const auto last = stage.generation();
    stage.leave_address();
    stage.close_listener();
    for (ClientPeer* const client : {&first, &second}) {
        EXPECT_FALSE(last.expired());
        stage.say(*client, request("GET"));
        expect_from(*client, 'a');
        EXPECT_TRUE(is_last(*client));
        stage.fin(*client);
    }
    stage.advance(seconds{1});
    EXPECT_TRUE(last.expired());
}

TEST(AddressThatLeft, AClientThatCouldNotBeAcceptedIsServed) {
    Stage stage(1);
    stage.network().accepts_fail = true;
    ClientPeer& client = stage.client();
    const auto last = stage.generation();
    stage.leave_address();
    stage.close_listener();
    stage.advance(seconds{5});
    ASSERT_FALSE(client.is_closed());
    stage.network().accepts_fail = false;
    stage.advance(kTick);
    stage.say(client, request("GET"));
    expect_from(client, 'a');
    EXPECT_TRUE(is_last(client));
    stage.fin(client);
    stage.advance(seconds{1});
    EXPECT_TRUE(last.expired()) << "its socket is closed, and nothing keeps its generation";
}

config::Site& listen_at(config::Site& site, const char* address) {
    site.listen[0].address = *base::SocketAddress::parse(address);
    return site;
}

// During a trial the specific sockets stay bound, and the kernel prefers them to the wildcard's.
TEST(AddressThatLeft, TheWildcardThatReplacesItServesItsClients) {
    Stage stage(2, [](config::Site& site) { listen_at(site, "127.0.0.1:80"); });
    ClientPeer& idle = stage.ask(request("GET"));
    expect_from(idle, 'a');
    const auto last = stage.generation();
    stage.reconfigure([](config::Site& site) { without_a(listen_at(site, "0.0.0.0:80")); });
    EXPECT_TRUE(last.expired());
    ClientPeer& late = stage.client();
    stage.close_listener();
    for (ClientPeer* const client : {&idle, &late}) {
        stage.say(*client, request("GET"));
        expect_from(*client, 'b', client == &idle ? 2 : 1);
        EXPECT_FALSE(is_last(*client));
    }
    const auto wildcard = stage.generation();
    stage.leave_address();
    stage.say(late, request("GET"));
    expect_from(late, 'b', 2);
    EXPECT_TRUE(is_last(late)) << "the wildcard left as well";
    EXPECT_FALSE(wildcard.expired()) << "the other client has not asked yet";
}

// A specific address replaces only a part of a wildcard; so does one of the other family, or port.
TEST(AddressThatLeft, NothingElseReplacesIt) {
    for (const char* other : {"127.0.0.1:80", "[::]:80", "0.0.0.0:81"}) {
        Stage stage(2);
        ClientPeer& client = stage.ask(request("GET"));
        expect_from(client, 'a');
        stage.reconfigure([other](config::Site& site) { without_a(listen_at(site, other)); });
        stage.say(client, request("GET"));
        expect_from(client, 'a', 2);
        EXPECT_TRUE(is_last(client)) << other;
    }
}

// New limits hold for connections that there are from their next request on.
TEST(NewLimits, CountTheConnectionsThatThereAre) {
    Stage stage(1);
    ClientPeer& first = stage.ask(request("GET"));
    ClientPeer& second = stage.ask(request("GET"));
    stage.reconfigure([](config::Site& site) { site.limits.per_client = 1; });
    stage.say(first, request("GET"));
    expect_from(first, 'a', 2);
    stage.say(second, request("GET"));
    expect_ours(second, 503, "SlowDown");
    EXPECT_EQ(stage.count(&state::WorkerCounterCells::shed_per_client), 1u);
    stage.say(first, request("GET"));
    expect_from(first, 'a', 3);
}

TEST(NewLimits, ThatAreLowerShedWhoAsksWhileThereAreTooMany) {
    Stage stage(1);
    ClientPeer& first = stage.ask(request("GET"));
    ClientPeer& second = stage.ask(request("GET"));
    stage.reconfigure([](config::Site& site) { site.limits.connections = 1; });
    stage.say(first, request("GET"));
    expect_ours(first, 503, "SlowDown");
    EXPECT_TRUE(is_last(first));
    stage.fin(first);
    stage.say(second, request("GET"));
    expect_from(second, 'a', 2);
}

TEST(NewLimits, BothExceededCountOnce) {
    Stage stage(1);
    ClientPeer& first = stage.ask(request("GET"));
    ClientPeer& second = stage.ask(request("GET"));
    stage.reconfigure([](config::Site& site) {
        site.limits.connections = 1;
        site.limits.per_client = 1;
    });
    stage.say(second, request("GET"));
    expect_ours(second, 503, "SlowDown");
    EXPECT_EQ(stage.count(&state::WorkerCounterCells::shed), 1u);
    EXPECT_EQ(stage.count(&state::WorkerCounterCells::shed_per_client), 0u);
    stage.fin(second);
    stage.say(first, request("GET"));
    expect_from(first, 'a', 2);
}

TEST(NewLimits, ThatAreHigherHoldForAClientThatHadTheLastPlace) {
    Stage stage(1, [](config::Site& site) { site.limits.per_client = 1; });
    ClientPeer& first = stage.ask(request("GET"));
    stage.reconfigure([](config::Site& site) { site.limits.per_client = 2; });
    ClientPeer& second = stage.ask(request("GET"));
    expect_from(second, 'a');
    stage.say(first, request("GET"));
    expect_from(first, 'a', 2);
    stage.reconfigure([](config::Site& site) { site.limits.per_client = 0; });
    expect_from(stage.ask(request("GET")), 'a');
    stage.say(second, request("GET"));
    expect_from(second, 'a', 2);
}

// It was refused and counted when it came, so that what is counted is what clients were told.
TEST(NewLimits, ThatAreHigherDoNotHoldForAConnectionThatWasRefused) {
    Stage stage(1, [](config::Site& site) { site.limits.per_client = 1; });
    stage.ask(request("GET"));
    ClientPeer& refused = stage.client();
    stage.reconfigure([](config::Site& site) { site.limits.per_client = 0; });
    stage.say(refused, request("GET"));
    expect_ours(refused, 503, "SlowDown");
    EXPECT_TRUE(is_last(refused));
    EXPECT_EQ(stage.count(&state::WorkerCounterCells::shed_per_client), 1u);
}

TEST(NewLimits, ThatAreLowerCountAConnectionThatWasRefusedOnce) {
    Stage stage(1, [](config::Site& site) { site.limits.connections = 2; });
    ClientPeer& first = stage.ask(request("GET"));
    ClientPeer& second = stage.ask(request("GET"));
    ClientPeer& refused = stage.client();
    stage.reconfigure([](config::Site& site) { site.limits.connections = 1; });
    stage.say(refused, request("GET"));
    expect_ours(refused, 503, "SlowDown");
    EXPECT_EQ(stage.count(&state::WorkerCounterCells::shed), 1u);
    stage.fin(first);
    stage.fin(second);
}

TEST(NewLimits, ARateHoldsForAConnectedClient) {
    Stage stage(1);
    ClientPeer& client = stage.ask(request("GET"));
    stage.reconfigure([](config::Site& site) {
        site.limits.requests_per_client = {
            .requests = 1, .period = std::chrono::minutes{1}, .burst = 1};
    });
    stage.say(client, request("GET"));
    expect_from(client, 'a', 2);
    stage.say(client, request("GET"));
    expect_ours(client, 503, "SlowDown");
}

// A request goes on with the servers, the order and the rules that it began with.
TEST(OldGeneration, ARetryGoesToAServerThatLeft) {
    Stage stage(3);
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(request("GET"));
    stage.reconfigure(without_b);
    stage.rst(stage.visit('a'));
    expect_from(client, 'b');
    expect_record(stage, 200, "ab");
    EXPECT_TRUE(stage.visit('b').is_closed()) << "nobody else will use it";
}

TEST(OldGeneration, ItsRulesDecideAboutARetry) {
    Stage stage(2);
    stage.node('a').usual = silence();
    ClientPeer& before = stage.ask(request("GET"));
    stage.reconfigure([](config::Site& site) { site.retry.max_tries = 1; });
    ClientPeer& after = stage.ask(request("GET"));
    stage.rst(stage.visit('a', 0));
    expect_from(before, 'b');
    stage.rst(stage.visit('a', 1));
    EXPECT_EQ(after.status(), 502);
}

TEST(OldGeneration, ItsTimeoutsHold) {
    Stage stage(1, [](config::Site& site) { site.timeouts.backend_head = seconds{10}; });
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(request("GET"));
    stage.reconfigure([](config::Site& site) { site.timeouts.backend_head = seconds{2}; });
    expect_fires_after(stage, seconds{10}, [&client] { return client.status() == 504; });
}

TEST(OldGeneration, TwoOfThemEndInAnyOrder) {
    Stage stage(1);
    stage.node('a').usual = silence();
    const auto oldest = stage.generation();
    ClientPeer& first = stage.ask(request("GET"));
    stage.reconfigure([](config::Site& site) { site.retry.max_tries = 1; });
    const auto old = stage.generation();
    ClientPeer& second = stage.ask(request("GET"));
    stage.reconfigure([](config::Site& site) { site.retry.max_tries = 2; });
    stage.say(stage.visit('a', 1), answer(200, "from a"));
    expect_from(second, 'a');
    EXPECT_TRUE(old.expired());
    EXPECT_FALSE(oldest.expired());
    stage.say(stage.visit('a', 0), answer(200, "from a"));
    expect_from(first, 'a');
    EXPECT_TRUE(oldest.expired());
}

// A group keeps its queue over generations.
TEST(OldGeneration, WhoWaitsForRoomGetsItUnderTheNewLimit) {
    Stage stage(1, [](config::Site& site) { site.backends.max_connections = 1; });
    stage.node('a').usual = silence();
    ClientPeer& first = stage.ask(request("GET"));
    ClientPeer& waiting = stage.ask(request("GET"));
    EXPECT_EQ(stage.node('a').asked, 1u);
    stage.reconfigure([](config::Site& site) { site.backends.servers[0].max_connections = 0; });
    ClientPeer& unlimited = stage.ask(request("GET"));
    EXPECT_EQ(stage.node('a').asked, 2u);
    stage.say(stage.visit('a', 1), answer(200, "from a"));
    expect_from(unlimited, 'a');
    EXPECT_EQ(stage.node('a').asked, 2u) << "it held no room";
    stage.node('a').usual = says(answer(200, "from a"));
    stage.say(stage.visit('a', 0), answer(200, "from a"));
    expect_from(first, 'a');
    expect_from(waiting, 'a');
}

// As src/proxy/worker.cpp says: so many earlier configurations may be in use.
constexpr std::size_t kMostEarlier = 128;

class ManyReloads : public ::testing::Test {
  protected:
    ManyReloads() : stage(1, {}, {.connection_limit = 1000}) { stage.node('a').usual = silence(); }

    void reload() {
        stage.reconfigure([](config::Site&) {});
    }
    ClientPeer& ask() { return stage.ask(request("GET")); }
    void answer_to(std::size_t number, ClientPeer& client) {
        stage.say(stage.visit('a', number), answer(200, "from a"));
        expect_from(client, 'a');
    }
    std::uint64_t cut() const {
        return stage.count(&state::WorkerCounterCells::cut_after_many_reloads);
    }

    Stage stage;
};

TEST_F(ManyReloads, RequestsOfTheOldestConfigurationAreCut) {
    const auto oldest = stage.generation();
    std::vector<ClientPeer*> clients{&ask(), &ask()};
    for (std::size_t i = 0; i < kMostEarlier; ++i) {
        reload();
        clients.push_back(&ask());
    }
    EXPECT_EQ(cut(), 0u);
    reload();
    EXPECT_EQ(cut(), 2u);
    EXPECT_TRUE(oldest.expired());
    for (const Record& record : stage.records()) {
        EXPECT_EQ(record.error, "cut after many reloads");
    }
    for (std::size_t i = 0; i < clients.size(); ++i) {
        if (i < 2) {
            expect_ours(*clients[i], 503, "ServiceUnavailable");
        } else {
            answer_to(i, *clients[i]);
        }
    }
}

TEST_F(ManyReloads, AreNoneWhereNobodyUsesTheConfigurations) {
    ClientPeer& client = ask();
    for (std::size_t i = 0; i < 2 * kMostEarlier; ++i) {
        reload();
    }
    EXPECT_EQ(cut(), 0u);
    answer_to(0, client);
}

TEST_F(ManyReloads, AreNotOtherAddressesOfOneConfiguration) {
    std::vector<ClientPeer*> clients{&ask()};
    for (std::size_t i = 0; i < 2 * kMostEarlier; ++i) {
        stage.resolve();
        clients.push_back(&ask());
    }
    reload();
    EXPECT_EQ(cut(), 0u);
    for (std::size_t i = 0; i < clients.size(); ++i) {
        answer_to(i, *clients[i]);
    }
}

}  // namespace
}  // namespace s3gate::sim
