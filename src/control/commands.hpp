// The commands and questions that operators have for the daemon. The HTTP handler of the control
// socket (admin_handler.hpp) calls them; the control loop implements them. Control thread only.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/json/object.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "repeated_lines.hpp"
#include "s3gate/base/clock.hpp"
#include "s3gate/config/model.hpp"
#include "s3gate/proxy/client_survey.hpp"

namespace s3gate::control {

// The outcome of a command.
struct CommandOutcome {
    bool is_done = true;  // false: refused or failed, and nothing has changed
    // One line for the operator that is clear without the command, such as "standby: /healthz
    // answers 503".
    std::string message;
    // For a reload: those of the configuration, in the order in which `check` prints them.
    std::vector<config::Problem> problems = {};
    std::vector<config::Problem> warnings = {};
    // Refused because the command socket at the path is another process' by now: that one can do
    // it.
    bool is_misdirected = false;
};

// The answer to /healthz.
struct HealthVerdict {
    bool is_healthy = true;
    std::string reason;  // one line; "ok" where it is healthy
};

// `strict`: every group needs a usable server as well. `live`: a host that is on standby, drains or
// stops is as healthy as one that serves.
struct HealthQuestion {
    bool is_strict = false;
    bool is_live = false;
};

// A change of the level of the operational log.
struct LogLevelChange {
    std::optional<config::LogLevel> level;    // nullopt: the configuration's again
    std::optional<base::Duration> time = {};  // afterwards the configuration's again
    std::string asker;                        // for the log
};

// What an operator wants for a server.
struct ServerOrder {
    enum class Kind : std::uint8_t { drain, undrain, down, up, maintain, end_maintenance };
    Kind kind = Kind::drain;
    std::string server;           // as configured
    std::string site = {};        // empty: in every site that has it
    bool keeps_sessions = false;  // of drain
    bool is_forced = false;       // of drain, down and maintain
    std::string asker = {};
};

class Commands {
  public:
    Commands() = default;
    Commands(const Commands&) = delete;
    Commands& operator=(const Commands&) = delete;
    virtual ~Commands() = default;

    // Reads the configuration again and uses it unless it is refused. Returns the outcome and logs
    // it. With `confirm` the old configuration comes back unless confirm() is called within that
    // time. Must not block. Continues if its client leaves.
    virtual boost::asio::awaitable<CommandOutcome> reload(
        std::optional<base::Duration> confirm) = 0;
    // Keeps the configuration of a reload() with `confirm`.
    virtual CommandOutcome confirm() = 0;
    // /healthz answers 503 until active(), or the end of the process. All traffic is still served.
    virtual CommandOutcome standby() = 0;
    virtual CommandOutcome active() = 0;

    // Starts the binary that stands at this one's path and hands the listening sockets over to it
    // once it serves. Returns the outcome and logs it. Must not block.
    virtual boost::asio::awaitable<CommandOutcome> upgrade() = 0;

    // Returns the outcome and logs it.
    virtual CommandOutcome set_log_level(const LogLevelChange& change) = 0;

    // Takes a server out of service or gives it back. Must not block.
    virtual boost::asio::awaitable<CommandOutcome> order(ServerOrder order) = 0;

    // The lines that its callers can cause again and again.
    virtual RepeatedLines& lines() = 0;

    // These change nothing and return at once.
    virtual boost::json::object status() = 0;
    // What order() has commanded, and the requests that are still in progress there.
    virtual boost::json::object overrides() = 0;
    virtual HealthVerdict health(HealthQuestion question) = 0;
    virtual boost::json::object log_level() = 0;

    // The metrics in Prometheus' text format; nullopt if another process has to be asked, or too
    // many ask. Changes nothing and does not block.
    virtual boost::asio::awaitable<std::optional<std::string>> metrics() = 0;

    // The configuration that serves, as config::dump() has it: with its salts. Changes nothing and
    // does not block.
    virtual boost::asio::awaitable<std::string> configuration() = 0;
    // The clients of all workers, as docs/operations.md has them. Changes nothing and does not
    // block.
    virtual boost::asio::awaitable<std::string> connections(
        proxy::ClientSurvey::Question question) = 0;
};

}  // namespace s3gate::control
