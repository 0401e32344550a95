// The event loop of one worker: one edge-triggered epoll set, a lazy timer wheel, the queues of
// coroutines that go on behind the events, and the messages of other threads. One per worker, used
// by that thread only, but for submit().
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

// Time of one worker in ticks. It stands still while the process does: a stop of more than 2 s
// counts as one tick, so that our own stall never times anybody out (docs/architecture.md, "Threads
// and ownership").
using Tick = std::uint32_t;
inline constexpr std::chrono::milliseconds kTickLength{250};
// Ticks that cover a duration, rounded up, at least one.
Tick ticks_of(base::Duration duration);

// A deadline in the wheel, which it leaves when it ends. Lazy: moving it later costs one store; it
// is looked at again when its old slot comes up.
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
    // Throws std::system_error when the kernel grants no epoll set or event descriptor.
    Reactor();
    ~Reactor();
    Reactor(const Reactor&) = delete;
    Reactor& operator=(const Reactor&) = delete;

    // From now on, every `kTickLength` the wheel turns and `on_tick` (unless null) is called.
    void start(void (*on_tick)(void*), void* context);
    // Turns the loop until stop().
    void run();
    // One round: waits at most `patience` for events when nothing else is to be done, then events,
    // coroutines that go on, those that begin, long relays, messages, and the tick if it is due.
    void turn(std::chrono::milliseconds patience);
    // The present round is the last one; messages not yet delivered are dropped.
    void stop() { stopped_ = true; }
    bool is_stopped() const { return stopped_; }

    // Any thread: calls `message` on the loop's thread, in the order of submission.
    void submit(std::function<void()> message);

    // Registers a descriptor for all events, edge-triggered. False (with errno) when the kernel
    // refuses.
    bool add(int descriptor, EventTarget& target);
    // From now on reports only these EPOLL… bits, edge-triggered, and at once those of them that
    // are true now; errors and hang-ups always. Like add() otherwise.
    bool watch(int descriptor, EventTarget& target, std::uint32_t events);
    // Must be called before `target` ends; the descriptor leaves the set when it is closed.
    void forget(const EventTarget& target);

    // Resumes `coroutine` after the present round of events; the caller must be about to suspend or
    // be unrelated to it.
    void post(std::coroutine_handle<> coroutine) { ready_.push(coroutine); }
    // co_await reactor.yield(): a relay that has had its turn, or has news of a long body, goes on
    // behind everybody else's events. Relays in the order in which they came, until
    // kRelayedPerRound bytes are out, or kRelayedPerEvent for each event handled in the round,
    // whichever is more; then events again. An event costs about as much as relaying that: where
    // short messages could take all of the worker, long ones still get half of it.
    auto yield() { return Line{relays_}; }
    static constexpr std::size_t kRelayedPerRound = 1024 * 1024;
    static constexpr std::size_t kRelayedPerEvent = 64 * 1024;
    // Bytes that a relay or a tunnel has sent.
    void note_relayed(std::size_t bytes) { relayed_ += bytes; }

    // co_await reactor.begin_work(): what is in progress goes first. At most kBeginsPerRound
    // coroutines a round go on from here, in the order in which they came; the others wait while
    // the events of what was begun before them are fetched.
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
    // docs/bench.md: 8 and 32 are as good; without a bound everything that clients ask for at once
    // is in progress at once, and every answer comes back to a cold cache.
    static constexpr std::size_t kBeginsPerRound = 16;
    // For tests that want the bound without the crowd.
    void limit_begins(std::size_t per_round) { begins_per_round_ = per_round; }

    // True if the next round has something to do without any event.
    bool is_busy() const {
        return !ready_.is_empty() || !beginners_.is_empty() || !relays_.is_empty() ||
               has_messages_.load(std::memory_order_acquire);
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
    // Coroutines that go on in the order in which they came. Keeps its memory.
    class Queue {
      public:
        bool is_empty() const { return first_ == waiting_.size(); }
        std::size_t size() const { return waiting_.size() - first_; }
        void push(std::coroutine_handle<> coroutine) { waiting_.push_back(coroutine); }
        // Must not be empty.
        std::coroutine_handle<> pop();

      private:
        std::vector<std::coroutine_handle<>> waiting_;
        std::size_t first_ = 0;  // those in front of it have gone on
    };
    // Awaiter that suspends to the end of a queue.
    struct Line {
        Queue& queue;
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> self) const { queue.push(self); }
        void await_resume() const noexcept {}
    };

    static constexpr std::size_t kSlots = 1024;  // × 250 ms: longer deadlines go round once more
    // A node leaves it without the list's knowing: no count of them is kept.
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
    base::Descriptor bell_;  // event descriptor in the set: a message has come
    Queue ready_;
    Queue beginners_;
    Queue relays_;
    std::size_t begins_left_ = 0;  // in this round
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
