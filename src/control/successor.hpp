// The process that takes over in an upgrade, as the process before sees it: started from the binary
// that now stands at its path, with the listening sockets, until it says that it serves
// (docs/architecture.md, "Upgrade"). The other side is predecessor.hpp. Control thread.
#pragma once

#include <sys/types.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/readable_pipe.hpp>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "s3gate/base/clock.hpp"
#include "s3gate/base/descriptor.hpp"
#include "s3gate/control/socket_store.hpp"

namespace s3gate::control {

// What a successor is started with.
struct SuccessorPlan {
    std::string program;                  // its path, absolute
    std::vector<std::string> arguments;   // with the program's name
    std::vector<PassedSocket> sockets;    // copies
    base::Descriptor state;               // hand_over.hpp
    std::vector<base::Descriptor> links;  // to the old processes of this one, the oldest first
};

class Successor {
  public:
    // Starts it. The service manager becomes its parent, so that a crash after the take-over is
    // seen there. Throws std::system_error, with the reason, if the program cannot be executed.
    // Blocks until the program runs.
    Successor(boost::asio::io_context& context, SuccessorPlan plan);
    // Kills a process that has not said that it serves.
    ~Successor();
    Successor(const Successor&) = delete;
    Successor& operator=(const Successor&) = delete;

    // Waits until it serves, for at most `limit`. Empty, or the reason why it does not: the process
    // is at its end then.
    boost::asio::awaitable<std::string> serves(base::Duration limit);
    // Ends a process that does not serve yet: serves() returns `reason`.
    void cancel(std::string reason);
    // The listeners that it does not use, once it serves.
    const std::set<std::string>& unused() const { return unused_; }
    // 0 until it has told it.
    pid_t pid() const { return pid_; }
    // The connection on which it commands this process from now on.
    boost::asio::local::stream_protocol::socket take_link() { return std::move(link_); }

  private:
    // True once the process says that it serves.
    bool take_lines(std::string& text);
    void take_line(std::string_view line);
    void end_process();
    // The process has ended.
    bool is_link_closed();
    // Once the process has another parent. Kills what stays: a program that started it.
    boost::asio::awaitable<void> reap_child();

    boost::asio::local::stream_protocol::socket link_;
    boost::asio::readable_pipe said_;
    pid_t child_ = 0;  // of this process; it ends once the process has another parent
    pid_t pid_ = 0;
    bool is_serving_ = false;
    bool has_ended_ = false;
    std::set<std::string> unused_;
    std::string reason_;
};

// The path by which a program was started, made absolute at the start: the binary at this path may
// be another one later. `name` is argv[0]. Empty if it cannot be found.
std::string absolute_program(const std::string& name);

}  // namespace s3gate::control
