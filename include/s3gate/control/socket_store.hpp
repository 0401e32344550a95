// Listening sockets that outlive a process: systemd's descriptor store keeps copies of them and
// passes them to the next process of the service (sd_listen_fds(3), FileDescriptorStoreMax= of
// systemd.service(5)). A socket has the name that socket_name() gives. Control thread only.
#pragma once

#include <string>
#include <vector>

#include "s3gate/base/descriptor.hpp"

namespace s3gate::control {

// A socket that was open when this process began.
struct PassedSocket {
    std::string name;
    base::Descriptor socket;
};

class SocketStore {
  public:
    SocketStore() = default;
    SocketStore(const SocketStore&) = delete;
    SocketStore& operator=(const SocketStore&) = delete;
    virtual ~SocketStore() = default;

    // Keeps a copy of `socket` until drop(), or until the service is stopped. No failure is
    // reported: the socket then ends with the process.
    virtual void keep(const std::string& name, int socket) = 0;
    // Closes the copies of that name.
    virtual void drop(const std::string& name) = 0;
    // A descriptor that hangs up once all calls before have taken effect; none if nobody keeps
    // anything.
    virtual base::Descriptor fence() = 0;
};

// Takes those of `passed` that a process of s3gate left out of the store: from now on they end with
// this process, so that no client waits in their queues while starts fail. They return to the store
// once this process serves.
void claim(const std::vector<PassedSocket>& passed, SocketStore& store);

}  // namespace s3gate::control
