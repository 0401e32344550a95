// Serves the connections of operators that listening sockets accepted, with one request each.
// Their number, size and time are bounded, so a client that misbehaves costs only its own
// connection. Control thread only.
#pragma once

#include <boost/asio/generic/stream_protocol.hpp>
#include <chrono>
#include <cstddef>
#include <memory>

#include "admin_handler.hpp"
#include "commands.hpp"
#include "s3gate/base/clock.hpp"

namespace s3gate::control {

class AdminDoor {
  public:
    using Socket = boost::asio::generic::stream_protocol::socket;

    // Connections that wait for their client: for a request, or for its taking the answer.
    static constexpr std::size_t kMostWaiting = 16;
    static constexpr std::size_t kMostHead = 16 * 1024;
    static constexpr std::size_t kMostBody = 64 * 1024;
    // For a whole request, and again for taking the answer. A command itself may take longer.
    static constexpr base::Duration kPatience = std::chrono::seconds{5};

    // `commands` must outlive the event loop of the sockets.
    explicit AdminDoor(Commands& commands);
    ~AdminDoor();  // open connections are served to their end
    AdminDoor(const AdminDoor&) = delete;
    AdminDoor& operator=(const AdminDoor&) = delete;

    // Serves a connection. Beyond kMostWaiting it closes the connection that has waited longest. A
    // connection whose command is under way is never closed.
    void let_in(Socket socket, Asker asker);

    // Closes a spare descriptor, so that a client can be accepted when the process has no other.
    // False if none is left: the ends of connections bring them back.
    bool make_room();

  private:
    struct Connection;
    struct State;
    static boost::asio::awaitable<void> serve(std::shared_ptr<State> state,
                                              std::shared_ptr<Connection> connection);

    std::shared_ptr<State> state_;
};

}  // namespace s3gate::control
