#include "admin_handler.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/common.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/parse.hpp>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace s3gate::control {
namespace {

namespace json = boost::json;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Kind = AdminCall::Kind;

// Notes what it is asked.
class NotingCommands final : public Commands {
  public:
    boost::asio::awaitable<CommandOutcome> reload(std::optional<base::Duration> confirm) override {
        asked.push_back("reload " + (confirm ? std::to_string(confirm->count()) : "-"));
        if (hold != nullptr) {
            co_await hold->async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
        }
        co_return outcome;
    }
    CommandOutcome confirm() override { return note("confirm"); }
    boost::asio::awaitable<CommandOutcome> upgrade() override { co_return note("upgrade"); }
    CommandOutcome standby() override { return note("standby"); }
    CommandOutcome active() override { return note("active"); }
    CommandOutcome set_log_level(const LogLevelChange& change) override {
        return note("level " + std::to_string(static_cast<int>(change.level.value())) + " for " +
                    (change.time ? std::to_string(change.time->count()) : "-") + " by " +
                    change.asker);
    }
    boost::json::object log_level() override { return {{"level", "info"}}; }
    boost::asio::awaitable<std::string> connections(
        proxy::ClientSurvey::Question question) override {
        note("connections " + std::to_string(question.limit) + " of " +
             (question.clients ? question.clients->to_string() : "all"));
        co_return "{}\n";
    }
    boost::asio::awaitable<CommandOutcome> order(ServerOrder order) override {
        orders.push_back(std::move(order));
        co_return note("order");
    }
    RepeatedLines& lines() override { return repeated; }
    boost::json::object overrides() override {
        note("overrides");
        return {{"overrides", boost::json::array()}};
    }
    boost::json::object status() override {
        note("status");
        return {{"phase", "serving"}};
    }
    HealthVerdict health(HealthQuestion question) override {
        note(std::string("health") + (question.is_strict ? " strict" : "") +
             (question.is_live ? " live" : ""));
        return verdict;
    }
    boost::asio::awaitable<std::optional<std::string>> metrics() override {
        note("metrics");
        co_return has_metrics ? std::optional("s3gate_healthy 1\n") : std::nullopt;
    }
    boost::asio::awaitable<std::string> configuration() override {
        note("configuration");
        co_return "# values\nworkers: auto\n";
    }

    std::vector<std::string> asked;
    std::vector<ServerOrder> orders;
    CommandOutcome outcome;
    HealthVerdict verdict{.is_healthy = true, .reason = "ok"};
    bool is_broken = false;
    bool has_metrics = true;
    boost::asio::steady_timer* hold = nullptr;  // reloads wait for its end
    std::vector<std::string> written;
    RepeatedLines repeated{[this](auto, const std::string& text) { written.push_back(text); }};

  private:
    CommandOutcome note(const std::string& what) {
        if (is_broken) {
            throw std::runtime_error("broken");
        }
        asked.push_back(what);
        return outcome;
    }
};

AdminAnswer ask(Commands& commands, const AdminRequest& request, const Asker& asker) {
    boost::asio::io_context context;
    AdminHandler handler(commands);
    std::optional<AdminAnswer> out;
    boost::asio::co_spawn(context, handler.answer(request, asker),
                          [&](const std::exception_ptr& error, AdminAnswer result) {
                              EXPECT_FALSE(error);
                              out = std::move(result);
                          });
    context.run();
    return out.value();
}

AdminAnswer ask(Commands& commands, const AdminRequest& request, Rights rights) {
    return ask(commands, request, Asker{rights, "root, pid 1"});
}

unsigned status_of(const std::string& method, const std::string& target, Rights rights,
                   const std::string& body = {}) {
    const auto routed = route({method, target, body}, rights);
    const auto* const refusal = std::get_if<AdminAnswer>(&routed);
    return refusal == nullptr ? 200 : refusal->status;
}

TEST(AdminRoute, KnowsItsPathsAndTheirMethods) {
    for (const char* path : {"/status", "/healthz", "/overrides", "/metrics", "/metrics?a=1&a=1"}) {
        EXPECT_EQ(status_of("GET", path, Rights::look), 200U) << path;
        EXPECT_EQ(status_of("HEAD", path, Rights::only_look), 200U) << path;
        EXPECT_EQ(status_of("POST", path, Rights::command), 405U) << path;
    }
    for (const char* path : {"/reload", "/confirm", "/standby", "/active"}) {
        EXPECT_EQ(status_of("POST", path, Rights::command), 200U) << path;
        EXPECT_EQ(status_of("GET", path, Rights::command), 405U) << path;
        EXPECT_EQ(status_of("DELETE", path, Rights::command), 405U) << path;
    }
    for (const char* path : {"/", "", "*", "/statu", "/status/", "/status%20", "//status", "?"}) {
        EXPECT_EQ(status_of("GET", path, Rights::command), 404U) << path;
        EXPECT_EQ(status_of("POST", path, Rights::command), 404U) << path;
    }
}

TEST(AdminRoute, NamesTheMethodsOfAPath) {
    const auto allow_of = [](const std::string& target, Rights rights) {
        return std::get<AdminAnswer>(route({"PUT", target, {}}, rights)).allow;
    };
    EXPECT_EQ(allow_of("/status", Rights::command), "GET, HEAD");
    EXPECT_EQ(allow_of("/reload", Rights::command), "POST");
    EXPECT_EQ(allow_of("/reload", Rights::only_look), "GET, HEAD");
}

TEST(AdminRoute, TakesCommandsFromThoseWhoMayOnly) {
    for (const char* path : {"/reload", "/confirm", "/standby", "/active"}) {
        EXPECT_EQ(status_of("POST", path, Rights::look), 403U) << path;
        // A door that takes no command at all does not even have it.
        EXPECT_EQ(status_of("POST", path, Rights::only_look), 405U) << path;
        EXPECT_EQ(status_of("GET", path, Rights::only_look), 404U) << path;
    }
}

TEST(AdminRoute, ShowsTheSaltsToThoseWhoMayCommandOnly) {
    for (const char* method : {"GET", "HEAD"}) {
        EXPECT_EQ(status_of(method, "/config", Rights::command), 200U);
        EXPECT_EQ(status_of(method, "/config", Rights::look), 403U);
        EXPECT_EQ(status_of(method, "/config", Rights::only_look), 404U);
    }
    EXPECT_EQ(status_of("POST", "/config", Rights::command), 405U);
    const auto refused = route({"POST", "/config", {}}, Rights::command);
    EXPECT_EQ(std::get<AdminAnswer>(refused).allow, "GET, HEAD");
}

// The addresses of clients and the names of their objects are not for whoever may ask for a check.
TEST(AdminRoute, ShowsTheClientsAtTheSocketOnly) {
    EXPECT_EQ(status_of("GET", "/connections", Rights::look), 200U);
    EXPECT_EQ(status_of("GET", "/connections", Rights::only_look), 404U);
    EXPECT_EQ(status_of("POST", "/connections", Rights::command), 405U);
    for (const char* query : {"?limit=0", "?limit=20001", "?limit=1x", "?limit=", "?client=",
                              "?client=10.0.0.1/8", "?clients=10.0.0.1", "?limit=5&x"}) {
        EXPECT_EQ(status_of("GET", std::string("/connections") + query, Rights::look), 400U)
            << query;
    }
}

TEST(AdminRoute, KnowsAPathWithAQuestionAndACommand) {
    const auto status = [](const char* method, Rights rights) {
        return status_of(method, "/log-level", rights, R"({"level": "debug"})");
    };
    EXPECT_EQ(status("GET", Rights::look), 200U);
    EXPECT_EQ(status("HEAD", Rights::look), 200U);
    EXPECT_EQ(status("POST", Rights::look), 403U);
    EXPECT_EQ(status("POST", Rights::command), 200U);
    EXPECT_EQ(status("GET", Rights::only_look), 404U);
    EXPECT_EQ(status("POST", Rights::only_look), 405U);
    const auto refused = route({"PUT", "/log-level", {}}, Rights::command);
    EXPECT_EQ(std::get<AdminAnswer>(refused).allow, "GET, HEAD, POST");
}

TEST(AdminRoute, ReadsTheLevelAndItsTime) {
    const auto change_of = [](const std::string& body) {
        return std::get<AdminCall>(route({"POST", "/log-level", body}, Rights::command)).level;
    };
    EXPECT_EQ(change_of(R"({"level": "debug"})").level, config::LogLevel::debug);
    EXPECT_EQ(change_of(R"({"level": "warning"})").level, config::LogLevel::warn);
    EXPECT_EQ(change_of(R"({"level": "default"})").level, std::nullopt);
    EXPECT_EQ(change_of(R"({"level": "info", "for": "10m"})").time, seconds{600});
    for (const char* body :
         {"", "{}", "[]", R"({"level": 1})", R"({"level": "loud"})", R"({"level": ""})",
          R"({"for": "1m"})", R"({"level": "info", "for": 1})", R"({"level": "info", "for": "0"})",
          R"({"level": "info", "for": "25h"})", R"({"level": "default", "for": "1m"})",
          R"({"level": "info", "until": "1m"})"}) {
        EXPECT_EQ(status_of("POST", "/log-level", Rights::command, body), 400U) << body;
    }
}

TEST(AdminRoute, ReadsTheQuestionOfHealth) {
    const auto question_of = [](const std::string& query) {
        const auto routed = route({"GET", "/healthz" + query, {}}, Rights::look);
        const auto* const call = std::get_if<AdminCall>(&routed);
        return call == nullptr ? std::string("refused")
                               : std::string(call->question.is_strict ? "s" : "-") +
                                     (call->question.is_live ? "l" : "-");
    };
    EXPECT_EQ(question_of(""), "--");
    EXPECT_EQ(question_of("?"), "--");
    EXPECT_EQ(question_of("?strict=1"), "s-");
    EXPECT_EQ(question_of("?live=1&strict"), "sl");
    EXPECT_EQ(question_of("?live=0&strict=0"), "--");
    // What is misspelt must not be easier to pass.
    for (const char* query : {"?strickt=1", "?strict=yes", "?strict=", "?live=1&x", "?Strict=1"}) {
        EXPECT_EQ(question_of(query), "refused") << query;
    }
}

TEST(AdminRoute, ReadsAnOrder) {
    using Order = ServerOrder::Kind;
    const auto order_of = [](const std::string& path, const std::string& body) {
        const auto routed = route({"POST", path, body}, Rights::command);
        const auto* const call = std::get_if<AdminCall>(&routed);
        return call == nullptr ? std::nullopt : std::optional(call->order);
    };
    const auto drain =
        order_of("/drain", R"({"server":"n:1","site":"s","sessions":true,"force":true})");
    ASSERT_TRUE(drain);
    EXPECT_EQ(drain->kind, Order::drain);
    EXPECT_EQ(drain->server, "n:1");
    EXPECT_EQ(drain->site, "s");
    EXPECT_TRUE(drain->keeps_sessions && drain->is_forced);
    const std::string plain = R"({"server":"n:1"})";
    EXPECT_EQ(order_of("/undrain", plain)->kind, Order::undrain);
    EXPECT_EQ(order_of("/down", plain)->kind, Order::down);
    EXPECT_EQ(order_of("/up", plain)->kind, Order::up);
    EXPECT_EQ(order_of("/maintain", plain)->kind, Order::maintain);
    EXPECT_FALSE(order_of("/maintain", plain)->is_forced);
    EXPECT_EQ(order_of("/maintain", R"({"server":"n:1","done":true})")->kind,
              Order::end_maintenance);
    EXPECT_EQ(order_of("/maintain", R"({"server":"n:1","done":false})")->kind, Order::maintain);
    for (const char* body :
         {"", "{}", "[]", "x", R"({"server":""})", R"({"server":1})", R"({"site":"s"})",
          R"({"server":"n:1","site":true})", R"({"server":"n:1","sessions":1})",
          R"({"server":"n:1","done":true})", R"({"server":"n:1","colour":"red"})"}) {
        EXPECT_FALSE(order_of("/drain", body)) << body;
    }
    EXPECT_FALSE(order_of("/undrain", R"({"server":"n:1","force":true})"));
    EXPECT_FALSE(order_of("/down", R"({"server":"n:1","sessions":true})"));
    EXPECT_FALSE(order_of("/maintain", R"({"server":"n:1","done":true,"force":true})"));
    for (const char* path : {"/drain", "/undrain", "/down", "/up", "/maintain"}) {
        EXPECT_EQ(status_of("POST", path, Rights::look, plain), 403U) << path;
        EXPECT_EQ(status_of("POST", path, Rights::only_look, plain), 405U) << path;
        EXPECT_EQ(status_of("GET", path, Rights::command), 405U) << path;
    }
}

TEST(AdminHandler, TellsWhoGaveAnOrder) {
    NotingCommands commands;
    const AdminRequest request{"POST", "/drain", R"({"server":"n:1"})"};
    EXPECT_EQ(ask(commands, request, Rights::command).status, 200U);
    ASSERT_EQ(commands.orders.size(), 1U);
    EXPECT_EQ(commands.orders.front().asker, "root, pid 1");
}

TEST(AdminRoute, ReadsTheTimeOfAReload) {
    const auto confirm_of = [](const std::string& body) -> std::optional<base::Duration> {
        return std::get<AdminCall>(route({"POST", "/reload", body}, Rights::command)).confirm_in;
    };
    EXPECT_EQ(confirm_of(""), std::nullopt);
    EXPECT_EQ(confirm_of("{}"), std::nullopt);
    EXPECT_EQ(confirm_of(R"({"confirm": "90s"})"), seconds{90});
    EXPECT_EQ(confirm_of(R"({"confirm":"5m"})"), seconds{300});
    for (const char* body :
         {"x", "[]", "{", R"({"confirm": 60})", R"({"confirm": "60"})", R"({"confirm": "0"})",
          R"({"confirm": "10ms"})", R"({"confirm": "25h"})", R"({"confrim": "60s"})",
          R"({"confirm": "60s", "x": 1})", R"({"confirm": null})"}) {
        EXPECT_EQ(status_of("POST", "/reload", Rights::command, body), 400U) << body;
    }
}

TEST(AdminAnswer, DoesWhatIsAsked) {
    NotingCommands commands;
    for (const char* path : {"/reload", "/confirm", "/standby", "/active"}) {
        EXPECT_EQ(ask(commands, {"POST", path, {}}, Rights::command).status, 200U);
    }
    EXPECT_EQ(ask(commands, {"GET", "/status", {}}, Rights::look).body,
              "{\"phase\":\"serving\"}\n");
    EXPECT_EQ(ask(commands, {"GET", "/healthz?strict=1&live=1", {}}, Rights::look).status, 200U);
    EXPECT_THAT(commands.asked, ElementsAre("reload -", "confirm", "standby", "active", "status",
                                            "health strict live"));
}

TEST(AdminAnswer, TellsTheAskerToWhatLogsItself) {
    NotingCommands commands;
    EXPECT_EQ(
        ask(commands, {"GET", "/connections?client=10.0.0.0/8&limit=7", {}}, Rights::look).body,
        "{}\n");
    EXPECT_EQ(ask(commands, {"GET", "/connections", {}}, Rights::look).status, 200U);
    EXPECT_EQ(ask(commands, {"GET", "/log-level", {}}, Rights::look).body,
              "{\"level\":\"info\"}\n");
    const AdminRequest change{"POST", "/log-level", R"({"level": "debug", "for": "2s"})"};
    EXPECT_EQ(ask(commands, change, Rights::command).status, 200U);
    EXPECT_THAT(commands.asked,
                ElementsAre("connections 7 of 10.0.0.0/8", "connections 1000 of all",
                            "level 0 for 2000 by root, pid 1"));
    commands.outcome.is_done = false;
    EXPECT_EQ(ask(commands, change, Rights::command).status, 409U);
}

TEST(AdminAnswer, IsTheConfigurationAsItIsWritten) {
    NotingCommands commands;
    const AdminAnswer answer = ask(commands, {"GET", "/config", {}}, Rights::command);
    EXPECT_EQ(answer.status, 200U);
    EXPECT_EQ(answer.type, "application/yaml");
    EXPECT_EQ(answer.body, "# values\nworkers: auto\n");
    commands.is_broken = true;
    EXPECT_EQ(ask(commands, {"GET", "/config", {}}, Rights::command).status, 500U);
}

TEST(AdminAnswer, IsTheMetricsAsTextOrARefusal) {
    NotingCommands commands;
    const AdminAnswer answer = ask(commands, {"GET", "/metrics", {}}, Rights::only_look);
    EXPECT_EQ(answer.status, 200U);
    EXPECT_EQ(answer.body, "s3gate_healthy 1\n");
    EXPECT_EQ(answer.type, "text/plain; version=0.0.4; charset=utf-8");
    commands.has_metrics = false;
    EXPECT_EQ(ask(commands, {"GET", "/metrics", {}}, Rights::only_look).status, 503U);
}

TEST(AdminAnswer, TellsAllProblemsOfWhatIsRefused) {
    NotingCommands commands;
    commands.outcome = {
        .is_done = false,
        .message = "refused",
        .problems = {{{"a.yaml", 3}, "workers", "is odd"}, {{"b", 0}, "", "x\xff"}}};
    const AdminAnswer answer = ask(commands, {"POST", "/reload", {}}, Rights::command);
    EXPECT_EQ(answer.status, 409U);
    const json::object body = json::parse(answer.body).as_object();
    EXPECT_FALSE(body.at("done").as_bool());
    EXPECT_EQ(body.at("message").as_string(), "refused");
    ASSERT_EQ(body.at("problems").as_array().size(), 2U);
    EXPECT_EQ(body.at("problems").as_array()[0].as_object().at("line").as_int64(), 3);
    EXPECT_TRUE(body.at("problems").as_array()[1].as_object().at("line").is_null());
}

TEST(AdminAnswer, IsTheVerdictOfHealth) {
    NotingCommands commands;
    commands.verdict = {.is_healthy = false, .reason = "standby"};
    const AdminAnswer answer = ask(commands, {"GET", "/healthz", {}}, Rights::only_look);
    EXPECT_EQ(answer.status, 503U);
    EXPECT_EQ(answer.body, "{\"healthy\":false,\"reason\":\"standby\"}\n");
}

TEST(AdminAnswer, IsForThisHostWhereABrowserCanAsk) {
    NotingCommands commands;
    const Asker browser{Rights::only_look, "10.0.0.9",
                        OwnNames{*base::IpAddress::parse("10.0.0.5"), "gw1"}};
    const AdminRequest foreign{"GET", "/status", {}, {.hosts = {"evil.example"}}};
    const AdminRequest own{"GET", "/status", {}, {.hosts = {"gw1:9180"}}};
    EXPECT_EQ(ask(commands, foreign, browser).status, 403U);
    EXPECT_THAT(commands.asked, IsEmpty());
    EXPECT_EQ(ask(commands, own, browser).status, 200U);
    EXPECT_EQ(ask(commands, {"GET", "/nowhere", {}, foreign.source}, browser).status, 403U);
    EXPECT_EQ(ask(commands, {"POST", "/status", {}, own.source}, browser).status, 405U);
    EXPECT_EQ(ask(commands, foreign, Asker{Rights::only_look, "a user"}).status, 200U)
        << "no browser reaches a unix socket";
}

TEST(AdminAnswer, RefusalsAndFailuresDoNotFloodTheLog) {
    NotingCommands commands;
    commands.is_broken = true;
    const AdminRequest foreign{"GET", "/status", {}, {.hosts = {"evil.example"}}};
    const Asker browser{Rights::only_look, "10.0.0.9",
                        OwnNames{*base::IpAddress::parse("10.0.0.5"), "gw1"}};
    for (int i = 0; i < 100; ++i) {
        EXPECT_EQ(ask(commands, {"POST", "/standby", {}}, Rights::look).status, 403U);
        EXPECT_EQ(ask(commands, {"POST", "/standby", {}}, Rights::command).status, 500U);
        EXPECT_EQ(ask(commands, foreign, browser).status, 403U);
    }
    EXPECT_THAT(commands.written, testing::UnorderedElementsAre(
                                      HasSubstr("/standby is refused: asked by"),
                                      HasSubstr("/standby failed: broken"),
                                      HasSubstr("admin.listen: a request by 10.0.0.9 is refused")));
}

TEST(AdminAnswer, SurvivesACommandThatThrows) {
    NotingCommands commands;
    commands.is_broken = true;
    const AdminAnswer answer = ask(commands, {"POST", "/standby", {}}, Rights::command);
    EXPECT_EQ(answer.status, 500U);
    EXPECT_THAT(answer.body, HasSubstr("broken"));
    EXPECT_EQ(ask(commands, {"GET", "/status", {}}, Rights::look).status, 500U);
    EXPECT_THAT(commands.asked, IsEmpty());
}

TEST(AdminAnswer, BoundsWhatTakesLongAndNothingElse) {
    boost::asio::io_context context;
    boost::asio::steady_timer hold(context, std::chrono::hours{1});
    NotingCommands commands;
    commands.hold = &hold;
    AdminHandler handler(commands);
    std::vector<unsigned> done;
    const auto ask_here = [&](const char* method, const char* target) {
        const AdminRequest request{method, target, {}};
        boost::asio::co_spawn(context, handler.answer(request, {Rights::command, "root"}),
                              [&](const std::exception_ptr& error, const AdminAnswer& answer) {
                                  EXPECT_FALSE(error);
                                  done.push_back(answer.status);
                              });
        context.restart();
        context.poll();
    };
    for (std::size_t i = 0; i < AdminHandler::kMostSlow; ++i) {
        ask_here("POST", "/reload");
    }
    EXPECT_THAT(done, IsEmpty());
    ask_here("POST", "/reload");
    ask_here("GET", "/config");
    EXPECT_THAT(done, ElementsAre(503U, 503U));
    done.clear();
    ask_here("GET", "/status");
    ask_here("GET", "/healthz");
    ask_here("POST", "/standby");
    ask_here("POST", "/confirm");
    EXPECT_THAT(done, ElementsAre(200U, 200U, 200U, 200U));
    done.clear();
    hold.cancel();
    context.poll();
    EXPECT_EQ(done, std::vector<unsigned>(AdminHandler::kMostSlow, 200U));
    commands.hold = nullptr;
    ask_here("POST", "/reload");
    EXPECT_EQ(done.back(), 200U);
    EXPECT_EQ(done.size(), AdminHandler::kMostSlow + 1);
}

}  // namespace
}  // namespace s3gate::control
