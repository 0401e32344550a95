// One connected TCP socket on one worker. Operations are non-blocking and tried directly;
// edge-triggered events set readiness flags; at most one coroutine waits per side, with a deadline.
// A connection object owns the Stream. Its coroutines must have ended, or been woken by abort(),
// before it is destroyed.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <coroutine>
#include <cstddef>
#include <cstdint>

#include "s3gate/net/reactor.hpp"

namespace s3gate::net {

// Why a wait ended.
enum class Wake : std::uint8_t {
    ready,        // the operation can be tried again
    timed_out,    // the deadline passed without an event
    interrupted,  // interrupt_read() or interrupt_write() was called
};

// True for the errors of a connection that mean that the other end does not answer, or that there
// is no way to it. The other end itself said nothing.
bool is_network_error(int error);

// Receives events for which no coroutine waits.
class StreamObserver {
  public:
    // Data or an end arrived without a reader, or the peer reset the connection. The observer may
    // close or destroy the stream.
    virtual void on_stream_event() = 0;

  protected:
    ~StreamObserver() = default;
};

class Stream final : public EventTarget {
  public:
    explicit Stream(Reactor& reactor) : reactor_(reactor), read_side_(*this), write_side_(*this) {}
    ~Stream() { close(); }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    // Takes over a non-blocking descriptor. False if it could not be registered; the descriptor is
    // closed then.
    bool open(int descriptor);
    bool is_open() const { return fd_ >= 0; }
    int descriptor() const { return fd_; }
    Reactor& reactor() { return reactor_; }

    // The operations return the bytes moved, 0 at the end of the stream (receive only), or -1 with
    // errno. If the flags already tell, EAGAIN costs no system call.
    ssize_t receive(void* buffer, std::size_t size);
    // receive() into several places in turn.
    ssize_t receive(iovec* pieces, std::size_t count);
    // receive() that leaves the bytes in the socket.
    ssize_t peek(void* buffer, std::size_t size);
    // receive() that discards the bytes inside the kernel.
    ssize_t discard(std::size_t size);
    ssize_t send(const iovec* pieces, std::size_t count, bool more);
    ssize_t splice_to_pipe(int pipe, std::size_t size);
    ssize_t splice_from_pipe(int pipe, std::size_t size, bool more);
    // Sends bytes that a send with `more` held back, when no further bytes follow.
    void flush();
    // Sends FIN to the peer.
    void shutdown_write();
    // Closes. close_with_reset() sends RST instead of FIN: a message that cannot be completed must
    // not look complete.
    void close();
    void close_with_reset();

    // True if a receive is worth trying. Also on a broken connection: bytes that arrived before the
    // break may be unread without an event, such as an answer before a reset that a send met first.
    bool is_readable() const { return readable_ || broken_; }
    bool is_writable() const { return writable_; }
    // True if the peer sent FIN (bytes before it may be unread), or the connection is gone.
    bool peer_finished() const { return peer_finished_; }
    bool is_broken() const { return broken_; }
    // Brings the flags up to date and returns is_silent(). After a splice or a read that filled its
    // buffer the flags do not know whether bytes are unread, so this asks the socket then. A silent
    // connection may be parked and used again.
    bool settle();
    // is_silent(), confirmed by the socket (one system call).
    bool is_quiet_now();
    // True if the socket has unread bytes, whatever the flags say (one system call).
    bool has_unread();
    bool is_silent() const { return !readable_ && !peer_finished_ && !broken_; }

    struct WaitAwaiter;
    // Suspends until the side is ready. One waiter per side.
    WaitAwaiter readable(Tick timeout);
    WaitAwaiter writable(Tick timeout);
    // Suspends until the first event after a connect in progress.
    WaitAwaiter connected(Tick timeout);
    // Wakes the coroutine that waits on that side, if any, with Wake::interrupted.
    void interrupt_read();
    void interrupt_write();
    bool has_reader() const { return static_cast<bool>(read_side_.waiter); }
    bool has_writer() const { return static_cast<bool>(write_side_.waiter); }

    void set_observer(StreamObserver* observer) { observer_ = observer; }

    // Deadline without a waiter, for parked connections; calls observer->on_stream_event().
    void arm_idle(Tick timeout);
    void disarm_idle();

    void on_events(std::uint32_t events) override;

  private:
    struct Side final : TimerNode {
        explicit Side(Stream& s) : stream(s) {}
        void on_deadline() override { stream.on_side_deadline(*this); }
        Stream& stream;
        std::coroutine_handle<> waiter;
        Wake wake = Wake::ready;
    };
    friend struct WaitAwaiter;

    void on_side_deadline(Side& side);
    void resume(Side& side, Wake wake);
    void wake_later(Side& side, Wake wake);
    ssize_t end_of_stream();
    void note_drained();
    void after_send(ssize_t moved);
    void watch(std::uint32_t events);
    bool after_receive(ssize_t moved, std::size_t wanted, bool short_means_drained);

    Reactor& reactor_;
    int fd_ = -1;
    bool readable_ = false;
    bool writable_ = true;
    bool peer_finished_ = false;
    bool broken_ = false;
    // Number of input events without a reader while input was unread, since the socket was last
    // drained. Usually the receiver is full. Each event wakes the worker for nothing, so after a
    // few of them the epoll set stops reporting input; readable_ stays true until all is read.
    std::uint8_t idle_reports_ = 0;
    std::uint32_t watched_ = 0;  // EPOLL… bits that the set reports
    StreamObserver* observer_ = nullptr;
    Side read_side_;
    Side write_side_;
};

struct Stream::WaitAwaiter {
    Stream& stream;
    Side& side;
    Tick timeout;
    bool ready;
    bool await_ready() const noexcept { return ready; }
    void await_suspend(std::coroutine_handle<> self) const {
        side.waiter = self;
        side.wake = Wake::ready;
        stream.reactor_.arm(side, timeout);
    }
    Wake await_resume() const noexcept { return ready ? Wake::ready : side.wake; }
};

inline Stream::WaitAwaiter Stream::readable(Tick timeout) {
    return {*this, read_side_, timeout, is_readable() || fd_ < 0};
}
inline Stream::WaitAwaiter Stream::writable(Tick timeout) {
    return {*this, write_side_, timeout, writable_ || broken_ || fd_ < 0};
}

inline Stream::WaitAwaiter Stream::connected(Tick timeout) {
    writable_ = false;
    return {*this, write_side_, timeout, false};
}

}  // namespace s3gate::net
