// What whoever operates the daemon may ask of it. The HTTP handler of the control socket
// (admin_handler.hpp) calls it; the control loop implements it. Control thread only.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/json/object.hpp>
#include <optional>
#include <string>
#include <vector>

#include "s3gate/base/clock.hpp"
#include "s3gate/config/model.hpp"

namespace s3gate::control {

// What became of a command.
struct CommandOutcome {
    bool is_done = true;  // false: refused or failed, and nothing has changed
    // For the operator, one line that can stand alone: "standby: /healthz answers 503".
    std::string message;
    // Of the configuration, for a reload: in the order in which `check` prints them.
    std::vector<config::Problem> problems = {};
    std::vector<config::Problem> warnings = {};
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

class Commands {
  public:
    Commands() = default;
    Commands(const Commands&) = delete;
    Commands& operator=(const Commands&) = delete;
    virtual ~Commands() = default;

    // Reads the configuration again and uses it; returns once that is decided. With `confirm` the
    // old configuration comes back unless confirm() is called within that time. Logs its outcome.
    // Must not block; the client may be gone before it ends, which changes nothing.
    virtual boost::asio::awaitable<CommandOutcome> reload(
        std::optional<base::Duration> confirm) = 0;
    // Keeps what reload() was given a time for.
    virtual CommandOutcome confirm() = 0;
    // /healthz answers 503 until active(), or the end of the process. The traffic is served on.
    virtual CommandOutcome standby() = 0;
    virtual CommandOutcome active() = 0;

    // These change nothing and return at once.
    virtual boost::json::object status() = 0;
    virtual HealthVerdict health(HealthQuestion question) = 0;
};

}  // namespace s3gate::control
