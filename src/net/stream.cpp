#include "s3gate/net/stream.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace s3gate::net {
namespace {

constexpr std::uint32_t kAllEvents = EPOLLIN | EPOLLOUT | EPOLLRDHUP;
// Two changes of the epoll set cost less than this many rounds without work.
constexpr std::uint8_t kMostIdleReports = 3;

// The C library's wrappers are cancellation points and cost two atomic operations per call in a
// process with threads (4 % of the user time at 1 KiB). No thread here is cancelled, so the system
// calls are made directly.
ssize_t plain_recv(int fd, void* buffer, std::size_t size) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return ::recv(fd, buffer, size, 0);  // lets the sanitizer see the write
#else
    return ::syscall(SYS_recvfrom, fd, buffer, size, 0, nullptr, nullptr);
#endif
}

ssize_t plain_recvmsg(int fd, msghdr* message) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return ::recvmsg(fd, message, 0);
#else
    return ::syscall(SYS_recvmsg, fd, message, 0);
#endif
}

ssize_t plain_send(int fd, const void* bytes, std::size_t size, int flags) {
    return ::syscall(SYS_sendto, fd, bytes, size, flags, nullptr, nullptr);
}

ssize_t plain_sendmsg(int fd, const msghdr* message, int flags) {
    return ::syscall(SYS_sendmsg, fd, message, flags);
}

// Pieces of at most this many bytes in total are copied into one. That costs less than the kernel's
// handling of a list of pieces (docs/bench-notes.md). A head with a small body fits.
constexpr std::size_t kGatherUpTo = 4096;

// Copies the pieces one after the other and returns their length; 0 without a copy if there is
// nothing to copy or it does not fit.
std::size_t gather(const iovec* pieces, std::size_t count, char (&out)[kGatherUpTo]) {
    std::size_t size = 0;
    for (std::size_t i = 0; i < count; ++i) {
        if (pieces[i].iov_len > kGatherUpTo - size) {
            return 0;
        }
        size += pieces[i].iov_len;
    }
    char* at = out;
    for (std::size_t i = 0; i < count; ++i) {
        at = std::copy_n(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len, at);
    }
    return size;
}

}  // namespace

bool is_network_error(int error) {
    return error == ETIMEDOUT || error == EHOSTUNREACH || error == ENETUNREACH ||
           error == EHOSTDOWN || error == ENETDOWN;
}

bool Stream::open(int descriptor) {
    fd_ = descriptor;
    readable_ = peer_finished_ = broken_ = false;
    writable_ = true;
    idle_reports_ = 0;
    watched_ = kAllEvents;
    if (!reactor_.add(fd_, *this)) {
        const int error = errno;
        ::close(fd_);
        fd_ = -1;
        errno = error;
        return false;
    }
    return true;
}

bool Stream::after_receive(ssize_t moved, std::size_t wanted, bool short_means_drained) {
    if (moved < 0) {
        if (errno == EAGAIN && !broken_) {
            note_drained();
            errno = EAGAIN;
        } else if (errno != EINTR) {
            // Broken and drained: no more bytes will come.
            errno = errno == EAGAIN ? ECONNRESET : errno;
            broken_ = true;
        }
        return false;
    }
    // A short read has drained the socket. After a FIN the end must still be read.
    if (short_means_drained && static_cast<std::size_t>(moved) < wanted && !peer_finished_) {
        note_drained();
    }
    return true;
}

void Stream::note_drained() {
    readable_ = false;
    idle_reports_ = 0;
    if ((watched_ & EPOLLIN) == 0) {
        watch(watched_ | EPOLLIN);  // reports at once what has arrived meanwhile
    }
}

void Stream::watch(std::uint32_t events) {
    watched_ = events;
    if (!reactor_.watch(fd_, *this, events)) {
        readable_ = broken_ = true;  // the stream would never get an event again
    }
}

ssize_t Stream::end_of_stream() {
    // The kernel reports a reset once and an end afterwards. An end after a reset is no clean end:
    // a body that lasts until the connection closes would seem complete.
    if (broken_) {
        errno = ECONNRESET;
        return -1;
    }
    peer_finished_ = true;
    return 0;  // stays readable: every later read returns the end again
}

ssize_t Stream::receive(void* buffer, std::size_t size) {
    if (!is_readable()) {
        errno = EAGAIN;
        return -1;
    }
    const ssize_t moved = plain_recv(fd_, buffer, size);
    if (moved == 0) {
        return end_of_stream();
    }
    after_receive(moved, size, true);
    return moved;
}

ssize_t Stream::receive(iovec* pieces, std::size_t count) {
    if (!is_readable()) {
        errno = EAGAIN;
        return -1;
    }
    std::size_t room = 0;
    for (std::size_t i = 0; i < count; ++i) {
        room += pieces[i].iov_len;
    }
    msghdr message{};
    message.msg_iov = pieces;
    message.msg_iovlen = count;
    const ssize_t moved = plain_recvmsg(fd_, &message);
    if (moved == 0) {
        return end_of_stream();
    }
    after_receive(moved, room, true);
    return moved;
}

ssize_t Stream::peek(void* buffer, std::size_t size) {
    if (!is_readable()) {
        errno = EAGAIN;
        return -1;
    }
    const ssize_t moved = ::recv(fd_, buffer, size, MSG_PEEK);
    if (moved == 0) {
        return end_of_stream();
    }
    after_receive(moved, size, false);
    return moved;
}

ssize_t Stream::discard(std::size_t size) {
    if (!is_readable()) {
        errno = EAGAIN;
        return -1;
    }
    // MSG_TRUNC on a stream copies nothing (tcp(7)). Called directly: sanitizers would take the
    // null pointer for a buffer.
    const ssize_t moved = ::syscall(SYS_recvfrom, fd_, nullptr, size, MSG_TRUNC, nullptr, nullptr);
    if (moved == 0) {
        return end_of_stream();
    }
    after_receive(moved, size, true);
    return moved;
}

ssize_t Stream::send(const iovec* pieces, std::size_t count, bool more) {
    if (!writable_) {
        errno = broken_ ? EPIPE : EAGAIN;
        return -1;
    }
    const int flags = MSG_NOSIGNAL | (more ? MSG_MORE : 0);
    ssize_t moved = 0;
    char gathered[kGatherUpTo];
    if (count == 1) {
        moved = plain_send(fd_, pieces->iov_base, pieces->iov_len, flags);
    } else if (const std::size_t size = gather(pieces, count, gathered); size > 0) {
        moved = plain_send(fd_, gathered, size, flags);
    } else {
        msghdr message{};
        message.msg_iov = const_cast<iovec*>(pieces);
        message.msg_iovlen = count;
        moved = plain_sendmsg(fd_, &message, flags);
    }
    after_send(moved);
    return moved;
}

void Stream::after_send(ssize_t moved) {
    if (moved >= 0 || errno == EINTR) {
        return;
    }
    writable_ = false;
    if (errno != EAGAIN) {
        broken_ = true;  // bytes are missing, so no later send may succeed
        return;
    }
    if ((watched_ & EPOLLOUT) == 0) {
        watch(watched_ | EPOLLOUT);
        errno = EAGAIN;
    }
}

ssize_t Stream::splice_to_pipe(int pipe, std::size_t size) {
    if (!is_readable()) {
        errno = EAGAIN;
        return -1;
    }
    const ssize_t moved =
        ::splice(fd_, nullptr, pipe, nullptr, size, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (moved == 0) {
        return end_of_stream();
    }
    // A pipe is limited in segments, not in bytes: a short splice does not prove that the socket is
    // drained.
    after_receive(moved, size, false);
    return moved;
}

ssize_t Stream::splice_from_pipe(int pipe, std::size_t size, bool more) {
    if (!writable_) {
        errno = broken_ ? EPIPE : EAGAIN;
        return -1;
    }
    const ssize_t moved = ::splice(pipe, nullptr, fd_, nullptr, size,
                                   SPLICE_F_NONBLOCK | SPLICE_F_MOVE | (more ? SPLICE_F_MORE : 0));
    after_send(moved);
    return moved;
}

bool Stream::settle() {
    char byte;
    if (readable_ && !broken_ && !peer_finished_ &&
        ::recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN) {
        note_drained();
    }
    return is_silent();
}

bool Stream::is_quiet_now() {
    char byte;
    return is_silent() && ::recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

bool Stream::has_unread() {
    char byte;
    return fd_ >= 0 && ::recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void Stream::flush() {
    // Setting TCP_NODELAY again, although it is set, sends pending bytes (tcp(7)).
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void Stream::shutdown_write() {
    if (fd_ >= 0) {
        ::shutdown(fd_, SHUT_WR);
    }
}

void Stream::close() {
    if (fd_ < 0) {
        return;
    }
    reactor_.forget(*this);
    // A process that an upgrade starts holds a copy until its program runs. As long as there is
    // one, the close alone would leave the registration, and its events would reach whatever has
    // this object's place by then.
    reactor_.remove(fd_);
    ::close(fd_);
    fd_ = -1;
    readable_ = false;
    broken_ = true;
    Reactor::disarm(read_side_);
    Reactor::disarm(write_side_);
    wake_later(read_side_, Wake::interrupted);
    wake_later(write_side_, Wake::interrupted);
}

void Stream::close_with_reset() {
    if (fd_ >= 0) {
        const linger hard{1, 0};
        ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        close();
    }
}

void Stream::interrupt_read() {
    wake_later(read_side_, Wake::interrupted);
}
void Stream::interrupt_write() {
    wake_later(write_side_, Wake::interrupted);
}

void Stream::arm_idle(Tick timeout) {
    reactor_.arm(read_side_, timeout);
}
void Stream::disarm_idle() {
    Reactor::disarm(read_side_);
}

void Stream::resume(Side& side, Wake wake) {
    Reactor::disarm(side);
    side.wake = wake;
    std::exchange(side.waiter, nullptr).resume();
}

void Stream::wake_later(Side& side, Wake wake) {
    if (side.waiter) {
        Reactor::disarm(side);
        side.wake = wake;
        reactor_.post(std::exchange(side.waiter, nullptr));
    }
}

void Stream::on_side_deadline(Side& side) {
    if (side.waiter) {
        side.wake = Wake::timed_out;
        reactor_.post(std::exchange(side.waiter, nullptr));
    } else if (observer_ != nullptr) {
        observer_->on_stream_event();
    }
}

void Stream::on_events(std::uint32_t events) {
    if (readable_ && !read_side_.waiter && (events & ~(EPOLLIN | EPOLLOUT)) == 0 &&
        (events & EPOLLIN) != 0 && ++idle_reports_ >= kMostIdleReports) {
        // While there is room to send, EPOLLOUT is left out too: every change would report it.
        const std::uint32_t room = writable_ ? EPOLLOUT : 0U;
        watch(watched_ & ~(EPOLLIN | room));
    }
    if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
        // Bytes that arrived before a reset can still be read, so both sides try.
        broken_ = (events & EPOLLERR) != 0 || broken_;
        readable_ = writable_ = true;
        peer_finished_ = peer_finished_ || (events & EPOLLHUP) != 0;
    }
    if ((events & EPOLLRDHUP) != 0) {
        peer_finished_ = true;
        readable_ = true;
    }
    const bool news = (events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP)) != 0;
    if ((events & EPOLLIN) != 0) {
        readable_ = true;
    }
    if ((events & EPOLLOUT) != 0) {
        writable_ = true;
    }
    // If both sides wait, both are resumed through the queue: the first one may destroy the object
    // of the second.
    const bool wake_read = news && read_side_.waiter;
    const bool wake_write = writable_ && write_side_.waiter;
    if (wake_read && wake_write) {
        wake_later(read_side_, Wake::ready);
        wake_later(write_side_, Wake::ready);
    } else if (wake_read) {
        resume(read_side_, Wake::ready);
    } else if (wake_write && news && observer_ != nullptr) {
        // Wakes the writer for the room, and tells the observer of input without a reader, because
        // an end is reported once. The observer runs before the writer, which may destroy this
        // object.
        wake_later(write_side_, Wake::ready);
        observer_->on_stream_event();
    } else if (wake_write) {
        resume(write_side_, Wake::ready);
    } else if (news && observer_ != nullptr) {
        observer_->on_stream_event();
    }
}

}  // namespace s3gate::net
