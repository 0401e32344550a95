#include "simulated_network.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <utility>

#include "check.hpp"

namespace s3gate::sim {
namespace {

Network* network = nullptr;

std::uint32_t events_of(const Endpoint& socket) {
    if (socket.listening) {
        return socket.accept_queue.empty() ? 0u : EPOLLIN;
    }
    if (socket.connecting) {
        return 0;
    }
    std::uint32_t events = 0;
    const bool gone = socket.reset_in;
    if (socket.unread() || socket.fin_in || gone) {
        events |= EPOLLIN;
    }
    if (socket.fin_in || gone) {
        events |= EPOLLRDHUP;
    }
    if (gone || (socket.fin_in && socket.shut)) {
        events |= EPOLLHUP;
    }
    if (socket.room > 0 || gone || socket.shut) {
        events |= EPOLLOUT;
    }
    return events | (socket.error != 0 ? EPOLLERR : 0u);
}

}  // namespace

Network::Network() {
    SIM_CHECK(network == nullptr);
    network = this;
}

Network::~Network() {
    network = nullptr;
}

Network* Network::current() {
    return network;
}

Endpoint& Network::open(bool listening) {
    Descriptor& made = endpoints_.emplace_back();
    made.endpoint = std::make_unique<Endpoint>();
    made.endpoint->fd = kFirst + static_cast<int>(endpoints_.size()) - 1;
    made.endpoint->listening = listening;
    return *made.endpoint;
}

Network::Descriptor* Network::descriptor(int fd) {
    const auto index = static_cast<std::size_t>(fd - kFirst);
    return fd >= kFirst && index < endpoints_.size() ? &endpoints_[index] : nullptr;
}

Endpoint* Network::find(int fd) {
    Descriptor* found = descriptor(fd);
    return found != nullptr ? found->endpoint.get() : nullptr;
}

std::size_t Network::open_descriptors() const {
    return static_cast<std::size_t>(std::count_if(endpoints_.begin(), endpoints_.end(),
                                                  [](const Descriptor& one) { return one.open; }));
}

void Network::edge(Endpoint& at, std::uint32_t cause) {
    if (at.target != nullptr && !at.edge && (cause == 0 || (at.watched & cause) != 0)) {
        at.edge = true;
        edges_.push_back(at.fd);
    }
}

void Network::connect_client(Endpoint& listener, Endpoint& client) {
    listener.accept_queue.push_back(client.fd);
    edge(listener, EPOLLIN);
}

void Network::deliver(Endpoint& to, std::string_view bytes) {
    if (!bytes.empty() && !to.closed && !to.reset_in && !to.fin_in) {
        to.in.append(bytes);
        edge(to, EPOLLIN);
    }
}

void Network::finish(Endpoint& to) {
    if (!to.closed && !to.reset_in && !to.fin_in) {
        to.fin_in = true;
        edge(to, 0);
    }
}

void Network::reset(Endpoint& to, int error) {
    to.peer_closed = true;
    if (!to.closed && !to.reset_in) {
        to.reset_in = true;
        to.connecting = false;
        to.error = error;
        edge(to, 0);
    }
}

void Network::give_room(Endpoint& to, std::size_t bytes) {
    to.room = bytes > Endpoint::kPlenty - to.room ? Endpoint::kPlenty : to.room + bytes;
    if (to.starved && to.room > 0) {
        to.starved = false;
        edge(to, EPOLLOUT);
    }
}

void Network::end_connect(Endpoint& to, int error) {
    if (!to.connecting) {
        return;
    }
    if (error != 0) {
        reset(to, error);
        return;
    }
    to.connecting = false;
    edge(to, 0);
}

// The wrapped calls on descriptors of the simulation.
struct Calls {
    // A call on a closed descriptor is a bug of the program: with threads the number may already
    // belong to another descriptor.
    static Endpoint& socket(int fd) {
        Network::Descriptor* found = network->descriptor(fd);
        SIM_CHECK(found != nullptr && found->open && found->endpoint != nullptr);
        return *found->endpoint;
    }
    static bool is_ours(int fd) { return network != nullptr && fd >= Network::kFirst; }

    static int fail(int error) {
        errno = error;
        return -1;
    }

    // Available bytes; -1 with errno; 0 at the end.
    static ssize_t look(Endpoint& at, std::size_t wanted) {
        if (at.unread()) {
            return static_cast<ssize_t>(std::min(wanted, at.in.size() - at.in_taken));
        }
        if (at.error != 0) {
            return fail(std::exchange(at.error, 0));
        }
        return at.fin_in || at.reset_in ? 0 : fail(EAGAIN);
    }

    static ssize_t receive(int fd, void* buffer, std::size_t size, int flags) {
        Endpoint& at = socket(fd);
        const ssize_t got = look(at, size);
        if (got > 0) {
            if ((flags & MSG_TRUNC) == 0) {
                std::memcpy(buffer, at.in.data() + at.in_taken, static_cast<std::size_t>(got));
            }
            if ((flags & MSG_PEEK) == 0) {
                at.in_taken += static_cast<std::size_t>(got);
            }
        }
        return got;
    }

    static ssize_t receive(int fd, const msghdr& message) {
        ssize_t total = 0;
        for (std::size_t i = 0; i < message.msg_iovlen; ++i) {
            const iovec& piece = message.msg_iov[i];
            if (total > 0 && !socket(fd).unread()) {
                break;
            }
            const ssize_t got = receive(fd, piece.iov_base, piece.iov_len, 0);
            if (got <= 0) {
                return got;
            }
            total += got;
        }
        return total;
    }

    // Room for a send of `wanted` bytes, or -1 with errno.
    static ssize_t room(Endpoint& at, std::size_t wanted) {
        if (network->before_output) {
            network->before_output(at);
        }
        if (at.error != 0) {
            return fail(std::exchange(at.error, 0));
        }
        if (at.reset_in || at.shut) {
            return fail(EPIPE);
        }
        if (at.connecting || at.room == 0) {
            at.starved = true;
            return fail(EAGAIN);
        }
        return static_cast<ssize_t>(std::min(wanted, at.room));
    }

    static void put(Endpoint& at, std::string_view bytes) {
        at.out.append(bytes);
        if (at.room != Endpoint::kPlenty) {
            at.room -= bytes.size();
        }
        network->on_output(at);
        if (at.peer_closed) {
            network->reset(at, ECONNRESET);
        }
    }

    static ssize_t send(int fd, const msghdr& message) {
        Endpoint& at = socket(fd);
        std::size_t total = 0;
        for (std::size_t i = 0; i < message.msg_iovlen; ++i) {
            total += message.msg_iov[i].iov_len;
        }
        SIM_CHECK(total > 0 && message.msg_iovlen <= 1024);
        const ssize_t fits = room(at, total);
        std::string bytes;
        for (std::size_t i = 0; fits > 0 && i < message.msg_iovlen; ++i) {
            const std::size_t left = static_cast<std::size_t>(fits) - bytes.size();
            const iovec& piece = message.msg_iov[i];
            bytes.append(static_cast<const char*>(piece.iov_base), std::min(left, piece.iov_len));
        }
        if (fits > 0) {
            put(at, bytes);
        }
        return fits;
    }

    static ssize_t splice(int from, int to, std::size_t size) {
        Network::Descriptor* source = network->descriptor(from);
        Network::Descriptor* sink = network->descriptor(to);
        SIM_CHECK(source != nullptr && sink != nullptr && source->open && sink->open);
        if (source->endpoint != nullptr) {
            Network::Tube& tube = *sink->tube;
            // The program fills its pipes only when they are empty.
            SIM_CHECK(tube.taken == tube.bytes.size());
            const ssize_t got = look(*source->endpoint, std::min(size, network->pipe_capacity));
            if (got > 0) {
                tube.bytes.assign(source->endpoint->in, source->endpoint->in_taken,
                                  static_cast<std::size_t>(got));
                tube.taken = 0;
                source->endpoint->in_taken += static_cast<std::size_t>(got);
            }
            return got;
        }
        Network::Tube& tube = *source->tube;
        const std::size_t held = tube.bytes.size() - tube.taken;
        SIM_CHECK(held > 0);
        const ssize_t fits = room(*sink->endpoint, std::min(size, held));
        if (fits > 0) {
            put(*sink->endpoint,
                std::string_view(tube.bytes).substr(tube.taken, static_cast<std::size_t>(fits)));
            tube.taken += static_cast<std::size_t>(fits);
        }
        return fits;
    }

    static int close(int fd) {
        Network::Descriptor* found = network->descriptor(fd);
        SIM_CHECK(found != nullptr && found->open);
        found->open = false;
        if (found->endpoint != nullptr) {
            Endpoint& at = *found->endpoint;
            at.closed = true;
            at.target = nullptr;
            (at.hard_close || at.unread() ? at.reset_out : at.fin_out) = true;
            for (const int waiting : at.accept_queue) {
                network->find(waiting)->reset_out = true;
                network->descriptor(waiting)->open = false;
            }
        }
        return 0;
    }

    static int new_socket() {
        if (network->sockets_fail) {
            return fail(EMFILE);
        }
        return network->open(false).fd;
    }

    static int connect(int fd, const sockaddr* address, socklen_t length) {
        Endpoint& at = socket(fd);
        std::memcpy(&at.peer, address, length);
        const int result = network->on_connect(at);
        at.connecting = result == EINPROGRESS;
        return result == 0 ? 0 : fail(result);
    }

    static int accept(int fd, sockaddr* address, socklen_t* length) {
        Endpoint& at = socket(fd);
        if (network->accepts_fail) {
            return fail(EMFILE);  // the kernel takes the descriptor before it looks at the queue
        }
        if (at.accept_queue.empty()) {
            return fail(EAGAIN);
        }
        const int client = at.accept_queue.front();
        at.accept_queue.pop_front();
        *length = sizeof(sockaddr_in);
        std::memcpy(address, &network->find(client)->peer, sizeof(sockaddr_in));
        return client;
    }

    // Without a wait.
    static int poll(pollfd& watched) {
        const auto events = static_cast<short>(events_of(socket(watched.fd)));
        watched.revents = static_cast<short>(events & watched.events);
        return watched.revents == 0 ? 0 : 1;
    }

    static int make_pipe(int ends[2]) {
        const auto tube = std::make_shared<Network::Tube>();
        for (int end = 0; end < 2; ++end) {
            Network::Descriptor& made = network->endpoints_.emplace_back();
            made.tube = tube;
            made.end = end;
            ends[end] = Network::kFirst + static_cast<int>(network->endpoints_.size()) - 1;
        }
        return 0;
    }

    static int watch(int set, int operation, int fd, const epoll_event& event) {
        Endpoint& at = socket(fd);
        SIM_CHECK(operation == EPOLL_CTL_ADD || operation == EPOLL_CTL_MOD);
        SIM_CHECK((operation == EPOLL_CTL_ADD) == (at.target == nullptr));
        SIM_CHECK(network->set_ < 0 || network->set_ == set);
        network->set_ = set;
        at.target = event.data.ptr;
        at.watched = event.events;
        if (watched_events_of(at) != 0) {
            network->edge(at, 0);
        }
        return 0;
    }
    static int unwatch(int fd) {
        socket(fd).target = nullptr;
        return 0;
    }
    static std::uint32_t watched_events_of(const Endpoint& at) {
        return events_of(at) & (at.watched | EPOLLERR | EPOLLHUP);
    }

    static bool is_watched(int set) { return network->set_ == set; }

    static int wait(epoll_event* events, int room) {
        int count = 0;
        while (count < room && !network->edges_.empty()) {
            Endpoint& at = *network->find(network->edges_.front());
            network->edges_.pop_front();
            at.edge = false;
            if (at.target == nullptr) {
                continue;
            }
            if ((events_of(at) & EPOLLOUT) == 0) {
                at.starved = true;
            }
            const std::uint32_t mask = watched_events_of(at);
            if (mask != 0) {
                events[count].events = mask;
                events[count].data.ptr = at.target;
                ++count;
            }
        }
        return count;
    }
};

}  // namespace s3gate::sim

using s3gate::sim::Calls;
using s3gate::sim::Network;
using s3gate::sim::network;

extern "C" {

long __real_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f) {
    const int fd = static_cast<int>(a);
    if (number == SYS_recvfrom && Calls::is_ours(fd)) {
        return Calls::receive(fd, reinterpret_cast<void*>(b), static_cast<std::size_t>(c),
                              static_cast<int>(d));
    }
    if (number == SYS_recvmsg && Calls::is_ours(fd)) {
        return Calls::receive(fd, *reinterpret_cast<const msghdr*>(b));
    }
    if (number == SYS_sendto && Calls::is_ours(fd)) {
        iovec piece{reinterpret_cast<void*>(b), static_cast<std::size_t>(c)};
        msghdr message{};
        message.msg_iov = &piece;
        message.msg_iovlen = 1;
        return Calls::send(fd, message);
    }
    if (number == SYS_sendmsg && Calls::is_ours(fd)) {
        return Calls::send(fd, *reinterpret_cast<const msghdr*>(b));
    }
    return __real_syscall(number, a, b, c, d, e, f);
}

ssize_t __real_recv(int fd, void* buffer, std::size_t size, int flags);
ssize_t __wrap_recv(int fd, void* buffer, std::size_t size, int flags) {
    return Calls::is_ours(fd) ? Calls::receive(fd, buffer, size, flags)
                              : __real_recv(fd, buffer, size, flags);
}
ssize_t __wrap___recv_chk(int fd, void* buffer, std::size_t size, std::size_t, int flags) {
    return __wrap_recv(fd, buffer, size, flags);
}

ssize_t __real_recvmsg(int fd, msghdr* message, int flags);
ssize_t __wrap_recvmsg(int fd, msghdr* message, int flags) {
    return Calls::is_ours(fd) ? Calls::receive(fd, *message) : __real_recvmsg(fd, message, flags);
}

ssize_t __real_splice(int from, off64_t* from_at, int to, off64_t* to_at, std::size_t size,
                      unsigned flags);
ssize_t __wrap_splice(int from, off64_t* from_at, int to, off64_t* to_at, std::size_t size,
                      unsigned flags) {
    return Calls::is_ours(from) ? Calls::splice(from, to, size)
                                : __real_splice(from, from_at, to, to_at, size, flags);
}

int __real_shutdown(int fd, int how);
int __wrap_shutdown(int fd, int how) {
    if (!Calls::is_ours(fd)) {
        return __real_shutdown(fd, how);
    }
    auto& at = Calls::socket(fd);
    if (at.reset_in) {
        return Calls::fail(ENOTCONN);
    }
    at.shut = at.fin_out = true;
    return 0;
}

int __real_close(int fd);
int __wrap_close(int fd) {
    return Calls::is_ours(fd) ? Calls::close(fd) : __real_close(fd);
}

int __real_setsockopt(int fd, int level, int name, const void* value, socklen_t size);
int __wrap_setsockopt(int fd, int level, int name, const void* value, socklen_t size) {
    if (!Calls::is_ours(fd)) {
        return __real_setsockopt(fd, level, name, value, size);
    }
    auto& at = Calls::socket(fd);
    if (level == SOL_SOCKET && name == SO_LINGER) {
        const auto& how = *static_cast<const linger*>(value);
        at.hard_close = how.l_onoff != 0 && how.l_linger == 0;
    }
    return 0;
}

int __real_getsockopt(int fd, int level, int name, void* value, socklen_t* size);
int __wrap_getsockopt(int fd, int level, int name, void* value, socklen_t* size) {
    if (!Calls::is_ours(fd)) {
        return __real_getsockopt(fd, level, name, value, size);
    }
    auto& at = Calls::socket(fd);
    std::memset(value, 0, *size);
    if (level == SOL_SOCKET && name == SO_ERROR) {
        *static_cast<int*>(value) = std::exchange(at.error, 0);
    }
    return 0;  // TCP_INFO: acknowledged just now
}

int __real_getsockname(int fd, sockaddr* address, socklen_t* size);
int __wrap_getsockname(int fd, sockaddr* address, socklen_t* size) {
    if (!Calls::is_ours(fd)) {
        return __real_getsockname(fd, address, size);
    }
    *size = sizeof(sockaddr_in);
    std::memcpy(address, &Calls::socket(fd).local, *size);
    return 0;
}

int __real_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol) {
    return network != nullptr ? Calls::new_socket() : __real_socket(family, type, protocol);
}

int __real_connect(int fd, const sockaddr* address, socklen_t size);
int __wrap_connect(int fd, const sockaddr* address, socklen_t size) {
    return Calls::is_ours(fd) ? Calls::connect(fd, address, size)
                              : __real_connect(fd, address, size);
}

int __real_accept4(int fd, sockaddr* address, socklen_t* size, int flags);
int __wrap_accept4(int fd, sockaddr* address, socklen_t* size, int flags) {
    return Calls::is_ours(fd) ? Calls::accept(fd, address, size)
                              : __real_accept4(fd, address, size, flags);
}

int __real_poll(pollfd* watched, nfds_t count, int timeout_ms);
int __wrap_poll(pollfd* watched, nfds_t count, int timeout_ms) {
    return count == 1 && Calls::is_ours(watched->fd) ? Calls::poll(*watched)
                                                     : __real_poll(watched, count, timeout_ms);
}

int __real_pipe2(int ends[2], int flags);
int __wrap_pipe2(int ends[2], int flags) {
    return network != nullptr ? Calls::make_pipe(ends) : __real_pipe2(ends, flags);
}

int __real_fcntl(int fd, int command, long argument);
int __wrap_fcntl(int fd, int command, long argument) {
    if (!Calls::is_ours(fd)) {
        return __real_fcntl(fd, command, argument);
    }
    return command == F_SETPIPE_SZ || command == F_GETPIPE_SZ
               ? static_cast<int>(network->pipe_capacity)
               : 0;
}
int __wrap_fcntl64(int fd, int command, long argument) {
    return __wrap_fcntl(fd, command, argument);
}

int __real_epoll_ctl(int set, int operation, int fd, epoll_event* event);
int __wrap_epoll_ctl(int set, int operation, int fd, epoll_event* event) {
    if (!Calls::is_ours(fd)) {
        return __real_epoll_ctl(set, operation, fd, event);
    }
    return operation == EPOLL_CTL_DEL ? Calls::unwatch(fd)
                                      : Calls::watch(set, operation, fd, *event);
}

int __real_epoll_wait(int set, epoll_event* events, int room, int timeout);
int __wrap_epoll_wait(int set, epoll_event* events, int room, int timeout) {
    // An epoll set without a descriptor of the simulation belongs to the kernel.
    return network != nullptr && Calls::is_watched(set)
               ? Calls::wait(events, room)
               : __real_epoll_wait(set, events, room, timeout);
}

// std::chrono::steady_clock::now(): a time point is a 64-bit number of nanoseconds.
std::int64_t __real__ZNSt6chrono3_V212steady_clock3nowEv() noexcept;
std::int64_t __wrap__ZNSt6chrono3_V212steady_clock3nowEv() noexcept {
    return network != nullptr ? network->now.time_since_epoch().count()
                              : __real__ZNSt6chrono3_V212steady_clock3nowEv();
}

}  // extern "C"
