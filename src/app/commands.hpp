// The commands of the program, one file each. main() calls them with the parsed options; each
// returns the exit code.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "s3gate/config/load.hpp"

namespace s3gate::app {

// The file of every command that names none.
inline constexpr const char* kDefaultFile = "/etc/s3gate/s3gate.yaml";

// Prints an error to standard error; with error priority where that is the journal.
void complain(const std::string& message);

// Loads `file`. Prints each problem as `file:line: key.path: message` to `out` and returns null.
// Prints warnings to `out` as well, with the word "warning" before them, or with that priority
// where `out` is the journal.
std::shared_ptr<const config::Config> load_or_report(const std::string& file, std::FILE* out);

// Prints the problems and warnings as load_or_report() does.
void print_findings(const config::LoadResult& result, std::FILE* out);

// `s3gate --config FILE`: serves until told to stop. `arguments`: the whole command line, for an
// upgrade.
int run_daemon(const std::string& file, std::vector<std::string> arguments);

struct CheckOptions {
    std::string file;
    bool is_strict = false;  // warnings count as failures
    bool as_json = false;
    bool with_dump = false;  // print the values in effect instead of the summary
    std::string unit;        // unit file to judge by; empty = the installed one

    // What `file` is compared with, instead: a file, or kRunning. Empty = nothing.
    std::string diff;
    std::string socket;           // of the running daemon; empty = as the configuration says
    bool with_exit_code = false;  // differences are exit code 1
};

// For CheckOptions::diff: the configuration that serves.
inline constexpr const char* kRunning = "running";

// `s3gate check [FILE]`: the checks of a start, without listening and serving.
int run_check(const CheckOptions& options);

// `s3gate check --diff OLD [NEW]`: what changes between two configurations.
int run_diff(const CheckOptions& options);

struct RouteOptions {
    std::string site;               // empty = every site
    std::string host;               // of requests whose argument has none; empty = any
    std::optional<std::string> ip;  // of the client, for the fingerprint
    std::string user_agent;
    std::string accept_language;
    bool is_live = false;                // with the state of the running daemon
    std::string socket;                  // of that daemon; empty = as `file` says
    std::vector<std::string> arguments;  // keys, query strings, URLs
};

// `s3gate route --config FILE …`: prints the server that requests go to, and the reason. With
// `is_live`, the daemon that serves with `file` is asked for its configuration.
int run_route(const std::string& file, const RouteOptions& options);

// Exit codes of `s3gate ctl` beside those of control/server.hpp.
inline constexpr int kExitUsage = 2;
inline constexpr int kExitUnreachable = 4;
inline constexpr int kExitStillBusy = 5;  // `maintain` has waited for --timeout

struct CtlOptions {
    std::string command;               // "reload", "status", …
    std::vector<std::string> sockets;  // empty = the configuration's, or the default
    std::string file;                  // the configuration that says where; empty = none is read
    bool as_json = false;              // the daemon's answer as it is
    std::string confirm;               // of reload: a duration; empty = none
    bool is_strict = false;            // of health, both
    bool is_live = false;
    std::string client;  // of connections: an address or a block; empty = all
    std::string limit;   // of connections; empty = the daemon's own
    std::string level;   // of log-level; empty = show it
    std::string time;    // of log-level: a duration; empty = until it is taken back

    // Of drain, undrain, down, up and maintain.
    std::string server;
    std::string site;  // empty = every site that has the server
    bool keeps_sessions = false;
    bool is_forced = false;
    bool is_done = false;  // the end of the maintenance
    std::string timeout;   // of maintain: a duration; empty = as long as it takes
};

// `s3gate ctl COMMAND`: asks running daemons, one after another. The highest exit code counts.
int run_ctl(const CtlOptions& options);

// The control socket of the daemon that serves with `file`; of the default one if that is empty.
// Empty, after a message, if it is not certain.
std::string daemon_socket(const std::string& file);

}  // namespace s3gate::app
