#include "admin_handler.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/system/error_code.hpp>
#include <exception>
#include <utility>

#include "metrics_text.hpp"
#include "s3gate/config/duration.hpp"
#include "s3gate/control/findings_json.hpp"

namespace s3gate::control {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using Kind = AdminCall::Kind;

// Bounds of reload's `confirm`: an operator needs time to confirm, and must still remember the
// reload.
constexpr base::Duration kShortestConfirm = std::chrono::seconds{1};
constexpr base::Duration kLongestConfirm = std::chrono::hours{24};

struct Path {
    std::string_view name;
    Kind kind;
    bool is_command;  // for those that may command only
    bool takes_post = is_command;
};

constexpr auto kPaths = std::to_array<Path>({
    {"/status", Kind::status, false},
    {"/healthz", Kind::health, false},
    {"/metrics", Kind::metrics, false},
    {"/config", Kind::config, true, false},  // it holds the salts
    {"/reload", Kind::reload, true},
    {"/confirm", Kind::confirm, true},
    {"/upgrade", Kind::upgrade, true},
    {"/standby", Kind::standby, true},
    {"/active", Kind::active, true},
});

// True if its answer may take long.
bool is_slow(Kind kind) {
    return kind == Kind::reload || kind == Kind::upgrade || kind == Kind::config;
}

// True for a command that takes long and logs its own outcome.
bool logs_itself(Kind kind) {
    return kind == Kind::reload || kind == Kind::upgrade;
}

std::string line_of(const json::object& object) {
    return json::serialize(object) + "\n";
}

AdminAnswer refuse_method(const Path& path, Rights rights) {
    const bool takes_post = path.takes_post && rights != Rights::only_look;
    AdminAnswer out = admin_error(
        405, std::string(path.name) + " takes " + (takes_post ? "POST" : "GET and HEAD"));
    out.allow = takes_post ? "POST" : "GET, HEAD";
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
    const auto parsed = config::parse_duration(*text);
    if (!parsed.value) {
        return admin_error(400, "confirm: " + parsed.error);
    }
    if (*parsed.value < kShortestConfirm || *parsed.value > kLongestConfirm) {
        return admin_error(400, "confirm: " + std::string(*text) + " is not within " +
                                    config::print_duration(kShortestConfirm) + "…" +
                                    config::print_duration(kLongestConfirm));
    }
    call.confirm_in = parsed.value;
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
    const CommandOutcome outcome = co_await run(call, commands);
    if (!logs_itself(call.kind)) {
        spdlog::log(outcome.is_done ? spdlog::level::info : spdlog::level::warn, "{} (asked by {})",
                    outcome.message, asker.name);
    }
    co_return answer_to(outcome);
}

asio::awaitable<AdminAnswer> carry_out(AdminCall call, Asker asker, Commands& commands) {
    if (call.kind == Kind::status) {
        co_return AdminAnswer{.body = line_of(commands.status())};
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
    co_return co_await command(call, std::move(asker), commands);
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
    const auto* const path = std::ranges::find(kPaths, request.target.substr(0, mark), &Path::name);
    if (path == kPaths.end()) {
        return admin_error(404, "there is no such path");
    }
    const bool is_look = request.method == "GET" || request.method == "HEAD";
    const bool is_allowed =
        path->takes_post ? request.method == "POST" && rights != Rights::only_look : is_look;
    if (path->is_command && rights == Rights::only_look && is_look) {
        return admin_error(404, std::string(path->name) + " is for the control socket only");
    }
    if (!is_allowed) {
        return refuse_method(*path, rights);
    }
    if (path->is_command && rights != Rights::command) {
        return admin_error(403, std::string(path->takes_post ? "commands are taken from"
                                                             : "the configuration is shown to") +
                                    " root, the daemon's user and admin.operators only");
    }
    switch (path->kind) {
        case Kind::health:
            return health_call(query);
        case Kind::reload:
            return reload_call(request.body);
        default:
            return AdminCall{.kind = path->kind};
    }
}

// Anybody can have somebody's browser send such requests, so the lines in the log are few.
std::optional<AdminAnswer> AdminHandler::refuse_foreign(const AdminRequest& request,
                                                        const Asker& asker) {
    const auto refusal =
        asker.own_names ? find_foreign(request.source, *asker.own_names) : std::nullopt;
    if (!refusal) {
        return std::nullopt;
    }
    if (const auto count = foreign_warning_.growth(++foreign_, base::Clock::now())) {
        spdlog::warn("admin.listen: {} request{} refused, the last one by {}: {}", count,
                     count == 1 ? "" : "s", asker.name, refusal->message);
    }
    return admin_error(refusal->status, refusal->message);
}

asio::awaitable<AdminAnswer> AdminHandler::answer(AdminRequest request, Asker asker) {
    if (auto refusal = refuse_foreign(request, asker)) {
        co_return std::move(*refusal);
    }
    const auto routed = route(request, asker.rights);
    if (const AdminAnswer* const refusal = std::get_if<AdminAnswer>(&routed)) {
        if (refusal->status == 403) {
            spdlog::warn("{} is refused: asked by {}", request.target, asker.name);
        }
        co_return *refusal;
    }
    const auto& call = std::get<AdminCall>(routed);
    const std::size_t own = is_slow(call.kind) ? 1 : 0;
    if (slow_ + own > kMostSlow) {
        spdlog::warn("{} is refused, too many are under way: asked by {}", request.target,
                     asker.name);
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
        spdlog::error("{} failed: {}", request.target, reason);
        out = admin_error(500, reason);
    }
    co_return std::move(*out);
}

}  // namespace s3gate::control
