#include "s3gate/net/tunnel.hpp"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "sink_wait.hpp"

namespace s3gate::net {
namespace {

// Fairness (docs/architecture.md): system calls of one direction before others get a turn.
constexpr unsigned kCallsPerTurn = 16;
// After a read of this size splices follow, after a smaller splice reads. Below it the splice that
// finds the socket empty costs more than the copy.
constexpr std::size_t kBulk = 32 * 1024;
// Bytes of one splice: they fit into one buffer if the pipe must be given back.
constexpr std::size_t kSpliceBytes = kBufferSize;
// A receiver that takes nothing for this long gives its pipe back and its bytes move to a buffer.
// Pipes are few, and a tunnel may stall for its whole idle limit.
constexpr Tick kPipePatience = 4;  // 1 s

// Moves all bytes from the pipe to the buffer.
std::size_t empty_into(Pipe& pipe, Buffer& buffer) {
    std::size_t filled = 0;
    while (filled < pipe.held) {
        const ssize_t got =
            ::read(pipe.read_end(), buffer.data() + filled, Buffer::size() - filled);
        if (got > 0) {
            filled += static_cast<std::size_t>(got);
        } else if (got == 0 || errno != EINTR) {
            break;
        }
    }
    pipe.held -= filled;
    return filled;
}

}  // namespace

void Tunnel::end(TunnelEnd why) {
    if (broken_) {
        return;
    }
    broken_ = true;
    why_ = why;
    if (running_ > 0) {
        for (const Way& way : ways_) {
            way.from->interrupt_read();
            way.from->interrupt_write();
        }
    }
}

void Tunnel::on_stream_event() {
    // Bytes and ends wait for a reader. A reset ends the tunnel even without one.
    if (ways_[0].to->is_broken()) {
        end(TunnelEnd::backend_broken);
    }
}

Tick Tunnel::idle_left() const {
    const auto left =
        static_cast<std::int32_t>(last_move_ + idle_ - ways_[0].from->reactor().now());
    return left > 0 ? static_cast<Tick>(left) : 0;
}

task<TunnelEnd> Tunnel::run(const Ends& ends, BufferPool& buffers, PipePool& pipes, Tick idle) {
    ways_[0] = {ends.client,
                ends.backend,
                ends.to_backend,
                0,
                TunnelEnd::client_broken,
                TunnelEnd::backend_broken,
                true};
    ways_[1] = {ends.backend,
                ends.client,
                ends.to_client,
                0,
                TunnelEnd::backend_broken,
                TunnelEnd::client_broken,
                false};
    buffers_ = &buffers;
    pipes_ = &pipes;
    idle_ = idle;
    touch();
    running_ = 2;
    ends.backend->set_observer(this);
    for (Way& way : ways_) {
        relay(way);
    }
    struct Join {
        Tunnel& tunnel;
        bool await_ready() const noexcept { return tunnel.running_ == 0; }
        void await_suspend(std::coroutine_handle<> self) const { tunnel.joiner_ = self; }
        void await_resume() const noexcept {}
    };
    co_await Join{*this};
    ends.backend->set_observer(nullptr);
    co_return why_;
}

// One running direction and its steps. relay() calls the steps in turn; only wait() suspends.
class Tunnel::Flow {
  public:
    Flow(Tunnel& tunnel, Way& way) : tunnel_(tunnel), way_(way), pending_(way.glued) {}

    // True if the tunnel is broken, or the source's FIN was passed on.
    bool has_ended() const { return is_finished_ || tunnel_.broken_; }
    // The steps. Each does as much as possible without waiting.
    void receive();
    void send();
    // Suspends until the next step can proceed: while the sink is full, during the turns of others,
    // or until the source has more.
    task<void> wait();
    bool has_to_wait() const {
        return !has_ended() && (is_sending() || calls_ >= kCallsPerTurn || !has_input());
    }
    // Called when the source broke: sends the bytes that arrived before, as far as the sink takes
    // them at once. A close frame directly before a reset is common (a server that closes with
    // unread bytes).
    void deliver_last_words();

  private:
    bool is_sending() const { return !pending_.empty() || pipe_.held > 0; }
    bool has_input() const { return way_.from->is_readable(); }
    ssize_t receive_some();
    ssize_t send_some();
    char* buffer();
    void on_stuck_sink();

    Tunnel& tunnel_;
    Way& way_;
    Buffer buffer_;
    Pipe pipe_;
    std::string_view pending_;  // received but unsent; further bytes are in the pipe
    bool is_bulk_ = false;      // the last receive was large
    bool is_finished_ = false;
    unsigned calls_ = 0;  // since others had their turn
};

char* Tunnel::Flow::buffer() {
    if (!buffer_) {
        buffer_ = tunnel_.buffers_->acquire();
    }
    return buffer_.data();
}

// One call into the pipe or the buffer. As Stream::receive().
ssize_t Tunnel::Flow::receive_some() {
    if (is_bulk_ && !pipe_) {
        pipe_ = tunnel_.pipes_->acquire();
    }
    if (is_bulk_ && pipe_) {
        const ssize_t got = way_.from->splice_to_pipe(pipe_.write_end(), kSpliceBytes);
        pipe_.held = got > 0 ? static_cast<std::size_t>(got) : 0;
        return got;
    }
    const ssize_t got = way_.from->receive(buffer(), Buffer::size());
    pending_ = {buffer_.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
    return got;
}

void Tunnel::Flow::receive() {
    if (is_sending() || !has_input()) {
        return;
    }
    ++calls_;
    const ssize_t got = receive_some();
    if (got == 0) {
        // Half-close: the other direction continues.
        way_.to->shutdown_write();
        is_finished_ = true;
    } else if (got > 0) {
        is_bulk_ = static_cast<std::size_t>(got) >= kBulk;
    } else if (errno != EAGAIN && errno != EINTR) {
        tunnel_.end(way_.source_broken);
    }
}

// One call from the pipe or the buffer. As Stream::send().
ssize_t Tunnel::Flow::send_some() {
    ssize_t sent = 0;
    if (pipe_.held > 0) {
        sent = way_.to->splice_from_pipe(pipe_.read_end(), pipe_.held, false);
        pipe_.held -= sent > 0 ? static_cast<std::size_t>(sent) : 0;
    } else {
        const iovec piece{const_cast<char*>(pending_.data()), pending_.size()};
        sent = way_.to->send(&piece, 1, false);
        pending_.remove_prefix(sent > 0 ? static_cast<std::size_t>(sent) : 0);
    }
    way_.moved += sent > 0 ? static_cast<std::uint64_t>(sent) : 0;
    return sent;
}

void Tunnel::Flow::send() {
    while (is_sending() && !tunnel_.broken_) {
        ++calls_;
        const ssize_t sent = send_some();
        if (sent > 0) {
            way_.to->reactor().note_relayed(static_cast<std::size_t>(sent));
            tunnel_.touch();
        } else if (sent == 0 || (errno != EAGAIN && errno != EINTR)) {
            tunnel_.end(way_.sink_broken);
        } else if (errno == EAGAIN) {
            return;
        }
    }
}

task<void> Tunnel::Flow::wait() {
    if (is_sending()) {
        calls_ = 0;
        const Tick left = tunnel_.idle_left();
        const Tick patience = pipe_.held > 0 ? std::min(left, kPipePatience) : left;
        const Wake wake = co_await wait_for_sink(
            *way_.to, {std::max<Tick>(patience, 1), way_.to_backend, &tunnel_.broken_});
        if (wake == Wake::timed_out && !tunnel_.broken_) {
            on_stuck_sink();
        }
        co_return;
    }
    if (std::exchange(calls_, 0) >= kCallsPerTurn) {
        co_await way_.from->reactor().yield();
        co_return;
    }
    // A silent source holds neither pipe nor buffer.
    pipe_.release();
    buffer_.release();
    is_bulk_ = false;
    co_await way_.from->readable(std::max<Tick>(tunnel_.idle_left(), 1));
    // The idle limit counts after any wake: a tunnel that is interrupted again and again may be
    // idle too.
    if (!has_input() && tunnel_.idle_left() == 0) {
        tunnel_.end(TunnelEnd::idle);
    }
}

// Called when the sink took nothing for the pipe's limit or the tunnel's idle limit.
void Tunnel::Flow::on_stuck_sink() {
    if (tunnel_.idle_left() == 0) {
        tunnel_.end(TunnelEnd::idle);
    } else if (pipe_.held > 0) {
        buffer();
        pending_ = {buffer_.data(), empty_into(pipe_, buffer_)};
        if (pipe_.held > 0) {
            // Undeliverable bytes must end the tunnel; they must not be lost silently.
            tunnel_.end(TunnelEnd::cut);
        }
        pipe_.release();
    }
}

void Tunnel::Flow::deliver_last_words() {
    is_bulk_ = false;  // the remaining bytes use the buffer
    ssize_t moved = 0;
    do {
        moved = is_sending() ? send_some() : receive_some();
    } while (moved > 0);
}

detached Tunnel::relay(Way& way) {
    Flow flow(*this, way);
    while (!flow.has_ended()) {
        flow.receive();
        flow.send();
        if (flow.has_to_wait()) {
            co_await flow.wait();
        }
    }
    if (why_ == way.source_broken) {
        flow.deliver_last_words();
    }
    if (--running_ == 0 && joiner_) {
        way.from->reactor().post(std::exchange(joiner_, nullptr));
    }
}

}  // namespace s3gate::net
