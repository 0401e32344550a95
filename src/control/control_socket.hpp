// The control socket: a unix stream socket that `s3gate ctl` speaks HTTP through. Reading is for
// whoever can connect (0660: the daemon's user and group), commands for Operators. Owns the file.
// Control thread only.
#pragma once

#include <sys/types.h>

#include <boost/asio/io_context.hpp>
#include <memory>
#include <stdexcept>
#include <string>

#include "commands.hpp"
#include "operators.hpp"

namespace s3gate::control {

// A living process has the socket: a second daemon's start, which must not go on.
struct SocketTaken : std::runtime_error {
    using std::runtime_error::runtime_error;
};

class ControlSocket {
  public:
    // Listens at `path` and serves as soon as the loop runs. A file that an ended process left is
    // replaced; where a living one answers, throws SocketTaken, and where nothing can be made,
    // std::runtime_error. Both arguments by reference must outlive the loop.
    ControlSocket(boost::asio::io_context& context, std::string path, Operators operators,
                  Commands& commands);
    // Takes nobody in any more and removes the file, unless it is another process's by now. Who is
    // inside is served on.
    ~ControlSocket();
    ControlSocket(const ControlSocket&) = delete;
    ControlSocket& operator=(const ControlSocket&) = delete;

    const std::string& path() const { return path_; }
    // From the next connection on.
    void use(Operators operators);

  private:
    struct Listening;
    static boost::asio::awaitable<void> accept(std::shared_ptr<Listening> listening);

    std::string path_;
    dev_t device_ = 0;
    ino_t inode_ = 0;
    std::shared_ptr<Listening> listening_;
};

}  // namespace s3gate::control
