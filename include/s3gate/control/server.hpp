// The running daemon. It opens the listeners, starts workers, control thread and log thread,
// publishes snapshots, drains and stops. Owned by main; run() is the control thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "s3gate/config/model.hpp"
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
        void* context = nullptr;
    };

    // Listening sockets that outlive a process.
    struct Sockets {
        std::vector<PassedSocket> passed;  // by a process that ended without a stop
        SocketStore* store = nullptr;      // for the process after this one; null: none
    };

    // `sockets.store` must outlive the server.
    Server(std::shared_ptr<const config::Config> config, Hooks hooks, Sockets sockets);
    ~Server();

    // Call it as early as possible: until then a signal for log rotation or reload ends the
    // process.
    static void disarm_signals();

    // Opens the sockets, serves, and returns the exit code after the drain. Installs handlers for
    // SIGTERM, SIGQUIT, SIGINT, SIGUSR1 and signals_of_other_servers().
    int run();

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace s3gate::control
