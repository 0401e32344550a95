#include "admin_acceptor.hpp"

#include <sys/socket.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/error_code.hpp>
#include <cerrno>
#include <chrono>
#include <utility>

namespace s3gate::control {

namespace asio = boost::asio;
using asio::generic::stream_protocol;
using boost::system::error_code;

namespace {

using Acceptor = asio::basic_socket_acceptor<stream_protocol>;
constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
// Pause in accepting while the process has no descriptor left; other connections may end meanwhile.
constexpr std::chrono::milliseconds kPause{100};

bool lacks_descriptors(const error_code& error) {
    return error == asio::error::no_descriptors || error.value() == ENFILE ||
           error == asio::error::no_memory || error == asio::error::no_buffer_space;
}

stream_protocol protocol_of(int socket) {
    int family = AF_UNSPEC;
    socklen_t length = sizeof family;
    ::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &family, &length);
    return {family, 0};
}

}  // namespace

struct AdminAcceptor::State {
    State(asio::io_context& context, int socket, std::shared_ptr<AdminDoor> door_,
          Recognize recognize_)
        : acceptor(context, protocol_of(socket), socket),
          pause(context),
          door(std::move(door_)),
          recognize(std::move(recognize_)) {}

    Acceptor acceptor;
    asio::steady_timer pause;
    std::shared_ptr<AdminDoor> door;
    Recognize recognize;
};

AdminAcceptor::AdminAcceptor(asio::io_context& context, int socket, std::shared_ptr<AdminDoor> door,
                             Recognize recognize)
    : state_(std::make_shared<State>(context, socket, std::move(door), std::move(recognize))) {
    asio::co_spawn(context, accept(state_), asio::detached);
}

// release() takes the socket out of the loop's epoll(7). A close does not where another process has
// a copy of the socket, as a successor does.
AdminAcceptor::~AdminAcceptor() {
    error_code ignored;
    state_->acceptor.release(ignored);
    state_->pause.cancel();
}

asio::awaitable<void> AdminAcceptor::accept(std::shared_ptr<State> state) {
    while (state->acceptor.is_open()) {
        // accept() fails for want of a descriptor also where nobody waits. A spare that is closed
        // before a client is there would go to a worker.
        co_await state->acceptor.async_wait(Acceptor::wait_read, kTuple);
        auto [error, socket] = co_await state->acceptor.async_accept(kTuple);
        if (!error) {
            if (std::optional<Asker> asker = state->recognize(socket.native_handle())) {
                state->door->let_in(std::move(socket), *std::move(asker));
            }
        } else if (lacks_descriptors(error) && !state->door->make_room()) {
            state->pause.expires_after(kPause);
            co_await state->pause.async_wait(kTuple);
        }
    }
}

}  // namespace s3gate::control
