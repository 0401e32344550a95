#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/system/error_code.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "commands.hpp"
#include "ctl_client.hpp"
#include "ctl_text.hpp"
#include "s3gate/config/duration.hpp"
#include "s3gate/control/findings_json.hpp"
#include "s3gate/control/server.hpp"

namespace s3gate::app {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;

// Below the two seconds and more that keepalived's sample gives its check.
constexpr milliseconds kHealthLimit{1500};

// A node has ten seconds for each of its addresses to say whether the cluster can do without it.
constexpr std::chrono::minutes kOrderLimit{5};
// Between two looks at the requests in progress.
constexpr milliseconds kLookEvery{250};
// Looks without an answer in a row, as while a daemon restarts.
constexpr int kMostSilentLooks = 20;

// At once, also where the output is a pipe.
void say(const std::string& message) {
    std::puts(message.c_str());
    std::fflush(stdout);
}

void note(const std::string& message) {
    std::fprintf(stderr, "note: %s\n", message.c_str());
}

// The socket of the configuration; empty after a message if it has none, or none that is certain: a
// guess would command another daemon. A file with other problems does not keep a command from the
// daemon, which says more about them.
std::string socket_of_file(const std::string& file) {
    const config::Environment environment = config::process_environment();
    const config::LoadResult whole = config::load(file, environment);
    const config::LoadResult read = whole.ok() ? whole : config::load_admin(file, environment);
    if (!read.ok()) {
        complain(read.problems.front().to_string());
        complain("so the socket of its daemon is not known; --socket names it");
        return {};
    }
    std::string out = socket_of(read.config.admin);
    if (out.empty()) {
        complain(file + " says admin.socket: off: its daemon takes no commands");
    } else if (!whole.ok()) {
        note(file + " is broken (" + whole.problems.front().to_string() + "); asking " + out);
    }
    return out;
}

// Without options: the default, or where there is none, the socket of the default configuration.
std::string default_socket() {
    const std::string usual = socket_of(config::Admin());
    std::error_code ignored;
    if (std::filesystem::exists(usual, ignored)) {
        return usual;
    }
    const auto read = config::load_admin(kDefaultFile, config::process_environment());
    const std::string named = read.ok() ? socket_of(read.config.admin) : usual;
    return named.empty() ? usual : named;
}

std::vector<std::string> sockets_of(const CtlOptions& options) {
    if (!options.sockets.empty()) {
        return options.sockets;
    }
    const std::string one = daemon_socket(options.file);
    return one.empty() ? std::vector<std::string>() : std::vector{one};
}

std::string connections_target(const CtlOptions& options) {
    std::string out = "/connections";
    if (!options.client.empty()) {
        out += "?client=" + options.client;
    }
    if (!options.limit.empty()) {
        out += (options.client.empty() ? "?limit=" : "&limit=") + options.limit;
    }
    return out;
}

bool is_order(const CtlOptions& options) {
    return !options.server.empty();
}

// True for `maintain` without --done, which waits for the requests in progress.
bool waits_for_requests(const CtlOptions& options) {
    return options.command == "maintain" && !options.is_done;
}

std::string order_of(const CtlOptions& options) {
    json::object body;
    body["server"] = control::json_text(options.server);
    if (!options.site.empty()) {
        body["site"] = control::json_text(options.site);
    }
    for (const auto& [name, is_set] : {std::pair{"sessions", options.keeps_sessions},
                                       {"force", options.is_forced},
                                       {"done", options.is_done}}) {
        if (is_set) {
            body[name] = true;
        }
    }
    return json::serialize(body);
}

CtlRequest request_of(const CtlOptions& options) {
    if (options.command == "status") {
        return {.method = "GET", .target = "/status", .limit = kAnswerLimit};
    }
    if (options.command == "connections") {
        return {.method = "GET", .target = connections_target(options), .limit = kAnswerLimit};
    }
    if (options.command == "log-level" && options.level.empty()) {
        return {.method = "GET", .target = "/log-level", .limit = kAnswerLimit};
    }
    if (options.command == "health") {
        return {.method = "GET",
                .target = std::string("/healthz?strict=") + (options.is_strict ? "1" : "0") +
                          "&live=" + (options.is_live ? "1" : "0"),
                .limit = kHealthLimit};
    }
    CtlRequest out{.method = "POST", .target = "/" + options.command, .limit = kAnswerLimit};
    if (options.command == "log-level") {
        json::object body;
        body["level"] = control::json_text(options.level);
        if (!options.time.empty()) {
            body["for"] = control::json_text(options.time);
        }
        out.body = json::serialize(body);
    }
    if (is_order(options)) {
        out.body = order_of(options);
        out.limit = options.command == "maintain" ? kOrderLimit : kAnswerLimit;
    }
    if (options.command == "reload" || options.command == "upgrade") {
        out.limit.reset();  // these may take long; the user may interrupt the wait
        if (!options.confirm.empty()) {
            json::object body;
            body["confirm"] = control::json_text(options.confirm);
            out.body = json::serialize(body);
        }
    }
    return out;
}

// The socket at the path is another process' by now (RFC 9110, 15.5.20).
constexpr unsigned kMisdirected = 421;
// While one command waits for its answer.
constexpr int kMostHandOvers = 16;

std::string text_at(const json::object& object, std::string_view key) {
    const json::value* const value = object.if_contains(key);
    const json::string* const text = value == nullptr ? nullptr : value->if_string();
    return text == nullptr ? std::string() : std::string(*text);
}

// Sends the command to one daemon and shows its answer.
class Conversation {
  public:
    // `prefix`: before each line, where several daemons are asked.
    Conversation(const CtlOptions& options, std::string prefix)
        : options_(options), prefix_(std::move(prefix)) {}

    int run(const std::string& socket) const;
    // Of `maintain`, after run(): returns once no request is in progress at the server, or at
    // `end`.
    int wait_for_requests(const std::string& socket, base::TimePoint end) const;

  private:
    // What is in progress at the servers of the order; nullopt where the daemon does not answer.
    struct Progress {
        bool is_in_maintenance = false;
        std::int64_t requests = 0;
        std::int64_t in_old_processes = 0;
        std::string text() const;
    };
    std::optional<Progress> look(const std::string& socket) const;

    int refuse(const std::string& reason, int code = control::kExitFailure) const {
        complain(prefix_ + options_.command + ": " + reason);
        return code;
    }
    CtlAnswer ask(const std::string& socket) const;
    int show(const json::object& body, unsigned status) const;
    int show_outcome(const json::object& body, bool is_done) const;

    const CtlOptions& options_;
    std::string prefix_;
};

int Conversation::show_outcome(const json::object& body, bool is_done) const {
    config::LoadResult findings;
    findings.problems = control::findings_of(body.if_contains("problems"));
    findings.warnings = control::findings_of(body.if_contains("warnings"));
    print_findings(findings, is_done ? stdout : stderr);
    const std::string message = text_at(body, "message");
    if (!is_done) {
        complain(prefix_ + message);
        return control::kExitFailure;
    }
    std::printf("%s%s\n", prefix_.c_str(), message.c_str());
    return control::kExitOk;
}

int Conversation::show(const json::object& body, unsigned status) const {
    if (const std::string error = text_at(body, "error"); !error.empty()) {
        return refuse(error, status == 400 ? kExitUsage : control::kExitFailure);
    }
    if (options_.command == "health") {
        return status == 200 ? control::kExitOk : refuse(text_at(body, "reason"));
    }
    const bool shows_level = options_.command == "log-level" && options_.level.empty();
    if (options_.command == "status" || options_.command == "connections" || shows_level) {
        std::printf("%s%s", prefix_.empty() ? "" : (prefix_ + "\n").c_str(),
                    shows_level                    ? log_level_text(body).c_str()
                    : options_.command == "status" ? status_text(body).c_str()
                                                   : connections_text(body).c_str());
        return control::kExitOk;
    }
    return show_outcome(body, status == 200);
}

std::string Conversation::Progress::text() const {
    return std::to_string(requests + in_old_processes) + " requests in progress" +
           (in_old_processes > 0
                ? " (" + std::to_string(in_old_processes) + " of them in old processes)"
                : "");
}

std::optional<Conversation::Progress> Conversation::look(const std::string& socket) const {
    const CtlAnswer answer =
        ask_daemon(socket, {.method = "GET", .target = "/overrides", .limit = kAnswerLimit});
    boost::system::error_code error;
    const json::value body = json::parse(answer.body, error);
    if (error || answer.status != 200) {
        return std::nullopt;
    }
    Progress out;
    try {
        for (const json::value& item : body.at("overrides").as_array()) {
            if (item.at("server").as_string() == options_.server &&
                (options_.site.empty() || item.at("site").as_string() == options_.site) &&
                item.at("state").as_string() == "maintenance") {
                out.is_in_maintenance = true;
                out.requests += item.at("requests").to_number<std::int64_t>();
                out.in_old_processes +=
                    item.at("requests_in_old_processes").to_number<std::int64_t>();
            }
        }
    } catch (const std::exception&) {
        return std::nullopt;
    }
    return out;
}

int Conversation::wait_for_requests(const std::string& socket, base::TimePoint end) const {
    std::string told;
    int silent = 0;
    for (;;) {
        const std::optional<Progress> now = look(socket);
        silent = now ? 0 : silent + 1;
        if (silent > kMostSilentLooks) {
            complain("cannot reach the daemon at " + socket + " any more");
            return kExitUnreachable;
        }
        if (now && !now->is_in_maintenance) {
            return refuse(options_.server +
                          " is no longer in maintenance: its configuration "
                          "changed, the daemon restarted, or somebody ended it");
        }
        if (now && now->requests + now->in_old_processes == 0) {
            say(prefix_ + "maintain: nothing is in progress at " + options_.server +
                "; it stays out until `s3gate ctl maintain " + options_.server + " --done`");
            return control::kExitOk;
        }
        if (base::Clock::now() >= end) {
            return refuse(options_.server + " stays in maintenance, after --timeout with " +
                              (now ? now->text() : "an unknown number of requests in progress"),
                          kExitStillBusy);
        }
        if (now && std::exchange(told, now->text()) != now->text()) {
            say(prefix_ + "maintain: waiting for " + now->text() + " at " + options_.server);
        }
        std::this_thread::sleep_for(kLookEvery);
    }
}

// Asks again where the answer comes from a process that has handed over to another one meanwhile.
CtlAnswer Conversation::ask(const std::string& socket) const {
    CtlAnswer answer = ask_daemon(socket, request_of(options_));
    for (int i = 0; answer.status == kMisdirected && i < kMostHandOvers; ++i) {
        answer = ask_daemon(socket, request_of(options_));
    }
    return answer;
}

int Conversation::run(const std::string& socket) const {
    const CtlAnswer answer = ask(socket);
    if (answer.status == 0) {
        complain("cannot reach the daemon at " + socket + ": " + answer.error);
        return kExitUnreachable;
    }
    boost::system::error_code error;
    const json::value body = json::parse(answer.body, error);
    if (error || !body.is_object()) {
        return refuse("what answers at " + socket + " is no s3gate");
    }
    if (options_.as_json) {
        std::fputs(answer.body.c_str(), stdout);
        return answer.status == 200   ? control::kExitOk
               : answer.status == 400 ? kExitUsage
                                      : control::kExitFailure;
    }
    return show(body.get_object(), answer.status);
}

// Never, where the clock cannot count that far.
base::TimePoint end_after(base::Duration timeout) {
    const base::TimePoint now = base::Clock::now();
    const bool is_far = timeout >= std::chrono::floor<base::Duration>(base::TimePoint::max() - now);
    return is_far ? base::TimePoint::max() : now + timeout;
}

}  // namespace

std::string daemon_socket(const std::string& file) {
    return file.empty() ? default_socket() : socket_of_file(file);
}

int run_ctl(const CtlOptions& options) {
    base::TimePoint end = base::TimePoint::max();
    if (!options.timeout.empty()) {
        const auto timeout = config::parse_duration(options.timeout);
        if (!timeout.value || options.is_done) {
            complain(options.is_done ? "--timeout does not go with --done"
                                     : "--timeout: " + timeout.error);
            return kExitUsage;
        }
        end = end_after(*timeout.value);
    }
    const std::vector<std::string> sockets = sockets_of(options);
    int code = sockets.empty() ? kExitUnreachable : control::kExitOk;
    std::vector<std::string> waiting;
    const auto converse = [&](const std::string& socket) {
        return Conversation(options, sockets.size() == 1 ? "" : socket + ": ");
    };
    for (const std::string& socket : sockets) {
        const int result = converse(socket).run(socket);
        code = std::max(code, result);
        if (result == control::kExitOk && waits_for_requests(options)) {
            waiting.push_back(socket);
        }
    }
    // Every host has begun before the first one is waited for.
    for (const std::string& socket : waiting) {
        code = std::max(code, converse(socket).wait_for_requests(socket, end));
    }
    return code;
}

}  // namespace s3gate::app
