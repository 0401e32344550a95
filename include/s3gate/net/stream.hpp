// One connected TCP socket on one worker: non-blocking operations that are tried directly,
// readiness flags kept from edge-triggered events, and at most one coroutine waiting on each side,
// each wait with a deadline. The owner of the Stream is a connection object; waiting coroutines
// must have ended (or been woken by abort()) before it is destroyed.
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
    ready,        // try the operation again
    timed_out,    // the deadline passed without an event
    interrupted,  // interrupt_read/interrupt_write was called
};

// Is told about events that no coroutine waits for.
class StreamObserver {
  public:
    // Data or an end arrived while nobody was reading, or the peer reset the connection. The
    // observer may close or destroy it.
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

    // Takes over a non-blocking descriptor. False when it could not be registered (the descriptor
    // is closed then).
    bool open(int descriptor);
    bool is_open() const { return fd_ >= 0; }
    int descriptor() const { return fd_; }
    Reactor& reactor() { return reactor_; }

    // The operations return bytes moved, 0 at the end of the stream (receive only), or -1 with
    // errno; EAGAIN without a system call when the flags already say so.
    ssize_t receive(void* buffer, std::size_t size);
    // Like receive, into several places, one filled after the other.
    ssize_t receive(iovec* pieces, std::size_t count);
    // Like receive, but the bytes are thrown away inside the kernel.
    ssize_t discard(std::size_t size);
    ssize_t send(const iovec* pieces, std::size_t count, bool more);
    ssize_t splice_to_pipe(int pipe, std::size_t size);
    ssize_t splice_from_pipe(int pipe, std::size_t size, bool more);
    // Lets go what a send with `more` held back for bytes that do not come after all.
    void flush();
    // FIN to the peer.
    void shutdown_write();
    // Closes; with `reset` the peer gets RST instead of FIN (a message that cannot be completed
    // must not look complete).
    void close();
    void close_with_reset();

    // True if a receive is worth trying. Also on a broken connection: what arrived before it broke
    // is still there, perhaps without an event that says so yet (an answer in front of a reset that
    // a send met first).
    bool is_readable() const { return readable_ || broken_; }
    bool is_writable() const { return writable_; }
    // The peer sent FIN (bytes before it may still be unread), or the connection is gone
    // altogether.
    bool peer_finished() const { return peer_finished_; }
    bool is_broken() const { return broken_; }
    // True while nothing at all was heard since the flags were last cleared by reading: a parked
    // connection may be used.
    // Asks the socket whether anything is unread where the flags do not know (behind a splice or a
    // read that filled its buffer). Returns is_silent().
    bool settle();
    // is_silent(), and the socket itself has nothing to say either (one system call).
    bool is_quiet_now();
    // True if there are bytes to be read now, whatever the flags say (one system call).
    bool has_unread();
    bool is_silent() const { return !readable_ && !peer_finished_ && !broken_; }

    struct WaitAwaiter;
    // Suspends until the side is ready. One waiter per side.
    WaitAwaiter readable(Tick timeout);
    WaitAwaiter writable(Tick timeout);
    // Suspends until the first event after a connect that is in progress.
    WaitAwaiter connected(Tick timeout);
    // Wakes the coroutine waiting on that side, if any, with Wake::interrupted.
    void interrupt_read();
    void interrupt_write();
    bool has_reader() const { return static_cast<bool>(read_side_.waiter); }
    bool has_writer() const { return static_cast<bool>(write_side_.waiter); }

    void set_observer(StreamObserver* observer) { observer_ = observer; }

    // Deadline without a waiter (parked connections): observer->on_stream_event() is called when it
    // passes.
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
    // Reports of input while there was unread input and no reader waited, since the socket was last
    // drained; most often its receiver is full. Each would wake the worker for nothing, so after a
    // few the set is told to keep them: readable_ stays true until all is read.
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
