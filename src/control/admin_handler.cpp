#include "admin_handler.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/system/error_code.hpp>
#include <exception>
#include <span>
#include <utility>

#include "client_surveys.hpp"
#include "metrics_text.hpp"
#include "s3gate/base/text.hpp"
#include "s3gate/config/duration.hpp"
#include "s3gate/config/log_level.hpp"
#include "s3gate/control/findings_json.hpp"

namespace s3gate::control {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using Kind = AdminCall::Kind;

// Bounds of reload's `confirm` and log-level's `for`: an operator needs time to confirm or to look,
// and must still remember the command.
constexpr base::Duration kShortestTime = std::chrono::seconds{1};
constexpr base::Duration kLongestTime = std::chrono::hours{24};

// Ends a change of the level.
constexpr std::string_view kDefaultLevel = "default";

enum class Who : std::uint8_t {
    anybody,    // also at admin.listen
    of_socket,  // who may connect to the control socket
    operators,  // those of them who may command
};

enum class Method : std::uint8_t { get, post };

struct Path {
    std::string_view name;
    Kind kind;
    Who who;
    Method method = who == Who::operators ? Method::post : Method::get;
};

// The rows of a name that has several follow each other.
constexpr auto kPaths = std::to_array<Path>({
    {"/status", Kind::status, Who::anybody},
    {"/healthz", Kind::health, Who::anybody},
    {"/metrics", Kind::metrics, Who::anybody},
    {"/connections", Kind::connections, Who::of_socket},  // it holds addresses and names of objects
    {"/log-level", Kind::log_level, Who::of_socket},
    {"/log-level", Kind::set_log_level, Who::operators},
    {"/config", Kind::config, Who::operators, Method::get},  // it holds the salts
    {"/reload", Kind::reload, Who::operators},
    {"/confirm", Kind::confirm, Who::operators},
    {"/upgrade", Kind::upgrade, Who::operators},
    {"/standby", Kind::standby, Who::operators},
    {"/active", Kind::active, Who::operators},
    {"/overrides", Kind::overrides, Who::anybody},
    {"/drain", Kind::order, Who::operators},
    {"/undrain", Kind::order, Who::operators},
    {"/down", Kind::order, Who::operators},
    {"/up", Kind::order, Who::operators},
    {"/maintain", Kind::order, Who::operators},
});
using Rows = std::span<const Path>;

Rows rows_of(std::string_view name) {
    const auto* const begin = std::ranges::find(kPaths, name, &Path::name);
    const auto* const end =
        std::find_if(begin, kPaths.end(), [name](const Path& path) { return path.name != name; });
    return {begin, end};
}

// True if its answer may take long.
bool is_slow(Kind kind) {
    return kind == Kind::reload || kind == Kind::upgrade || kind == Kind::config ||
           kind == Kind::connections || kind == Kind::order;
}

// True for a command that takes long and logs its own outcome.
bool logs_itself(Kind kind) {
    return kind == Kind::reload || kind == Kind::upgrade;
}

std::string line_of(const json::object& object) {
    return json::serialize(object) + "\n";
}

AdminAnswer refuse_method(Rows rows, Rights rights) {
    const auto takes = [&](Method method) {
        return std::ranges::find(rows, method, &Path::method) != rows.end();
    };
    const bool takes_post = rights != Rights::only_look && takes(Method::post);
    const bool takes_get = takes(Method::get);
    const char* const words = !takes_post ? "GET and HEAD"
                              : takes_get ? "GET, HEAD and POST"
                                          : "POST";
    AdminAnswer out = admin_error(405, std::string(rows.front().name) + " takes " + words);
    out.allow = !takes_post ? "GET, HEAD" : takes_get ? "GET, HEAD, POST" : "POST";
    return out;
}

// A switch of a query: "strict=1", "strict=0" or "strict".
std::optional<bool> switch_of(std::string_view parameter, std::string_view name) {
    if (!parameter.starts_with(name)) {
        return std::nullopt;
    }
    const std::string_view value = parameter.substr(name.size());
    if (value.empty() || value == "=1") {
        return true;
    }
    return value == "=0" ? std::optional(false) : std::nullopt;
}

// Unknown parameters are refused: a typing error must not make a check easier to pass.
std::variant<AdminCall, AdminAnswer> health_call(std::string_view query) {
    AdminCall call{.kind = Kind::health};
    while (!query.empty()) {
        const std::string_view parameter = query.substr(0, query.find('&'));
        query.remove_prefix(std::min(parameter.size() + 1, query.size()));
        if (const auto strict = switch_of(parameter, "strict")) {
            call.question.is_strict = *strict;
        } else if (const auto live = switch_of(parameter, "live")) {
            call.question.is_live = *live;
        } else {
            return admin_error(400, "/healthz takes strict=1 and live=1");
        }
    }
    return call;
}

std::variant<AdminCall, AdminAnswer> connections_call(std::string_view query) {
    constexpr std::string_view kClient = "client=";
    constexpr std::string_view kLimit = "limit=";
    AdminCall call{.kind = Kind::connections, .clients = {.limit = ClientSurveys::kUsualLimit}};
    while (!query.empty()) {
        const std::string_view parameter = query.substr(0, query.find('&'));
        query.remove_prefix(std::min(parameter.size() + 1, query.size()));
        if (parameter.starts_with(kClient)) {
            call.clients.clients = base::Cidr::parse(parameter.substr(kClient.size()));
            if (!call.clients.clients) {
                return admin_error(400, "client takes an address or a block such as 10.0.0.0/8");
            }
        } else if (parameter.starts_with(kLimit)) {
            const auto limit = base::parse_decimal(parameter.substr(kLimit.size()));
            if (!limit || *limit == 0 || *limit > ClientSurveys::kMostReports) {
                return admin_error(400,
                                   "limit takes 1…" + std::to_string(ClientSurveys::kMostReports));
            }
            call.clients.limit = static_cast<std::size_t>(*limit);
        } else {
            return admin_error(400, "/connections takes client=CIDR and limit=N");
        }
    }
    return call;
}

// A time within the bounds, or why it is none.
std::variant<base::Duration, AdminAnswer> time_of(const std::string& name, std::string_view text,
                                                  base::Duration shortest, base::Duration longest) {
    const auto parsed = config::parse_duration(text);
    if (!parsed.value) {
        return admin_error(400, name + ": " + parsed.error);
    }
    if (*parsed.value < shortest || *parsed.value > longest) {
        return admin_error(400, name + ": " + std::string(text) + " is not within " +
                                    config::print_duration(shortest) + "…" +
                                    config::print_duration(longest));
    }
    return *parsed.value;
}

std::variant<AdminCall, AdminAnswer> log_level_call(std::string_view body) {
    constexpr const char* kForm = R"(/log-level takes {"level": "debug"} or {"level": "debug", )"
                                  R"("for": "10m"})";
    AdminCall call{.kind = Kind::set_log_level};
    boost::system::error_code error;
    const json::value value = json::parse(body, error);
    const json::object* const object = error ? nullptr : value.if_object();
    const json::value* const level = object == nullptr ? nullptr : object->if_contains("level");
    const json::value* const time = object == nullptr ? nullptr : object->if_contains("for");
    if (level == nullptr || !level->is_string() || (time != nullptr && !time->is_string()) ||
        object->size() != (time == nullptr ? 1 : 2)) {
        return admin_error(400, kForm);
    }
    const std::string_view word = level->get_string();
    call.level.level = config::parse_log_level(word);
    if (!call.level.level && word != kDefaultLevel) {
        return admin_error(400, "the level is debug, info, warn, error or default");
    }
    if (time == nullptr) {
        return call;
    }
    if (!call.level.level) {
        return admin_error(400, "for belongs to a level, not to default");
    }
    const auto limit = time_of("for", time->get_string(), kShortestTime, kLongestTime);
    if (const auto* const refusal = std::get_if<AdminAnswer>(&limit)) {
        return *refusal;
    }
    call.level.time = std::get<base::Duration>(limit);
    return call;
}

std::variant<AdminCall, AdminAnswer> reload_call(std::string_view body) {
    constexpr const char* kForm = R"(/reload takes nothing or {"confirm": "60s"})";
    AdminCall call{.kind = Kind::reload};
    if (body.empty()) {
        return call;
    }
    boost::system::error_code error;
    const json::value value = json::parse(body, error);
    const json::object* const object = error ? nullptr : value.if_object();
    if (object == nullptr || object->size() > 1 ||
        (object->size() == 1 && !object->contains("confirm"))) {
        return admin_error(400, kForm);
    }
    if (object->empty()) {
        return call;
    }
    const json::string* const text = object->at("confirm").if_string();
    if (text == nullptr) {
        return admin_error(400, kForm);
    }
    const auto limit = time_of("confirm", *text, kShortestTime, kLongestTime);
    if (const auto* const refusal = std::get_if<AdminAnswer>(&limit)) {
        return *refusal;
    }
    call.confirm_in = std::get<base::Duration>(limit);
    return call;
}

ServerOrder::Kind order_kind_of(std::string_view path, bool is_done) {
    using Order = ServerOrder::Kind;
    return path == "/drain"     ? Order::drain
           : path == "/undrain" ? Order::undrain
           : path == "/down"    ? Order::down
           : path == "/up"      ? Order::up
           : is_done            ? Order::end_maintenance
                                : Order::maintain;
}

// The members that a body may have beside the server, by path.
bool may_have(std::string_view path, std::string_view member) {
    if (member == "site") {
        return true;
    }
    return (member == "sessions" && path == "/drain") ||
           (member == "force" && (path == "/drain" || path == "/down" || path == "/maintain")) ||
           (member == "done" && path == "/maintain");
}

// A member that it does not know is refused: an order that misses half of its meaning is another
// one.
std::variant<AdminCall, AdminAnswer> order_call(std::string_view path, std::string_view body) {
    AdminCall call{.kind = Kind::order};
    boost::system::error_code error;
    const json::value value = json::parse(body, error);
    const json::object* const object = error ? nullptr : value.if_object();
    bool is_good = object != nullptr && object->contains("server");
    bool is_done = false;
    for (const auto& [name, member] : object != nullptr ? *object : json::object()) {
        const bool is_text = name == "server" || name == "site";
        is_good = is_good && (name == "server" || may_have(path, name)) &&
                  (is_text ? member.is_string() : member.is_bool());
        if (!is_good) {
            break;
        }
        if (is_text) {
            (name == "site" ? call.order.site : call.order.server) = member.get_string();
        } else {
            (name == "sessions" ? call.order.keeps_sessions
             : name == "force"  ? call.order.is_forced
                                : is_done) = member.get_bool();
        }
    }
    if (!is_good || call.order.server.empty() || (is_done && call.order.is_forced)) {
        return admin_error(400, std::string(path) + R"( takes {"server": "HOST:PORT"}, "site")" +
                                    (may_have(path, "sessions") ? R"(, "sessions": true)" : "") +
                                    (may_have(path, "done") ? R"(, "done": true)" : "") +
                                    (may_have(path, "force") ? R"(, "force": true)" : ""));
    }
    call.order.kind = order_kind_of(path, is_done);
    return call;
}

AdminAnswer answer_to(const CommandOutcome& outcome) {
    json::object body;
    body["done"] = outcome.is_done;
    body["message"] = json_text(outcome.message);
    body["problems"] = json_of(outcome.problems);
    body["warnings"] = json_of(outcome.warnings);
    const unsigned refusal = outcome.is_misdirected ? 421 : 409;
    return {.status = outcome.is_done ? 200 : refusal, .body = line_of(body)};
}

AdminAnswer answer_to(const HealthVerdict& verdict) {
    json::object body;
    body["healthy"] = verdict.is_healthy;
    body["reason"] = json_text(verdict.reason);
    return {.status = verdict.is_healthy ? 200U : 503U, .body = line_of(body)};
}

asio::awaitable<CommandOutcome> run(AdminCall call, Commands& commands) {
    switch (call.kind) {
        case Kind::reload:
            co_return co_await commands.reload(call.confirm_in);
        case Kind::confirm:
            co_return commands.confirm();
        case Kind::upgrade:
            co_return co_await commands.upgrade();
        case Kind::standby:
            co_return commands.standby();
        case Kind::order:
            co_return co_await commands.order(std::move(call.order));
        default:
            co_return commands.active();
    }
}

// Logs the asker: before a command that logs its own outcome, and with the outcome of every other
// command.
asio::awaitable<AdminAnswer> command(AdminCall call, Asker asker, Commands& commands) {
    if (logs_itself(call.kind)) {
        spdlog::info("{}{} (asked by {})", call.kind == Kind::reload ? "reload" : "upgrade",
                     call.confirm_in
                         ? ", to be confirmed within " + config::print_duration(*call.confirm_in)
                         : "",
                     asker.name);
    }
    call.order.asker = asker.name;
    const CommandOutcome outcome = co_await run(call, commands);
    if (!logs_itself(call.kind)) {
        spdlog::log(outcome.is_done ? spdlog::level::info : spdlog::level::warn, "{} (asked by {})",
                    outcome.message, asker.name);
    }
    co_return answer_to(outcome);
}

// What is done logs itself, whatever the new level is.
AdminAnswer set_log_level(LogLevelChange change, const Asker& asker, Commands& commands) {
    change.asker = asker.name;
    const CommandOutcome outcome = commands.set_log_level(change);
    if (!outcome.is_done) {
        spdlog::warn("{} (asked by {})", outcome.message, asker.name);
    }
    return answer_to(outcome);
}

asio::awaitable<AdminAnswer> carry_out(AdminCall call, Asker asker, Commands& commands) {
    if (call.kind == Kind::status) {
        co_return AdminAnswer{.body = line_of(commands.status())};
    }
    if (call.kind == Kind::overrides) {
        co_return AdminAnswer{.body = line_of(commands.overrides())};
    }
    if (call.kind == Kind::health) {
        co_return answer_to(commands.health(call.question));
    }
    if (call.kind == Kind::metrics) {
        std::optional<std::string> text = co_await commands.metrics();
        if (!text) {
            co_return admin_error(503, "ask again: the service changes its process, or many ask");
        }
        co_return AdminAnswer{.body = std::move(*text), .type = kMetricsType};
    }
    if (call.kind == Kind::config) {
        std::string text = co_await commands.configuration();
        spdlog::info("the configuration that serves is shown (asked by {})", asker.name);
        co_return AdminAnswer{.body = std::move(text), .type = "application/yaml"};
    }
    if (call.kind == Kind::connections) {
        std::string text = co_await commands.connections(call.clients);
        co_return AdminAnswer{.body = std::move(text)};
    }
    if (call.kind == Kind::log_level) {
        co_return AdminAnswer{.body = line_of(commands.log_level())};
    }
    if (call.kind == Kind::set_log_level) {
        co_return set_log_level(std::move(call.level), asker, commands);
    }
    co_return co_await command(std::move(call), std::move(asker), commands);
}

}  // namespace

AdminAnswer admin_error(unsigned status, std::string_view message) {
    json::object body;
    body["error"] = json_text(message);
    return {.status = status, .body = line_of(body)};
}

std::variant<AdminCall, AdminAnswer> route(const AdminRequest& request, Rights rights) {
    const std::size_t mark = std::min(request.target.find('?'), request.target.size());
    const std::string_view query = request.target.substr(std::min(mark + 1, request.target.size()));
    const Rows rows = rows_of(request.target.substr(0, mark));
    if (rows.empty()) {
        return admin_error(404, "there is no such path");
    }
    const bool is_look = request.method == "GET" || request.method == "HEAD";
    if (rows.front().who != Who::anybody && rights == Rights::only_look && is_look) {
        return admin_error(404, std::string(rows.front().name) + " is for the control socket only");
    }
    const auto path = std::ranges::find_if(rows, [&](const Path& row) {
        return row.method == Method::get ? is_look
                                         : request.method == "POST" && rights != Rights::only_look;
    });
    if (path == rows.end()) {
        return refuse_method(rows, rights);
    }
    if (path->who == Who::operators && rights != Rights::command) {
        return admin_error(
            403, std::string(path->method == Method::post ? "commands are taken from"
                                                          : "the configuration is shown to") +
                     " root, the daemon's user and admin.operators only");
    }
    switch (path->kind) {
        case Kind::connections:
            return connections_call(query);
        case Kind::set_log_level:
            return log_level_call(request.body);
        case Kind::health:
            return health_call(query);
        case Kind::reload:
            return reload_call(request.body);
        case Kind::order:
            return order_call(path->name, request.body);
        default:
            return AdminCall{.kind = path->kind};
    }
}

void AdminHandler::note(Topic topic, std::string text) {
    commands_.lines().note(
        {.topic = topic,
         .level = topic == Topic::broken ? spdlog::level::err : spdlog::level::warn,
         .text = std::move(text)},
        base::Clock::now());
}

// Anybody can have somebody's browser send such requests.
std::optional<AdminAnswer> AdminHandler::refuse_foreign(const AdminRequest& request,
                                                        const Asker& asker) {
    const auto refusal =
        asker.own_names ? find_foreign(request.source, *asker.own_names) : std::nullopt;
    if (!refusal) {
        return std::nullopt;
    }
    note(Topic::foreign,
         fmt::format("admin.listen: a request by {} is refused: {}", asker.name, refusal->message));
    return admin_error(refusal->status, refusal->message);
}

asio::awaitable<AdminAnswer> AdminHandler::answer(AdminRequest request, Asker asker) {
    if (auto refusal = refuse_foreign(request, asker)) {
        co_return std::move(*refusal);
    }
    const auto routed = route(request, asker.rights);
    if (const AdminAnswer* const refusal = std::get_if<AdminAnswer>(&routed)) {
        if (refusal->status == 403) {
            note(Topic::rights,
                 fmt::format("{} is refused: asked by {}", request.target, asker.name));
        }
        co_return *refusal;
    }
    const auto& call = std::get<AdminCall>(routed);
    const std::size_t own = is_slow(call.kind) ? 1 : 0;
    if (slow_ + own > kMostSlow) {
        note(Topic::overload, fmt::format("{} is refused, too many are under way: asked by {}",
                                          request.target, asker.name));
        co_return admin_error(503, std::to_string(kMostSlow) +
                                       " such commands are under way already; try again later");
    }
    slow_ += own;
    std::optional<AdminAnswer> out;
    std::string reason;
    try {
        out = co_await carry_out(call, asker, commands_);
    } catch (const std::exception& error) {
        reason = error.what();
    }
    slow_ -= own;
    if (!out) {
        note(Topic::broken, fmt::format("{} failed: {}", request.target, reason));
        out = admin_error(500, reason);
    }
    co_return std::move(*out);
}

}  // namespace s3gate::control
