// systemd, as the daemon talks to it: life signs, and the store of listening sockets. Without
// NOTIFY_SOCKET (no service manager) every message does nothing.
#pragma once

#include <string>
#include <vector>

#include "s3gate/control/server.hpp"
#include "s3gate/control/socket_store.hpp"

namespace s3gate::app {

class ServiceManager final : public control::SocketStore {
  public:
    ServiceManager();

    // True in a process of a service that tells systemd what it does (INVOCATION_ID of
    // systemd.exec(5), which shells of a session may have too; NOTIFY_SOCKET).
    static bool runs_this_process();
    // The sockets that this process was started with (sd_listen_fds(3)). Those of systemd's store
    // leave it: a start that fails must not leave them there. In an upgrade the process before
    // keeps them in the store. Call it once, before there are other threads.
    std::vector<control::PassedSocket> take_sockets(bool is_upgrade);
    // They use this object.
    control::Server::Hooks hooks();

    void keep(const std::string& name, int socket) override;
    void drop(const std::string& name) override;
    base::Descriptor fence() override;

  private:
    bool has_watchdog_ = false;
};

}  // namespace s3gate::app
