// A request that waits for room at a server of its group (backends.max_connections): first come
// first served, bounded in number and time. Its worker keeps it in the group's queue meanwhile.
#pragma once

#include <coroutine>
#include <cstdint>

#include "backend_choice.hpp"
#include "exchange_context.hpp"
#include "s3gate/net/reactor.hpp"

namespace s3gate::proxy {

class RoomWaiter : public WaitingHook {
  public:
    // `sent`: of the request's attempts so far.
    RoomWaiter(ExchangeContext& context, BackendChoice& choice, policy::Sent sent)
        : context_(context), choice_(choice), sent_(sent) {}
    RoomWaiter(const RoomWaiter&) = delete;
    RoomWaiter& operator=(const RoomWaiter&) = delete;

    // found, none, gone, timed_out or overflow. The request's body is not read meanwhile, and it
    // holds nothing at any server.
    net::task<Pick> wait();

    // The worker calls these. True if it takes the room at the server with that cell (held for it
    // already), and goes on.
    bool take_room(std::uint32_t cell);
    // True if it need not wait any longer, for whatever reason, and goes on.
    bool look_for_room();
    // The client left, or we stop.
    void give_up();

    std::uint32_t group() const { return context_.group.cell; }
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
