// Accepts the operators that connect to one listening socket and lets them in at a door. It has a
// way out of a lack of descriptors that a worker cannot block: the door's spare ones. Control
// thread only.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>

#include "admin_door.hpp"

namespace s3gate::control {

class AdminAcceptor {
  public:
    // Who is at the other end of an accepted socket; nullopt closes the connection.
    using Recognize = std::function<std::optional<Asker>(int socket)>;

    // The socket stays its owner's, and open for as long as this object exists. It accepts as soon
    // as the loop runs.
    AdminAcceptor(boost::asio::io_context& context, int socket, std::shared_ptr<AdminDoor> door,
                  Recognize recognize);
    // Stops. Open connections are served to their end.
    ~AdminAcceptor();
    AdminAcceptor(const AdminAcceptor&) = delete;
    AdminAcceptor& operator=(const AdminAcceptor&) = delete;

  private:
    struct State;
    static boost::asio::awaitable<void> accept(std::shared_ptr<State> state);

    std::shared_ptr<State> state_;
};

}  // namespace s3gate::control
