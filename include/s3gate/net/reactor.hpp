// Readiness of one worker's data sockets: one edge-triggered epoll set whose descriptor the
// worker's io_context awaits, a lazy timer wheel, and the queue of coroutines that go on in the
// next round. One per worker, used by that thread only.
#pragma once

#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <coroutine>
#include <cstdint>
#include <vector>

#include "s3gate/base/clock.hpp"

struct epoll_event;

namespace s3gate::net {

class Reactor;

// Time of one worker in ticks. It stands still while the process does: a stop of more than 2 s
// counts as one tick, so that our own stall never times anybody out (docs/architecture.md, "Threads
// and ownership").
using Tick = std::uint32_t;
inline constexpr std::chrono::milliseconds kTickLength{250};
// Ticks that cover a duration, rounded up, at least one.
Tick ticks_of(base::Duration duration);

// A deadline in the wheel. Lazy: moving it later costs one store; it is looked at again when its
// old slot comes up.
class TimerNode {
  public:
    TimerNode() = default;
    TimerNode(const TimerNode&) = delete;
    TimerNode& operator=(const TimerNode&) = delete;
    ~TimerNode() { unlink(); }
    bool is_linked() const { return next_ != nullptr; }

  protected:
    friend class Reactor;
    virtual void on_deadline() = 0;
    void unlink() {
        if (next_ != nullptr) {
            next_->previous_ = previous_;
            previous_->next_ = next_;
            next_ = previous_ = nullptr;
        }
    }
    TimerNode* next_ = nullptr;
    TimerNode* previous_ = nullptr;
    Tick deadline_ = 0;
    Tick linked_at_ = 0;  // tick whose slot it lies in
    bool armed_ = false;
};

// Something with a descriptor in the set. Implemented by Stream and by the listening sockets.
class EventTarget {
  public:
    virtual void on_events(std::uint32_t events) = 0;  // EPOLL… bits

  protected:
    ~EventTarget() = default;
};

class Reactor {
  public:
    explicit Reactor(boost::asio::io_context& context);
    ~Reactor();
    Reactor(const Reactor&) = delete;
    Reactor& operator=(const Reactor&) = delete;

    // Begins to await the set; every `kTickLength` the wheel turns and `on_tick` is called.
    void start(void (*on_tick)(void*), void* context);
    // Lets the io_context run out of work.
    void stop();

    // Registers a descriptor for all events, edge-triggered. False (with errno) when the kernel
    // refuses.
    bool add(int descriptor, EventTarget& target);
    // Must be called before `target` ends; the descriptor leaves the set when it is closed.
    void forget(const EventTarget& target);

    // Resumes `coroutine` after the present round of events; the caller must be about to suspend or
    // be unrelated to it.
    void post(std::coroutine_handle<> coroutine) {
        ready_.push_back(coroutine);
        wake();
    }
    // co_await reactor.yield(): lets others run first (fairness).
    auto yield() {
        struct Awaiter {
            Reactor& reactor;
            bool await_ready() const noexcept { return false; }
            void await_suspend(std::coroutine_handle<> self) const { reactor.post(self); }
            void await_resume() const noexcept {}
        };
        return Awaiter{*this};
    }

    Tick now() const { return now_; }
    // Calls node.on_deadline() when `after` is over, unless disarmed or armed anew.
    void arm(TimerNode& node, Tick after);
    static void disarm(TimerNode& node) { node.armed_ = false; }

    // Monotonic milliseconds, read at most once per round of events.
    std::uint64_t now_ms() const { return now_ms_; }
    base::TimePoint now_point() const { return now_point_; }
    // Reads the clock anew (used where a duration of the present round matters).
    base::TimePoint refresh_clock();

  private:
    static constexpr std::size_t kSlots = 1024;  // × 250 ms: longer deadlines go round once more
    struct Slot final : TimerNode {
        Slot() { next_ = previous_ = this; }
        ~Slot() { next_ = previous_ = nullptr; }
        void on_deadline() override {}
        friend class Reactor;
    };

    void await_set();
    void on_set_ready();
    bool poll_once();
    void run_ready();
    void schedule_tick();
    void on_timer();
    void turn_wheel();
    void link(TimerNode& node);
    void wake();

    boost::asio::io_context& context_;
    int epoll_ = -1;
    boost::asio::posix::basic_stream_descriptor<boost::asio::io_context::executor_type> set_;
    boost::asio::basic_waitable_timer<base::Clock, boost::asio::wait_traits<base::Clock>,
                                      boost::asio::io_context::executor_type>
        timer_;
    std::vector<std::coroutine_handle<>> ready_;
    std::vector<std::coroutine_handle<>> running_;
    std::vector<epoll_event> events_;
    int event_count_ = 0;
    int event_index_ = 0;
    bool in_round_ = false;
    bool wake_posted_ = false;
    bool stopped_ = false;
    Tick now_ = 0;
    std::uint64_t now_ms_ = 0;
    base::TimePoint now_point_{};
    base::TimePoint last_tick_{};
    base::Duration remainder_{0};
    void (*on_tick_)(void*) = nullptr;
    void* tick_context_ = nullptr;
    std::vector<Slot> wheel_;
};

}  // namespace s3gate::net
