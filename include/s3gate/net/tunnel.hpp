// The traffic after a 101: bytes both ways between two streams until both directions have ended or
// one breaks. Long runs are spliced through a pooled pipe. Short ones (a WebSocket frame) are
// copied through a pooled buffer, which saves a system call. Pipes and buffers are held only while
// they contain bytes. Half-closes are passed on. One tunnel per exchange, reused; one worker
// thread.
#pragma once

#include <array>
#include <coroutine>
#include <cstdint>
#include <string_view>

#include "s3gate/net/buffer_pool.hpp"
#include "s3gate/net/stream.hpp"
#include "s3gate/net/task.hpp"

namespace s3gate::net {

enum class TunnelEnd : std::uint8_t {
    finished,        // both sides sent FIN and all bytes before it were delivered
    idle,            // no byte moved in either direction within the limit
    client_broken,   // reset, or a failed write to it
    backend_broken,  // the same at the backend
    cut,             // the owner called cut()
};

class Tunnel final : public StreamObserver {
  public:
    struct Ends {
        Stream* client = nullptr;
        Stream* backend = nullptr;
        // Sent first. Must stay valid until run() has returned.
        std::string_view to_backend;
        std::string_view to_client;
    };

    // Moves bytes until the tunnel ends. Both streams stay open and belong to the caller, which
    // resets them unless the end is `finished`. `idle` is one limit for both directions: a side
    // that only listens stays alive while the other one sends. Sets the backend stream's observer
    // while it runs.
    task<TunnelEnd> run(const Ends& ends, BufferPool& buffers, PipePool& pipes, Tick idle);

    // Ends a run(), or makes the next one end before it moves a byte (until reset()).
    void cut() { end(TunnelEnd::cut); }
    // Called when the client's stream broke while no direction read from it.
    void on_client_broken() { end(TunnelEnd::client_broken); }
    // Forgets an earlier run.
    void reset() { *this = {}; }

    std::uint64_t bytes_to_backend() const { return ways_[0].moved; }
    std::uint64_t bytes_to_client() const { return ways_[1].moved; }

  private:
    struct Way {
        Stream* from = nullptr;
        Stream* to = nullptr;
        std::string_view glued;
        std::uint64_t moved = 0;
        TunnelEnd source_broken = TunnelEnd::cut;
        TunnelEnd sink_broken = TunnelEnd::cut;
        bool to_backend = false;
    };

    class Flow;

    detached relay(Way& way);
    void end(TunnelEnd why);
    void touch() { last_move_ = ways_[0].from->reactor().now(); }
    Tick idle_left() const;
    void on_stream_event() override;

    std::array<Way, 2> ways_;
    BufferPool* buffers_ = nullptr;
    PipePool* pipes_ = nullptr;
    Tick idle_ = 0;
    Tick last_move_ = 0;
    // Number of running directions; the streams are valid only while it is not 0.
    unsigned running_ = 0;
    bool broken_ = false;
    TunnelEnd why_ = TunnelEnd::finished;
    std::coroutine_handle<> joiner_;
};

}  // namespace s3gate::net
