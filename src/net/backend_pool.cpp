#include "s3gate/net/backend_pool.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "socket_options.hpp"

namespace s3gate::net {
namespace {

// docs/architecture.md, "Retry": a node that lost power must not hold clients for minutes.
void set_backend_options(int fd) {
    set_stream_options(fd, {.idle = 5, .interval = 2, .count = 3});
    set_user_timeout(fd, kBackendUserTimeout);
}

}  // namespace

void set_user_timeout(int descriptor, base::Duration limit) {
    set_option(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(limit.count()));
}

void BackendConnection::on_stream_event() {
    pool_.remove(*this);
}

BackendPool::~BackendPool() {
    drop_all();
}

inline bool BackendPool::is_fresh(const BackendConnection& connection,
                                  std::uint64_t within_ms) const {
    return within_ms == 0 || reactor_.now_ms() - connection.last_used_ms <= within_ms;
}

// Null if the connection is not silent; it is closed then.
inline BackendLease BackendPool::take_last(Parked& parked, bool is_for_write) {
    BackendLease lease = std::move(parked.back());
    parked.pop_back();
    --parked_;
    lease->stream.disarm_idle();
    lease->stream.set_observer(nullptr);
    // A write cannot be repeated if the backend was closing. So the socket is asked as well: the
    // event may be on its way.
    if (is_for_write ? lease->stream.is_quiet_now() : lease->stream.is_silent()) {
        return lease;
    }
    note_unasked(*lease);
    return nullptr;
}

BackendLease BackendPool::take(std::uint32_t slot, std::uint64_t fresh_within_ms) {
    if (slot >= parked_by_slot_.size()) {
        return nullptr;
    }
    Parked& parked = parked_by_slot_[slot];
    // If the latest is too old, the others are even older.
    while (!parked.empty() && is_fresh(*parked.back(), fresh_within_ms)) {
        if (BackendLease lease = take_last(parked, fresh_within_ms > 0)) {
            return lease;
        }
    }
    return nullptr;
}

BackendLease BackendPool::take_own(std::uint32_t slot, std::uint64_t fresh_within_ms,
                                   std::string_view preamble) {
    if (slot >= own_by_slot_.size()) {
        return nullptr;
    }
    Parked& parked = own_by_slot_[slot];
    for (;;) {
        const auto latest =
            std::find_if(parked.rbegin(), parked.rend(), [&](const BackendLease& lease) {
                return lease->preamble == preamble && is_fresh(*lease, fresh_within_ms);
            });
        if (latest == parked.rend()) {
            return nullptr;
        }
        std::rotate(parked.rbegin(), latest, std::next(latest));
        if (BackendLease lease = take_last(parked, fresh_within_ms > 0)) {
            return lease;
        }
    }
}

BackendPool::Parked& BackendPool::place_of(const BackendConnection& connection) {
    std::vector<Parked>& by_slot = connection.preamble.empty() ? parked_by_slot_ : own_by_slot_;
    if (connection.slot() >= by_slot.size()) {
        by_slot.resize(connection.slot() + 1);
    }
    return by_slot[connection.slot()];
}

void BackendPool::park(BackendLease connection, std::size_t limit, Tick idle_timeout) {
    if (limit == 0) {
        return;
    }
    if (!connection->stream.settle()) {
        note_unasked(*connection);
        return;
    }
    Parked& parked = place_of(*connection);
    if (parked.size() >= limit || (parked_ >= total_limit_ && !parked.empty())) {
        parked.erase(parked.begin());
        --parked_;
    } else if (parked_ >= total_limit_) {
        return;
    }
    connection->last_used_ms = reactor_.now_ms();
    connection->stream.set_observer(connection.get());
    connection->stream.arm_idle(idle_timeout);
    parked.push_back(std::move(connection));
    ++parked_;
}

void BackendPool::drop(std::uint32_t slot) {
    for (std::vector<Parked>* const by_slot : {&parked_by_slot_, &own_by_slot_}) {
        if (slot < by_slot->size()) {
            parked_ -= (*by_slot)[slot].size();
            (*by_slot)[slot].clear();
        }
    }
}

void BackendPool::drop_all() {
    parked_by_slot_.clear();
    own_by_slot_.clear();
    parked_ = 0;
}

void BackendPool::remove(BackendConnection& connection) {
    Parked& parked = place_of(connection);
    const auto found = std::find_if(parked.begin(), parked.end(), [&](const BackendLease& lease) {
        return lease.get() == &connection;
    });
    if (found != parked.end()) {
        note_unasked(connection);
        parked.erase(found);
        --parked_;
    }
}

void BackendPool::note_unasked(BackendConnection& connection) {
    unasked_ += connection.stream.has_unread() ? 1 : 0;
}

namespace {

ConnectEnd end_of_failed_connect(int error) {
    if (error == ETIMEDOUT) {
        return ConnectEnd::timed_out;
    }
    return is_network_error(error) ? ConnectEnd::unreachable : ConnectEnd::refused;
}

}  // namespace

task<ConnectEnd> connect_backend(BackendConnection& connection, const base::SocketAddress& address,
                                 Tick timeout) {
    sockaddr_storage storage;
    const socklen_t length = address.to_sockaddr(storage);
    const int fd = ::socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        co_return ConnectEnd::no_descriptor;
    }
    set_backend_options(fd);
    const int result = ::connect(fd, reinterpret_cast<const sockaddr*>(&storage), length);
    if (result != 0 && errno != EINPROGRESS) {
        // A lack of ports or memory on our side says nothing about the backend.
        const bool is_ours =
            errno == EAGAIN || errno == EADDRNOTAVAIL || errno == ENOBUFS || errno == ENOMEM;
        const ConnectEnd failed = end_of_failed_connect(errno);
        ::close(fd);
        co_return is_ours ? ConnectEnd::no_descriptor : failed;
    }
    // Registered only now: an unconnected socket would report a hang-up.
    if (!connection.stream.open(fd)) {
        co_return ConnectEnd::no_descriptor;
    }
    if (result != 0) {
        const Wake wake = co_await connection.stream.connected(timeout);
        if (wake == Wake::timed_out) {
            connection.stream.close();
            co_return ConnectEnd::timed_out;
        }
        if (!connection.stream.is_open() || wake == Wake::interrupted) {
            co_return ConnectEnd::interrupted;
        }
        int error = 0;
        socklen_t size = sizeof error;
        if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) {
            connection.stream.close();
            co_return end_of_failed_connect(error);
        }
    }
    co_return ConnectEnd::connected;
}

}  // namespace s3gate::net
