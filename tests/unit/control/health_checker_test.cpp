// Active checks against real loopback sockets with scripted answers: which answers pass or fail,
// with which reason, when a backend changes between up and down, and that checks neither overlap
// nor exceed their concurrency.

#include "health_checker.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <boost/asio.hpp>
#include <filesystem>
#include <functional>
#include <iterator>
#include <memory>
#include <sstream>
#include <utility>
#include <vector>

#include "s3gate/state/slot_directory.hpp"

namespace s3gate::control {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kOk = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
constexpr const char* k503 = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

// A backend on the test's own loop: sends `answer` to every request head; an empty one means no
// answer.
class ScriptedServer {
  public:
    explicit ScriptedServer(asio::io_context& context)
        : acceptor_(context, {asio::ip::address_v4::loopback(), 0}) {
        accept();
    }

    std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
    void refuse() { acceptor_.close(); }

    std::string answer = kOk;
    bool closes_after = false;
    std::vector<std::string> requests;
    int open = 0;
    int most_open = 0;
    // When set, called with the number of the request (from 1) before it is answered.
    std::function<void(std::size_t)> on_request;

  private:
    struct Session {
        explicit Session(asio::io_context& context) : socket(context) {}
        tcp::socket socket;
        std::string input;
    };

    void accept() {
        auto session = std::make_shared<Session>(
            static_cast<asio::io_context&>(acceptor_.get_executor().context()));
        acceptor_.async_accept(session->socket, [this, session](boost::system::error_code error) {
            if (error) {
                return;
            }
            most_open = std::max(most_open, ++open);
            read(session);
            accept();
        });
    }

    void read(const std::shared_ptr<Session>& session) {
        asio::async_read_until(session->socket, asio::dynamic_buffer(session->input), "\r\n\r\n",
                               [this, session](boost::system::error_code error, std::size_t) {
                                   if (error) {
                                       --open;
                                       return;
                                   }
                                   requests.push_back(std::exchange(session->input, {}));
                                   if (on_request) {
                                       on_request(requests.size());
                                   }
                                   reply(session);
                               });
    }

    void reply(const std::shared_ptr<Session>& session) {
        auto text = std::make_shared<std::string>(answer);
        asio::async_write(session->socket, asio::buffer(*text),
                          [this, session, text](boost::system::error_code, std::size_t) {
                              if (closes_after) {
                                  --open;
                                  session->socket.close();
                              } else {
                                  read(session);  // until the checker hangs up
                              }
                          });
    }

    tcp::acceptor acceptor_;
};

std::size_t open_descriptors() {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

class HealthCheckerTest : public testing::Test {
  protected:
    HealthCheckerTest() {
        auto logger = std::make_shared<spdlog::logger>(
            "test", std::make_shared<spdlog::sinks::ostream_sink_st>(log));
        logger->set_pattern("%l %v");
        before_ = spdlog::default_logger();
        spdlog::set_default_logger(logger);
        health.interval = milliseconds{10};
        health.timeout = seconds{20};
        health.fall = 3;
        health.rise = 3;
    }
    ~HealthCheckerTest() override {
        checker.stop();
        spdlog::set_default_logger(before_);
    }

    ScriptedServer& add_server() {
        return *servers.emplace_back(std::make_unique<ScriptedServer>(context));
    }

    // Gets the checks of all backends, answers none and closes none: each holds its place.
    ScriptedServer& add_silent_server(unsigned concurrency) {
        health.concurrency = concurrency;
        health.timeout = seconds{120};
        ScriptedServer& server = add_server();
        server.answer = "";
        health.port = server.port();
        return server;
    }

    std::shared_ptr<const state::Snapshot> snapshot_of(const std::vector<std::uint16_t>& ports) {
        auto config = std::make_shared<config::Config>();
        config::Site& site = config->sites.emplace_back();
        site.name = "s";
        site.backends.name = "group";
        site.health = health;
        for (const std::uint16_t port : ports) {
            config::Server& server = site.backends.servers.emplace_back();
            server.host = "127.0.0.1";
            server.port = port;
            server.text = "node" + std::to_string(port);
        }
        return state::build_snapshot(config, {}, directory);
    }

    void use_all() {
        std::vector<std::uint16_t> ports;
        for (const auto& server : servers) {
            ports.push_back(server->port());
        }
        checker.use(snapshot_of(ports));
    }

    // Runs the loop until the condition holds; false after a generous deadline.
    bool run_until(const std::function<bool()>& condition) {
        const auto deadline = base::Clock::now() + seconds{20};
        while (!condition()) {
            if (base::Clock::now() > deadline) {
                return false;
            }
            context.restart();
            context.run_one_for(milliseconds{100});
        }
        return true;
    }
    bool run_until_checks(std::uint64_t count) {
        return run_until([&] { return board.control().passed + board.control().failed >= count; });
    }

    asio::io_context context{1};
    std::ostringstream log;
    config::Health health;
    state::Board board{1};
    state::SlotDirectory directory{board};
    std::vector<std::unique_ptr<ScriptedServer>> servers;
    std::vector<std::pair<std::uint32_t, bool>> downs;  // slot, hard
    RepeatedLines lines{[](spdlog::level::level_enum level, const std::string& text) {
        spdlog::log(level, "{}", text);
    }};
    HealthChecker checker{context, board, lines, [this](state::CellId backend, bool hard) {
                              downs.emplace_back(backend.index, hard);
                          }};

  private:
    std::shared_ptr<spdlog::logger> before_;
};

TEST_F(HealthCheckerTest, APassingBackendStaysUpWithoutALine) {
    add_server();
    use_all();
    ASSERT_TRUE(run_until_checks(3));
    EXPECT_TRUE(board.is_up(0));
    EXPECT_TRUE(downs.empty());
    EXPECT_EQ(log.str(), "");
    EXPECT_EQ(board.control().failed, 0u);
}

TEST_F(HealthCheckerTest, AsksAsConfiguredOnAConnectionOfItsOwn) {
    health.method = "HEAD";
    health.path = "/ready?x=1";
    health.host = "node.example:81";
    ScriptedServer& server = add_server();
    use_all();
    ASSERT_TRUE(run_until_checks(2));
    const std::string& request = server.requests.at(0);
    EXPECT_EQ(request.find("HEAD /ready?x=1 HTTP/1.1\r\nHost: node.example:81\r\n"), 0u) << request;
    EXPECT_THAT(request, HasSubstr("\r\nConnection: close\r\n"));
    EXPECT_EQ(server.most_open, 1);  // each check closed its connection before the next one
    ASSERT_TRUE(run_until([&] { return server.open == 0; }));
}

struct Failure {
    const char* name;
    std::string answer;
    bool closes;
    const char* reason;
};
void PrintTo(const Failure& failure, std::ostream* out) {
    *out << failure.name;
}

class Fails : public HealthCheckerTest, public testing::WithParamInterface<Failure> {};

// The first completed check alone decides, and the reason is logged.
TEST_P(Fails, TakesItDownWithTheReason) {
    ScriptedServer& server = add_server();
    server.answer = GetParam().answer;
    server.closes_after = GetParam().closes;
    use_all();
    ASSERT_TRUE(run_until_checks(1));
    EXPECT_FALSE(board.is_up(0));
    ASSERT_EQ(downs.size(), 1u);
    EXPECT_FALSE(downs[0].second);  // it answered, so requests that wait for it continue
    const std::string who =
        "node" + std::to_string(server.port()) + " (127.0.0.1:" + std::to_string(server.port());
    EXPECT_EQ(log.str(), "warning group: " + who +
                             ") is down after 1 failed check: " + GetParam().reason + "\n");
}

INSTANTIATE_TEST_SUITE_P(
    Answers, Fails,
    testing::Values(
        Failure{"status", k503, false, "status 503"},
        Failure{"offline",
                "HTTP/1.1 200 OK\r\nX-Minio-Server-Status: offline\r\nContent-Length: 0\r\n\r\n",
                false, "header X-Minio-Server-Status: offline"},
        Failure{"second_of_two",
                "HTTP/1.1 200 OK\r\nx-minio-server-status: online\r\nx-minio-server-status: "
                "Bucket-Metadata-Offline"
                "\r\n\r\n",
                false, "header x-minio-server-status: Bucket-Metadata-Offline"},
        Failure{"unprintable", "HTTP/1.1 200 OK\r\nX-Minio-Server-Status: \xff offline\r\n\r\n",
                false, "header X-Minio-Server-Status: ? offline"},
        Failure{"control", "HTTP/1.1 200 OK\r\nX-Minio-Server-Status: is\x1boffline\r\n\r\n", false,
                "header X-Minio-Server-Status: is offline"},
        Failure{"no_control", "HTTP/1.1 200 OK\r\nX-A: b\rc\r\n\r\n", false,
                "malformed answer: malformed header field value"},
        Failure{"junk", "SSH-2.0-OpenSSH_9.2\r\n\r\n", false, "malformed answer: not HTTP"},
        Failure{"no_status", "HTTP/1.1 OK\r\n\r\n", false,
                "malformed answer: malformed status line"},
        Failure{"broken_field", "HTTP/1.1 200 OK\r\nno colon here\r\n\r\n", false,
                "malformed answer: malformed header field name"},
        Failure{"folded", "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\n\r\n", false,
                "malformed answer: folded header field"},
        Failure{"two_lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                false, "malformed answer: repeated or invalid Content-Length"},
        Failure{"silent_close", "", true, "closed without an answer"},
        Failure{"cut_head", "HTTP/1.1 200 OK\r\nContent-Le", true,
                "closed in the middle of the answer's head"},
        Failure{"endless_head",
                "HTTP/1.1 200 OK\r\nX-Long: " + std::string(70 * 1024, 'x') + "\r\n\r\n", false,
                "answer's head larger than 64 KiB"},
        Failure{"upgrade", "HTTP/1.1 101 Switching Protocols\r\n\r\n", false, "status 101"}),
    [](const auto& tested) { return std::string(tested.param.name); });

TEST_F(HealthCheckerTest, ARefusedConnectIsHard) {
    ScriptedServer& server = add_server();
    const std::uint16_t port = server.port();
    server.refuse();
    checker.use(snapshot_of({port}));
    ASSERT_TRUE(run_until_checks(1));
    EXPECT_FALSE(board.is_up(0));
    ASSERT_EQ(downs.size(), 1u);
    EXPECT_TRUE(downs[0].second);
    EXPECT_THAT(log.str(), HasSubstr(": connect refused\n"));
}

TEST_F(HealthCheckerTest, AHungBackendIsHard) {
    health.timeout = milliseconds{50};
    add_server().answer = "";
    use_all();
    ASSERT_TRUE(run_until_checks(1));
    EXPECT_FALSE(board.is_up(0));
    ASSERT_EQ(downs.size(), 1u);
    EXPECT_TRUE(downs[0].second);
    EXPECT_THAT(log.str(), HasSubstr(": timed out after 50 ms\n"));
}

// The timeout covers the whole check: interim answers, or a slow head, do not extend it.
TEST_F(HealthCheckerTest, AnUnfinishedHeadTimesOut) {
    health.timeout = milliseconds{50};
    add_server().answer =
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n";
    use_all();
    ASSERT_TRUE(run_until_checks(1));
    EXPECT_FALSE(board.is_up(0));
    EXPECT_THAT(log.str(), HasSubstr("timed out after 50 ms"));
}

// As for requests: framing fields of an answer without a body are not judged.
TEST_F(HealthCheckerTest, FramingOfAnAnswerWithoutABodyIsNotJudged) {
    health.method = "HEAD";
    add_server().answer =
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n";
    use_all();
    ASSERT_TRUE(run_until_checks(1));
    EXPECT_TRUE(board.is_up(0)) << log.str();
}

TEST_F(HealthCheckerTest, ControlsInValuesAreSpaces) {
    add_server().answer =
        "HTTP/1.1 103 Early Hints\r\nLink: a\x01\r\n\r\n"
        "HTTP/1.1 200 OK\r\nX-A: b\x7f\r\nContent-Length: 0\r\n\r\n";
    use_all();
    ASSERT_TRUE(run_until_checks(1));
    EXPECT_TRUE(board.is_up(0)) << log.str();
}

TEST_F(HealthCheckerTest, InterimAnswersAreNotTheAnswer) {
    add_server().answer = std::string("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n") + kOk;
    use_all();
    ASSERT_TRUE(run_until_checks(1));
    EXPECT_TRUE(board.is_up(0));
    EXPECT_EQ(board.control().passed, 1u);
}

// As for requests: a status line without a reason and its space is valid.
TEST_F(HealthCheckerTest, AStatusLineWithoutAReasonIsGood) {
    add_server().answer = "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n";
    use_all();
    ASSERT_TRUE(run_until_checks(1));
    EXPECT_EQ(board.control().passed, 1u) << log.str();
}

TEST_F(HealthCheckerTest, TheBodyIsNotWaitedFor) {
    add_server().answer = "HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n";
    use_all();
    ASSERT_TRUE(run_until_checks(1));
    EXPECT_EQ(board.control().passed, 1u);
}

// Up to 64 KiB; body bytes in the same packet do not count.
TEST_F(HealthCheckerTest, ALongHeadPasses) {
    // The interim answer shifts the reads: the last one brings bytes beyond 64 KiB.
    add_server().answer =
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nX-Long: " + std::string(65501, 'x') +
        "\r\n\r\n" + std::string(64 * 1024, 'b');
    use_all();
    ASSERT_TRUE(run_until_checks(1));
    EXPECT_EQ(board.control().passed, 1u);
}

TEST_F(HealthCheckerTest, HeaderRuleLooksAtTheConfiguredFieldOnly) {
    health.reject_headers = {{"x-state", "leaving*"}};
    health.expect_status = {{200, 200}, {420, 429}};
    add_server().answer =
        "HTTP/1.1 429 Too Many\r\nX-Minio-Server-Status: offline\r\nX-State: not leaving\r\n\r\n";
    use_all();
    ASSERT_TRUE(run_until_checks(1));
    EXPECT_TRUE(board.is_up(0));
}

TEST_F(HealthCheckerTest, FlipsExactlyAtFallAndRise) {
    ScriptedServer& server = add_server();
    // Up: 200 503 503 200 (broken series) 503 503 503 -> down; 200 200 503 200 200 200 -> up.
    const std::vector<const char*> script = {kOk, k503, k503, kOk, k503, k503, k503,
                                             kOk, kOk,  k503, kOk, kOk,  kOk};
    std::vector<bool> seen_up;  // the verdict at the begin of a check, so after the previous one
    server.on_request = [&](std::size_t number) {
        seen_up.push_back(board.is_up(0));
        server.answer = script[std::min(number, script.size()) - 1];
    };
    use_all();
    ASSERT_TRUE(run_until([&] { return server.requests.size() > script.size(); }));
    const std::vector<bool> expected = {true,  true,  true,  true,  true,  true,  true,
                                        false, false, false, false, false, false, true};
    EXPECT_EQ(std::vector<bool>(seen_up.begin(), seen_up.begin() + 14), expected);
    EXPECT_THAT(log.str(), HasSubstr("is down after 3 failed checks: status 503\n"));
    EXPECT_THAT(log.str(), HasSubstr("info group: node"));
    EXPECT_THAT(log.str(), HasSubstr("is up after 3 passed checks\n"));
    EXPECT_EQ(board.control().went_down, 1u);
    EXPECT_EQ(board.control().went_up, 1u);
}

TEST_F(HealthCheckerTest, ComingUpClearsThePassiveMark) {
    health.rise = 1;
    ScriptedServer& server = add_server();
    server.answer = k503;
    use_all();
    ASSERT_TRUE(run_until([&] { return !board.is_up(0); }));
    ASSERT_TRUE(board.replace_passive(0, {}, {77}));
    server.answer = kOk;
    ASSERT_TRUE(run_until([&] { return board.is_up(0); }));
    EXPECT_EQ(board.passive(0), policy::PassiveState{});
}

TEST_F(HealthCheckerTest, ChecksOfOneBackendDoNotOverlap) {
    health.interval = milliseconds{5};
    health.timeout = milliseconds{60};
    ScriptedServer& server = add_server();
    server.answer = "";
    use_all();
    ASSERT_TRUE(run_until_checks(3));
    EXPECT_EQ(server.most_open, 1);
}

TEST_F(HealthCheckerTest, ConcurrencyBoundsTheFirstRound) {
    health.concurrency = 2;
    health.interval = seconds{60};
    health.timeout = milliseconds{40};
    ScriptedServer& shared = add_server();  // counts the connections of all
    shared.answer = "";
    health.port = shared.port();
    checker.use(snapshot_of({1, 2, 3, 4, 5, 6}));
    ASSERT_TRUE(run_until_checks(6));
    EXPECT_EQ(shared.most_open, 2);
    EXPECT_EQ(shared.requests.size(), 6u);
}

TEST_F(HealthCheckerTest, LaterChecksAreSpreadOverTheInterval) {
    health.interval = milliseconds{800};
    for (int i = 0; i < 4; ++i) {
        add_server();
    }
    use_all();
    const auto with_two = [&] {
        return std::ranges::count_if(
            servers, [](const auto& server) { return server->requests.size() >= 2; });
    };
    ASSERT_TRUE(run_until([&] { return with_two() >= 1; }));
    const auto first = base::Clock::now();
    ASSERT_TRUE(run_until([&] { return with_two() == 4; }));
    EXPECT_GE(base::Clock::now() - first, milliseconds{200});
}

TEST_F(HealthCheckerTest, OurOwnStallIsNobodysFault) {
    health.interval = seconds{60};
    health.timeout = milliseconds{30};
    ScriptedServer& server = add_server();
    server.answer = "";
    use_all();
    ASSERT_TRUE(run_until([&] { return server.requests.size() == 1; }));
    checker.discard_running();
    ASSERT_TRUE(run_until([&] { return board.control().discarded == 1; }));
    EXPECT_TRUE(board.is_up(0));
    EXPECT_EQ(board.control().failed, 0u);
    EXPECT_TRUE(downs.empty());
}

TEST_F(HealthCheckerTest, TheFirstRoundEndsWithItsLastCheck) {
    health.interval = seconds{60};
    add_server();
    ScriptedServer& slow = add_server();
    bool is_done = false;
    slow.on_request = [&](std::size_t) { EXPECT_FALSE(is_done); };
    use_all();
    checker.when_first_round_done([&] { is_done = true; }, seconds{60});
    ASSERT_TRUE(run_until([&] { return is_done; }));
    EXPECT_EQ(board.control().passed, 2u);
}

TEST_F(HealthCheckerTest, TheFirstRoundEndsAtItsLimit) {
    add_server().answer = "";
    use_all();
    bool is_done = false;
    checker.when_first_round_done([&] { is_done = true; }, milliseconds{30});
    ASSERT_TRUE(run_until([&] { return is_done; }));
    EXPECT_EQ(board.control().passed + board.control().failed, 0u);
}

TEST_F(HealthCheckerTest, WithoutChecksEverybodyIsUpAndReady) {
    health.enabled = false;
    ScriptedServer& server = add_server();
    use_all();
    board.set_up(0, false);
    use_all();
    EXPECT_TRUE(board.is_up(0));
    bool is_done = false;
    checker.when_first_round_done([&] { is_done = true; }, seconds{60});
    ASSERT_TRUE(run_until([&] { return is_done; }));
    EXPECT_TRUE(server.requests.empty());
}

TEST_F(HealthCheckerTest, ANewGenerationKeepsVerdictsAndForgetsWhoIsGone) {
    ScriptedServer& stays = add_server();
    ScriptedServer& leaves = add_server();
    stays.answer = k503;
    use_all();
    ASSERT_TRUE(run_until([&] { return !board.is_up(0) && !leaves.requests.empty(); }));
    ScriptedServer& joins = add_server();
    joins.answer = k503;
    checker.use(snapshot_of({joins.port(), stays.port()}));
    EXPECT_FALSE(board.is_up(0));
    const std::size_t before = leaves.requests.size();
    ASSERT_TRUE(run_until([&] { return !board.is_up(2); }));  // its first check, beside an old one
    const std::size_t later = stays.requests.size() + 3;
    ASSERT_TRUE(run_until([&] { return stays.requests.size() >= later; }));
    EXPECT_LE(leaves.requests.size(), before + 1);  // one may have been in transit
    EXPECT_EQ(board.control().went_down, 2u);       // no second change for the one that stayed
}

TEST_F(HealthCheckerTest, TheRunningCheckOfWhoIsGoneIsHungUp) {
    health.timeout = seconds{120};
    ScriptedServer& leaves = add_server();
    leaves.answer = "";
    use_all();
    ASSERT_TRUE(run_until([&] { return leaves.requests.size() == 1; }));
    checker.use(snapshot_of({}));
    ASSERT_TRUE(run_until([&] { return leaves.open == 0; }));
    EXPECT_EQ(board.control().failed, 0u);
}

// The loop does not run again after stop(), whatever the checks are doing. The fixture stops the
// checker and destroys the loop.
TEST_F(HealthCheckerTest, EndsWhileChecksRunAndWait) {
    health.concurrency = 1;
    ScriptedServer& shared = add_server();
    shared.answer = "";
    health.port = shared.port();
    checker.use(snapshot_of({1, 2, 3}));
    ASSERT_TRUE(run_until([&] { return shared.requests.size() == 1; }));
}

// A check that waits for its turn waits in the group of the present generation.
TEST_F(HealthCheckerTest, AWaitingCheckGetsTheRoomOfANewGeneration) {
    ScriptedServer& shared = add_silent_server(1);
    checker.use(snapshot_of({1, 2}));
    ASSERT_TRUE(run_until([&] { return shared.requests.size() == 1; }));
    health.concurrency = 2;
    checker.use(snapshot_of({1, 2}));
    ASSERT_TRUE(run_until([&] { return shared.requests.size() == 2; }));
    EXPECT_EQ(shared.open, 2);  // the first one goes on
    EXPECT_EQ(board.control().failed, 0u);
}

TEST_F(HealthCheckerTest, NewGenerationsHaveNoFurtherRoom) {
    ScriptedServer& shared = add_silent_server(2);
    checker.use(snapshot_of({1, 2, 3, 4, 5, 6}));
    ASSERT_TRUE(run_until([&] { return shared.requests.size() == 2; }));
    for (int generation = 0; generation < 3; ++generation) {
        checker.use(snapshot_of({1, 2, 3, 4, 5, 6, 7}));
        ASSERT_TRUE(run_until([&] { return context.poll_one() == 0; }));
        EXPECT_EQ(shared.most_open, 2);
    }
    health.concurrency = 1;
    checker.use(snapshot_of({5, 6}));  // the two that ran are gone
    ASSERT_TRUE(run_until([&] { return shared.requests.size() == 3 && shared.open == 1; }));
    health.concurrency = 2;
    checker.use(snapshot_of({5, 6}));
    ASSERT_TRUE(run_until([&] { return shared.requests.size() == 4; }));
    EXPECT_EQ(shared.most_open, 2);
}

// Checks that run, that wait for their turn and that are not due: all end with their backend.
TEST_F(HealthCheckerTest, WhoIsGoneLeavesNothingOpen) {
    constexpr std::uint16_t kBackends = 100;
    health.concurrency = 30;
    health.timeout = milliseconds{20};
    ScriptedServer& shared = add_server();
    health.port = shared.port();
    ASSERT_TRUE(run_until([&] { return context.poll_one() == 0; }));
    const std::size_t before = open_descriptors();
    for (unsigned round = 0; round < 20; ++round) {
        shared.answer = round % 2 == 0 ? kOk : "";
        std::vector<std::uint16_t> ports;
        for (std::uint16_t port = 1; port <= kBackends; ++port) {
            if ((port + round) % 3 != 0) {
                ports.push_back(port);
            }
        }
        checker.use(snapshot_of(ports));
        const std::size_t asked = shared.requests.size();
        ASSERT_TRUE(run_until([&] { return shared.requests.size() >= asked + 50; }));
    }
    checker.use(snapshot_of({}));
    EXPECT_TRUE(run_until([&] { return open_descriptors() == before; }));
}

TEST_F(HealthCheckerTest, AVerdictSurvivesOtherThresholds) {
    ScriptedServer& server = add_server();
    server.answer = k503;
    use_all();
    ASSERT_TRUE(run_until([&] { return !board.is_up(0); }));
    server.answer = kOk;
    health.rise = 1;
    health.fall = 1;
    use_all();
    EXPECT_FALSE(board.is_up(0));
    ASSERT_TRUE(run_until([&] { return board.is_up(0); }));
    EXPECT_THAT(log.str(), HasSubstr("is up after 1 passed check\n"));
}

TEST_F(HealthCheckerTest, NothingHappensAfterStop) {
    ScriptedServer& server = add_server();
    server.answer = "";
    use_all();
    ASSERT_TRUE(run_until([&] { return server.requests.size() == 1; }));
    checker.stop();
    ASSERT_TRUE(run_until([&] { return server.open == 0; }));
    EXPECT_EQ(server.requests.size(), 1u);
    EXPECT_EQ(board.control().failed + board.control().passed, 0u);
    EXPECT_THAT(log.str(), Not(HasSubstr("down")));
}

}  // namespace
}  // namespace s3gate::control
