// The connections of one door for operators: bounded in number, size and time, so that no client,
// however it behaves, costs more than its place. One request a connection. Control thread only.
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

    static constexpr std::size_t kMostConnections = 16;
    static constexpr std::size_t kMostHead = 16 * 1024;
    static constexpr std::size_t kMostBody = 64 * 1024;
    // For a whole request, and again for taking the answer. A command itself may take longer.
    static constexpr base::Duration kPatience = std::chrono::seconds{5};

    // `commands` must outlive the event loop of the sockets.
    explicit AdminDoor(Commands& commands);
    ~AdminDoor();  // who is inside is served on
    AdminDoor(const AdminDoor&) = delete;
    AdminDoor& operator=(const AdminDoor&) = delete;

    // Serves a connection. Beyond kMostConnections the one that has sent no request, or has not
    // taken its answer, for the longest time makes room; where all are at commands, the new one
    // gets 503.
    void let_in(Socket socket, Asker asker);

    // Gives up the descriptor that is kept for a client when the process has no other. False where
    // it is given up already: it comes back with the end of a connection.
    bool make_room();

  private:
    struct Connection;
    struct State;
    static boost::asio::awaitable<void> serve(std::shared_ptr<State> state,
                                              std::shared_ptr<Connection> connection);

    std::shared_ptr<State> state_;
};

}  // namespace s3gate::control
