// A request that waits for room at a server of its group (backends.max_connections): first come
// first served, bounded in number and time. Its worker keeps it in the group's queue.
#pragma once

#include <coroutine>
#include <cstdint>

#include "backend_choice.hpp"
#include "exchange_context.hpp"
#include "s3gate/net/reactor.hpp"

namespace s3gate::proxy {

class RoomWaiter : public WaitingHook {
  public:
    // `sent`: whether the request's earlier attempts sent bytes.
    RoomWaiter(ExchangeContext& context, BackendChoice& choice, policy::Sent sent)
        : context_(context), choice_(choice), sent_(sent) {}
    RoomWaiter(const RoomWaiter&) = delete;
    RoomWaiter& operator=(const RoomWaiter&) = delete;

    // found, none, gone, timed_out or overflow. During the wait the request's body is not read, and
    // the request holds no room.
    net::task<Pick> wait();

    // Called by the worker. True if the request takes the room at the server with that cell, held
    // for it already, and continues.
    bool take_room(std::uint32_t cell);
    // True if the request need not wait any longer, for any reason, and continues.
    bool look_for_room();
    // The client left, or a stop came.
    void give_up();

    std::uint32_t group() const { return context_.group().cell; }
    std::uint64_t since() const { return since_; }  // milliseconds; never 0

  private:
    struct Limit final : net::TimerNode {
        explicit Limit(RoomWaiter& the_waiter) : waiter(the_waiter) {}
        void on_deadline() override { waiter.stop(Pick::timed_out); }
        RoomWaiter& waiter;
    };
    void stop(Pick result);

    ExchangeContext& context_;
    BackendChoice& choice_;
    const policy::Sent sent_;
    Limit limit_{*this};
    bool is_waiting_ = false;
    Pick result_ = Pick::none;
    std::uint64_t since_ = 0;
    std::coroutine_handle<> waiter_;
};

}  // namespace s3gate::proxy
