// The running daemon. It opens the listeners, starts workers, control thread and log thread,
// publishes snapshots, drains and stops. Owned by main; run() is the control thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "s3gate/config/model.hpp"
#include "s3gate/control/predecessor.hpp"
#include "s3gate/control/socket_store.hpp"

namespace s3gate::control {

// Exit codes of the daemon (docs/operations.md).
enum ExitCode : int {
    kExitOk = 0,       // drained and stopped, or `check` found no problem
    kExitFailure = 1,  // could not start (address in use, log not writable, …)
    kExitConfig = 2,   // the configuration has problems
    kExitForced = 3,   // a second signal or shutdown_timeout cut requests
};

class Server {
  public:
    // Notifications to the service manager: readiness, stopping, life signs (systemd's sd_notify;
    // tests may pass none).
    struct Hooks {
        void (*ready)(void* context) = nullptr;
        void (*stopping)(void* context) = nullptr;
        void (*alive)(void* context) = nullptr;
        // About once a second from the first moment of a stop: it still goes on, as shutdown_delay
        // and shutdown_timeout allow.
        void (*still_stopping)(void* context) = nullptr;
        // Another process takes over: it is the service from now on.
        void (*succeeded)(void* context, int pid) = nullptr;
        void* context = nullptr;
    };

    // For an upgrade: how this process was started, so that the next one can be, and the process
    // before.
    struct Lineage {
        std::string program;                 // absolute; empty: no upgrade is possible
        std::vector<std::string> arguments;  // with the program's name
        std::optional<Predecessor> predecessor;
        // What the settings of the systemd unit are now, as one text to compare; null where no unit
        // runs this process. Any thread; reads files.
        std::string (*read_unit)() = nullptr;
        std::string unit = {};  // read_unit() at the start of the service; empty: unknown
    };

    // Listening sockets that outlive a process.
    struct Sockets {
        std::vector<PassedSocket> passed;  // by a process that ended without a stop, or upgrades
        SocketStore* store = nullptr;      // for the process after this one; null: none
    };

    // `sockets.store` must outlive the server.
    Server(std::shared_ptr<const config::Config> config, Hooks hooks, Sockets sockets,
           Lineage lineage);
    ~Server();

    // The lineage of this process, started with these arguments. Where it is the successor of
    // another process it becomes that one (Predecessor::detach). Call it before there are threads.
    static Lineage trace(std::vector<std::string> arguments);
    // Call it as early as possible: until then a signal for log rotation or reload ends the
    // process.
    static void disarm_signals();

    // Opens the sockets, serves, and returns the exit code after the drain. Installs handlers for
    // SIGTERM, SIGQUIT, SIGINT, SIGUSR1, SIGUSR2 and signals_of_other_servers().
    int run();

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace s3gate::control
