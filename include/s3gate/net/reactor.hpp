// The event loop of one worker: an edge-triggered epoll set, a lazy timer wheel, queues of
// coroutines that continue after the events, and messages from other threads. Only the worker's
// thread uses it, except for submit().
#pragma once

#include <atomic>
#include <boost/intrusive/list.hpp>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "s3gate/base/clock.hpp"
#include "s3gate/base/descriptor.hpp"

struct epoll_event;

namespace s3gate::net {

class Reactor;

// Time of one worker in ticks. A stall of the process for more than 2 s counts as one tick, so our
// own stall never causes a timeout (docs/architecture.md, "Threads and ownership").
using Tick = std::uint32_t;
inline constexpr std::chrono::milliseconds kTickLength{250};
// Ticks that cover a duration, rounded up, at least one.
Tick ticks_of(base::Duration duration);

// A deadline in the wheel; it leaves the wheel when it is destroyed. Lazy: moving it later costs
// one store. It is checked again when its old slot comes up.
class TimerNode : public boost::intrusive::list_base_hook<
                      boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
  public:
    TimerNode() = default;
    TimerNode(const TimerNode&) = delete;
    TimerNode& operator=(const TimerNode&) = delete;

  protected:
    ~TimerNode() = default;

  private:
    friend class Reactor;
    virtual void on_deadline() = 0;
    Tick deadline_ = 0;
    Tick linked_at_ = 0;  // tick of its slot
    bool armed_ = false;
};

// An object with a descriptor in the epoll set: a Stream or a listening socket.
class EventTarget {
  public:
    virtual void on_events(std::uint32_t events) = 0;  // EPOLL… bits

  protected:
    ~EventTarget() = default;
};

class Reactor {
  public:
    // Throws std::system_error if the kernel grants no epoll set or event descriptor.
    Reactor();
    ~Reactor();
    Reactor(const Reactor&) = delete;
    Reactor& operator=(const Reactor&) = delete;

    // Turns the wheel and calls `on_tick` (unless null) every `kTickLength` from now on.
    void start(void (*on_tick)(void*), void* context);
    // Runs the loop until stop().
    void run();
    // One round: events (waiting at most `patience` if the loop is idle), continuing coroutines,
    // beginning coroutines, long relays, messages, and the tick if it is due.
    void turn(std::chrono::milliseconds patience);
    // Ends the loop after the current round; messages not yet delivered are dropped.
    void stop() { stopped_ = true; }
    bool is_stopped() const { return stopped_; }

    // Calls `message` on the loop's thread, in the order of submission. Any thread.
    void submit(std::function<void()> message);

    // Registers a descriptor for all events, edge-triggered. False (with errno) when the kernel
    // refuses.
    bool add(int descriptor, EventTarget& target);
    // From now on reports only these EPOLL… bits, edge-triggered, and at once those that are true
    // now. Errors and hang-ups are always reported. False as in add().
    bool watch(int descriptor, EventTarget& target, std::uint32_t events);
    // Takes a descriptor out of the set. For one that another process may hold too: such a
    // descriptor stays in the set after its close and goes on reporting (epoll(7)).
    void remove(int descriptor);
    // Must be called before `target` is destroyed. A descriptor that no other process holds leaves
    // the set when it is closed.
    void forget(const EventTarget& target);

    // Resumes `coroutine` after the current round of events. The caller must be about to suspend,
    // or must not depend on it.
    void post(std::coroutine_handle<> coroutine) { ready_.push(coroutine); }
    // co_await reactor.yield(): a relay lets other events go first, after its turn or after news of
    // a long body. Relays continue in order until kRelayedPerRound bytes are sent, or
    // kRelayedPerEvent per event of the round, whichever is more; then events follow again. An
    // event costs about as much as relaying kRelayedPerEvent bytes, so long messages still get half
    // of a worker that short messages could fill.
    auto yield() { return Line{relays_}; }
    static constexpr std::size_t kRelayedPerRound = 1024 * 1024;
    static constexpr std::size_t kRelayedPerEvent = 64 * 1024;
    // Counts bytes that a relay or a tunnel has sent.
    void note_relayed(std::size_t bytes) { relayed_ += bytes; }

    // co_await reactor.begin_work(): requests in progress go before new ones. At most
    // kBeginsPerRound coroutines per round continue from here, in order. The others wait while the
    // loop fetches the events of earlier requests.
    auto begin_work() {
        struct Awaiter : Line {
            Reactor& reactor;
            bool await_ready() const noexcept {
                if (reactor.begins_left_ == 0 || !reactor.beginners_.is_empty()) {
                    return false;
                }
                --reactor.begins_left_;
                return true;
            }
        };
        return Awaiter{{beginners_}, *this};
    }
    // 8 and 32 are as good (docs/bench-notes.md). Without a bound all requests that clients send at
    // once are in progress at once, and every answer finds a cold cache.
    static constexpr std::size_t kBeginsPerRound = 16;
    // For tests: a lower bound needs fewer clients.
    void limit_begins(std::size_t per_round) { begins_per_round_ = per_round; }

    // True if the next round has work without any event.
    bool is_busy() const {
        return !ready_.is_empty() || !beginners_.is_empty() || !relays_.is_empty() ||
               has_messages_.load(std::memory_order_acquire);
    }

    Tick now() const { return now_; }
    // Calls node.on_deadline() after `after`, unless it is disarmed or armed again.
    void arm(TimerNode& node, Tick after);
    static void disarm(TimerNode& node) { node.armed_ = false; }

    // Monotonic milliseconds, read at most once per round of events.
    std::uint64_t now_ms() const { return now_ms_; }
    base::TimePoint now_point() const { return now_point_; }
    // Reads the clock again, for durations within a round.
    base::TimePoint refresh_clock();

  private:
    // Coroutines that continue in order. Keeps its memory.
    class Queue {
      public:
        bool is_empty() const { return first_ == waiting_.size(); }
        std::size_t size() const { return waiting_.size() - first_; }
        void push(std::coroutine_handle<> coroutine) { waiting_.push_back(coroutine); }
        // The queue must not be empty.
        std::coroutine_handle<> pop();

      private:
        std::vector<std::coroutine_handle<>> waiting_;
        std::size_t first_ = 0;  // those before it have continued
    };
    // Awaiter that suspends to the end of a queue.
    struct Line {
        Queue& queue;
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> self) const { queue.push(self); }
        void await_resume() const noexcept {}
    };

    static constexpr std::size_t kSlots = 1024;  // × 250 ms; longer deadlines stay for another turn
    // A node unlinks itself without the list, so the list keeps no count.
    using Slot = boost::intrusive::list<TimerNode, boost::intrusive::constant_time_size<false>>;

    int poll(int timeout_ms);
    void run_ready();
    void run_beginners();
    void run_relays(std::size_t events);
    void deliver_messages();
    void on_timer();
    void turn_wheel();
    void link(TimerNode& node);

    base::Descriptor epoll_;
    base::Descriptor bell_;  // event descriptor in the epoll set; signals a message
    Queue ready_;
    Queue beginners_;
    Queue relays_;
    std::size_t begins_left_ = 0;  // in the current round
    std::size_t relayed_ = 0;
    std::size_t begins_per_round_ = kBeginsPerRound;
    std::vector<epoll_event> events_;
    int event_count_ = 0;
    int event_index_ = 0;
    bool stopped_ = false;
    std::mutex mutex_;  // guards messages_
    std::vector<std::function<void()>> messages_;
    std::vector<std::function<void()>> delivering_;
    std::atomic<bool> has_messages_{false};
    Tick now_ = 0;
    std::uint64_t now_ms_ = 0;
    base::TimePoint now_point_{};
    base::TimePoint last_tick_{};
    base::TimePoint next_tick_ = base::TimePoint::max();
    base::Duration remainder_{0};
    void (*on_tick_)(void*) = nullptr;
    void* tick_context_ = nullptr;
    std::vector<Slot> wheel_;
};

}  // namespace s3gate::net
