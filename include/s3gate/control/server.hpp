// The running daemon: opens the listeners, starts workers, control thread and log thread, publishes
// snapshots, drains, stops. Owned by main; run() is the control thread.
#pragma once

#include <memory>
#include <string>

#include "s3gate/config/model.hpp"

namespace s3gate::control {

// Exit codes of the daemon (docs/operations.md).
enum ExitCode : int {
    kExitOk = 0,       // drained and stopped, or `check` found no problem
    kExitFailure = 1,  // could not start (address in use, log not writable, …)
    kExitConfig = 2,   // the configuration has problems
    kExitForced = 3,   // ended at once by a second signal, or the drain ran into shutdown_timeout
                       // with requests cut
};

class Server {
  public:
    // What the daemon is told about: readiness, stopping, life signs (systemd's sd_notify; tests
    // may pass nothing).
    struct Hooks {
        void (*ready)(void* context) = nullptr;
        void (*stopping)(void* context) = nullptr;
        void (*alive)(void* context) = nullptr;
        void* context = nullptr;
    };

    Server(std::shared_ptr<const config::Config> config, Hooks hooks);
    ~Server();

    // To be called as early as there is anything to call: until then a log rotation, or a signal
    // that another server would take for a reload, ends the process.
    static void disarm_signals();

    // Everything from opening sockets to the end of the drain; returns the exit code. Installs
    // handlers for SIGTERM, SIGQUIT, SIGINT, SIGUSR1 and those that tell other servers something.
    int run();

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace s3gate::control
