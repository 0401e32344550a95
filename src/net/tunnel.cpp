#include "s3gate/net/tunnel.hpp"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "sink_wait.hpp"

namespace s3gate::net {
namespace {

// Fairness (docs/architecture.md): system calls one direction may make before others get a turn.
constexpr unsigned kCallsPerTurn = 16;
// A read that brought this much is followed by splices, a splice that brought less by reads: below
// it, the splice that finds the socket empty costs more than the copy.
constexpr std::size_t kBulk = 32 * 1024;
// What one splice may move: fits into one buffer when the pipe has to be given back.
constexpr std::size_t kSpliceBytes = kBufferSize;
// A receiver that takes nothing for this long gives its pipe back (there are few, and a tunnel may
// stall for as long as its idle limit); the bytes wait in a buffer.
constexpr Tick kPipePatience = 4;  // 1 s

// Moves everything inside the pipe into the buffer.
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

void Tunnel::reset() {
    for (Way& way : ways_) {
        way = {};
    }
    broken_ = false;
    why_ = TunnelEnd::finished;
}

void Tunnel::end(TunnelEnd why) {
    if (broken_) {
        return;
    }
    broken_ = true;
    why_ = why;
    for (const Way& way : ways_) {
        if (way.from != nullptr) {
            way.from->interrupt_read();
            way.from->interrupt_write();
        }
    }
}

void Tunnel::on_stream_event() {
    // Bytes and ends wait for whoever reads them; a reset ends the tunnel although nobody does.
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
    for (Way& way : ways_) {
        way.from = way.to = nullptr;
        way.glued = {};
    }
    co_return why_;
}

void Tunnel::deliver_last_words(Way& way, Pipe& pipe, std::string_view pending, Buffer& buffer) {
    for (;;) {
        ssize_t sent = 0;
        if (pipe.held > 0) {
            sent = way.to->splice_from_pipe(pipe.read_end(), pipe.held, false);
            pipe.held -= sent > 0 ? static_cast<std::size_t>(sent) : 0;
        } else if (!pending.empty()) {
            const iovec piece{const_cast<char*>(pending.data()), pending.size()};
            sent = way.to->send(&piece, 1, false);
            pending.remove_prefix(sent > 0 ? static_cast<std::size_t>(sent) : 0);
        } else {
            if (!buffer) {
                buffer = buffers_->acquire();
            }
            const ssize_t got = way.from->receive(buffer.data(), Buffer::size());
            if (got <= 0) {
                return;
            }
            pending = {buffer.data(), static_cast<std::size_t>(got)};
            continue;
        }
        if (sent <= 0) {
            return;
        }
        way.moved += static_cast<std::uint64_t>(sent);
    }
}

detached Tunnel::relay(Way& way) {
    Reactor& reactor = way.from->reactor();
    Buffer buffer;
    Pipe pipe;
    std::string_view pending = way.glued;
    bool is_bulk = false;
    unsigned calls = 0;
    while (!broken_) {
        if (++calls > kCallsPerTurn) {
            calls = 0;
            co_await reactor.yield();
            continue;
        }
        if (pending.empty() && pipe.held == 0) {
            if (way.from->is_readable()) {
                if (is_bulk && !pipe) {
                    pipe = pipes_->acquire();
                }
                ssize_t got = 0;
                if (is_bulk && pipe) {
                    got = way.from->splice_to_pipe(pipe.write_end(), kSpliceBytes);
                    pipe.held = got > 0 ? static_cast<std::size_t>(got) : 0;
                } else {
                    if (!buffer) {
                        buffer = buffers_->acquire();
                    }
                    got = way.from->receive(buffer.data(), Buffer::size());
                    pending = {buffer.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
                }
                if (got == 0) {
                    // Half-close: the other direction goes on.
                    way.to->shutdown_write();
                    break;
                }
                if (got > 0) {
                    is_bulk = static_cast<std::size_t>(got) >= kBulk;
                } else if (errno != EAGAIN && errno != EINTR) {
                    end(way.source_broken);
                }
                continue;
            }
            // Nothing is held while the source has nothing to say.
            pipe.release();
            buffer.release();
            is_bulk = false;
            calls = 0;
            co_await way.from->readable(std::max<Tick>(idle_left(), 1));
            // Whatever ended the wait: who is interrupted again and again is idle all the same.
            if (!way.from->is_readable() && idle_left() == 0) {
                end(TunnelEnd::idle);
            }
            continue;
        }
        ssize_t sent = 0;
        if (pipe.held > 0) {
            sent = way.to->splice_from_pipe(pipe.read_end(), pipe.held, false);
            pipe.held -= sent > 0 ? static_cast<std::size_t>(sent) : 0;
        } else {
            const iovec piece{const_cast<char*>(pending.data()), pending.size()};
            sent = way.to->send(&piece, 1, false);
            pending.remove_prefix(sent > 0 ? static_cast<std::size_t>(sent) : 0);
        }
        if (sent > 0) {
            way.moved += static_cast<std::uint64_t>(sent);
            reactor.note_relayed(static_cast<std::size_t>(sent));
            touch();
            continue;
        }
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent == 0 || errno != EAGAIN) {
            end(way.sink_broken);
            continue;
        }
        calls = 0;
        const Tick patience = pipe.held > 0 ? std::min(idle_left(), kPipePatience) : idle_left();
        const Wake wake = co_await wait_for_sink(
            *way.to, {std::max<Tick>(patience, 1), way.to_backend, &broken_});
        if (wake != Wake::timed_out || broken_) {
            continue;
        }
        if (idle_left() == 0) {
            end(TunnelEnd::idle);
        } else if (pipe.held > 0) {
            if (!buffer) {
                buffer = buffers_->acquire();
            }
            pending = {buffer.data(), empty_into(pipe, buffer)};
            if (pipe.held > 0) {
                end(TunnelEnd::cut);  // bytes that cannot be delivered must not be missing quietly
            }
            pipe.release();
        }
    }
    if (why_ == way.source_broken) {
        deliver_last_words(way, pipe, pending, buffer);
    }
    buffer.release();
    pipe.release();
    if (--running_ == 0 && joiner_) {
        reactor.post(std::exchange(joiner_, nullptr));
    }
}

}  // namespace s3gate::net
