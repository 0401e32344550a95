// The control socket: a unix stream socket that `s3gate ctl` speaks HTTP through. Every user that
// can connect (0660: the daemon's user and group) may look; Operators says whose commands are
// taken. Owns the socket's file. Control thread only.
#pragma once

#include <sys/types.h>

#include <boost/asio/io_context.hpp>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include "admin_acceptor.hpp"
#include "commands.hpp"
#include "operators.hpp"
#include "s3gate/base/descriptor.hpp"

namespace s3gate::control {

// Another process serves the socket: this process is a second daemon, and its start must fail.
struct SocketTaken : std::runtime_error {
    using std::runtime_error::runtime_error;
};

class ControlSocket {
  public:
    // Listens at `path` and serves as soon as the loop runs. Replaces the file of a process that
    // has ended, and of the process `before`, whose successor this one is. Throws SocketTaken if
    // another process answers there, std::runtime_error if the socket cannot be made. Both
    // arguments by reference must outlive the loop.
    ControlSocket(boost::asio::io_context& context, std::string path, Operators operators,
                  Commands& commands, std::optional<pid_t> before = std::nullopt);
    // Stops accepting and removes the file, unless another process has replaced it. Open
    // connections are served to their end.
    ~ControlSocket();
    ControlSocket(const ControlSocket&) = delete;
    ControlSocket& operator=(const ControlSocket&) = delete;

    const std::string& path() const { return path_; }
    // False if the file was removed or replaced: no client finds this socket any more.
    bool is_in_place() const;
    // Uses these operators from the next connection on.
    void use(Operators operators);

  private:
    std::string path_;
    dev_t device_ = 0;
    ino_t inode_ = 0;
    base::Descriptor socket_;
    std::shared_ptr<Operators> operators_;
    std::optional<AdminAcceptor> acceptor_;
};

}  // namespace s3gate::control
