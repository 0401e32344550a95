#include <systemd/sd-daemon.h>

#include <cstdio>

#include "commands.hpp"
#include "s3gate/control/server.hpp"

namespace s3gate::app {
namespace {

// Without NOTIFY_SOCKET (no service manager) sd_notify() does nothing and succeeds.

struct Systemd {
    bool has_watchdog = false;
};

void notify_ready(void*) {
    ::sd_notify(0, "READY=1\nSTATUS=serving");
}

void notify_stopping(void*) {
    ::sd_notify(0, "STOPPING=1\nSTATUS=finishing the requests in progress");
}

// Several times the interval of the calls: a stop that hangs is ended soon after its last sign.
void notify_still_stopping(void*) {
    ::sd_notify(0, "EXTEND_TIMEOUT_USEC=10000000");
}

void notify_alive(void* context) {
    if (static_cast<const Systemd*>(context)->has_watchdog) {
        ::sd_notify(0, "WATCHDOG=1");
    }
}

}  // namespace

int run_daemon(const std::string& file) {
    control::Server::disarm_signals();
    std::shared_ptr<const config::Config> config = load_or_report(file, stderr);
    if (!config) {
        return control::kExitConfig;
    }
    Systemd systemd;
    systemd.has_watchdog = ::sd_watchdog_enabled(0, nullptr) > 0;
    control::Server server(std::move(config), {.ready = notify_ready,
                                               .stopping = notify_stopping,
                                               .alive = notify_alive,
                                               .still_stopping = notify_still_stopping,
                                               .context = &systemd});
    return server.run();
}

}  // namespace s3gate::app
