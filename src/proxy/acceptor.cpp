#include "acceptor.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "worker.hpp"

namespace s3gate::proxy {
namespace {

constexpr std::size_t kAcceptsPerTurn = 64;

}  // namespace

Acceptor::Acceptor(Worker& worker, std::shared_ptr<Listener> listener)
    : worker_(worker), listener_(std::move(listener)) {}

Acceptor::~Acceptor() {
    close();
    stay();
}

template <class Visit>
void Acceptor::visit_places(Visit visit) const {
    for (std::size_t i = worker_.index; i < listener_->places(); i += listener_->workers()) {
        visit(i);
    }
}

bool Acceptor::open() {
    bool is_done = true;
    if (!std::exchange(is_open_, true)) {
        visit_places([&](std::size_t place) {
            const int socket = listener_->socket(place);
            is_done = is_done && (socket < 0 || worker_.reactor.add(socket, *this));
        });
    }
    return is_done;
}

void Acceptor::use(Generation& generation, const AddressState& address) {
    if (address_ != nullptr && has_lower_bound(*address.leading.site, *address_->leading.site)) {
        bound_fell_in_ = generation.number();
    }
    stay();
    generation_ = &generation;
    address_ = &address;
}

void Acceptor::leave() {
    if (!std::exchange(is_leaving_, true)) {
        worker_.borrow(*generation_);
    }
}

void Acceptor::stay() {
    if (std::exchange(is_leaving_, false)) {
        worker_.give_back(*generation_);
    }
}

void Acceptor::close() {
    // The service manager may hold the sockets too.
    visit_places([&](std::size_t place) {
        if (listener_->socket(place) >= 0) {
            worker_.reactor.remove(listener_->socket(place));
            listener_->close(place);
        }
    });
    worker_.reactor.forget(*this);
    set_lacking(false);
}

void Acceptor::set_lacking(bool lacks_descriptors) {
    if (lacks_descriptors != lacks_descriptors_) {
        lacks_descriptors_ = lacks_descriptors;
        state::bump<std::int64_t>(worker_.counters.paused_listeners, lacks_descriptors ? 1 : -1);
    }
}

void Acceptor::on_events(std::uint32_t) {
    go_on();
}

void Acceptor::on_tick() {
    if (is_pending_) {
        go_on();
    }
}

void Acceptor::go_on() {
    if (closes_when_empty_) {
        close_when_empty();
    } else {
        accept_clients();
    }
}

void Acceptor::close_when_empty() {
    closes_when_empty_ = true;
    do {
        accept_clients();
    } while (is_pending_ && !lacks_descriptors_);
    if (!lacks_descriptors_ || !has_queue()) {
        close();
    }
}

// Without a descriptor accept() does not tell.
bool Acceptor::has_queue() const {
    bool has_any = false;
    visit_places([&](std::size_t place) {
        pollfd queue{listener_->socket(place), POLLIN, 0};  // poll() passes over what is negative
        has_any = has_any || ::poll(&queue, 1, 0) > 0;
    });
    return has_any;
}

bool Acceptor::is_closed() const {
    bool is_any_open = false;
    visit_places(
        [&](std::size_t place) { is_any_open = is_any_open || listener_->socket(place) >= 0; });
    return !is_any_open;
}

void Acceptor::accept_clients() {
    is_pending_ = false;
    // The most urgent step of all sockets.
    Next next = Next::wait;
    visit_places([&](std::size_t place) {
        const int socket = listener_->socket(place);
        if (socket >= 0 && next != Next::pause) {
            next = std::max(next, accept_some(socket));
        }
    });
    set_lacking(next == Next::pause);
    if (next == Next::pause) {
        is_pending_ = true;
        state::bump(worker_.counters.accept_paused);
    } else if (next == Next::go_on) {
        go_on_later();
    }
}

Acceptor::Next Acceptor::accept_some(int socket) {
    Next next = Next::go_on;
    for (std::size_t i = 0; i < kAcceptsPerTurn && next == Next::go_on; ++i) {
        next = accept_one(socket);
    }
    return next;
}

// The loop serves other events first.
void Acceptor::go_on_later() {
    is_pending_ = true;
    worker_.reactor.submit([this] { on_tick(); });
}

Acceptor::Next Acceptor::accept_one(int socket) {
    sockaddr_storage storage;
    socklen_t length = sizeof storage;
    const int client = ::accept4(socket, reinterpret_cast<sockaddr*>(&storage), &length,
                                 SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client < 0) {
        if (errno == EINTR || errno == ECONNABORTED || errno == EPROTO) {
            return Next::go_on;
        }
        // EMFILE, ENFILE, ENOBUFS or ENOMEM. The socket is edge-triggered, so the loop does not
        // spin; the tick tries again.
        return errno == EAGAIN ? Next::wait : Next::pause;
    }
    state::bump(worker_.counters.accepted);
    if (const WorkerHandle* const target = worker_.hand_over_target()) {
        state::bump(worker_.counters.handed_over);
        target->post_client(client, listener_);
        return Next::go_on;
    }
    const auto peer =
        base::SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), length);
    worker_.adopt_client(client, peer.value_or(base::SocketAddress{}), *this);
    return Next::go_on;
}

}  // namespace s3gate::proxy
