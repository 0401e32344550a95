#include "s3gate/net/reactor.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace s3gate::net {
namespace {

constexpr int kEventsPerPoll = 256;
// docs/architecture.md, "Threads and ownership": a tick later than this is our own stall.
constexpr std::chrono::seconds kStall{2};
// Time to fetch input that arrived during a stall, before any deadline fires. One round may not
// show all of it, and it may never end.
constexpr std::chrono::milliseconds kCatchUp{250};

}  // namespace

Tick ticks_of(base::Duration duration) {
    const auto ticks = (duration + kTickLength - base::Duration{1}) / kTickLength;
    return static_cast<Tick>(std::clamp<std::int64_t>(ticks, 1, 1u << 30));
}

Reactor::Reactor()
    : epoll_(epoll_create1(EPOLL_CLOEXEC)),
      bell_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      wheel_(kSlots) {
    // Never read: with EPOLLET every write is an event (epoll(7)), and the 64-bit counter does not
    // overflow.
    epoll_event event{};
    event.events = EPOLLIN | EPOLLET;
    if (!epoll_ || !bell_ || epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, bell_.get(), &event) != 0) {
        throw std::system_error(errno, std::generic_category(), "event loop of a worker");
    }
    events_.resize(kEventsPerPoll);
    refresh_clock();
}

Reactor::~Reactor() = default;

base::TimePoint Reactor::refresh_clock() {
    now_point_ = base::Clock::now();
    now_ms_ = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(now_point_.time_since_epoch())
            .count());
    return now_point_;
}

void Reactor::start(void (*on_tick)(void*), void* context) {
    on_tick_ = on_tick;
    tick_context_ = context;
    last_tick_ = refresh_clock();
    next_tick_ = last_tick_ + kTickLength;
}

void Reactor::run() {
    while (!stopped_) {
        turn(kTickLength);
    }
}

void Reactor::turn(std::chrono::milliseconds patience) {
    // The clock is the last round's, so the tick may be late by that round's length, but never
    // early.
    const auto until_tick = std::chrono::ceil<std::chrono::milliseconds>(next_tick_ - now_point_);
    const auto wait = is_busy() ? std::chrono::milliseconds{0}
                                : std::clamp(until_tick, std::chrono::milliseconds{0}, patience);
    begins_left_ = begins_per_round_;
    const std::size_t queued = relays_.size();
    const int reported = poll(static_cast<int>(wait.count()));
    // Events that only queued a long relay have cost nothing yet.
    const std::size_t events = static_cast<std::size_t>(std::max(reported, 0));
    const std::size_t handled = events - std::min(events, relays_.size() - queued);
    run_ready();
    run_beginners();
    run_relays(handled);
    deliver_messages();
    if (now_point_ >= next_tick_ && !stopped_) {
        on_timer();
    }
}

void Reactor::submit(std::function<void()> message) {
    bool is_first = false;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        is_first = messages_.empty();
        messages_.push_back(std::move(message));
        has_messages_.store(true, std::memory_order_release);
    }
    if (is_first) {
        const std::uint64_t one = 1;
        [[maybe_unused]] const ssize_t written = ::write(bell_.get(), &one, sizeof one);
    }
}

void Reactor::deliver_messages() {
    if (!has_messages_.load(std::memory_order_acquire)) {
        return;
    }
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        delivering_.swap(messages_);
        has_messages_.store(false, std::memory_order_relaxed);
    }
    for (const std::function<void()>& message : delivering_) {
        if (stopped_) {
            break;
        }
        message();
    }
    delivering_.clear();
}

bool Reactor::add(int descriptor, EventTarget& target) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.ptr = &target;
    return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, descriptor, &event) == 0;
}

bool Reactor::watch(int descriptor, EventTarget& target, std::uint32_t events) {
    epoll_event event{};
    event.events = events | EPOLLET;
    event.data.ptr = &target;
    return epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, descriptor, &event) == 0;
}

void Reactor::remove(int descriptor) {
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, descriptor, nullptr);
}

void Reactor::forget(const EventTarget& target) {
    // Fetched but undelivered events of this round must not reach a destroyed object.
    for (int i = event_index_; i < event_count_; ++i) {
        if (events_[static_cast<std::size_t>(i)].data.ptr == static_cast<const void*>(&target)) {
            events_[static_cast<std::size_t>(i)].data.ptr = nullptr;
        }
    }
}

int Reactor::poll(int timeout_ms) {
    const int count = epoll_wait(epoll_.get(), events_.data(), kEventsPerPoll, timeout_ms);
    refresh_clock();
    event_count_ = std::max(count, 0);
    for (event_index_ = 0; event_index_ < event_count_;) {
        const epoll_event event = events_[static_cast<std::size_t>(event_index_)];
        ++event_index_;  // before the delivery: forget() looks at the rest
        if (event.data.ptr != nullptr) {
            static_cast<EventTarget*>(event.data.ptr)->on_events(event.events);
        }
    }
    event_count_ = event_index_ = 0;
    return count;
}

void Reactor::run_ready() {
    // Only the current entries: a coroutine that yields again waits for the next round, after its
    // events.
    for (std::size_t left = ready_.size(); left > 0; --left) {
        ready_.pop().resume();
    }
}

void Reactor::run_beginners() {
    while (begins_left_ > 0 && !beginners_.is_empty()) {
        --begins_left_;
        beginners_.pop().resume();
    }
}

void Reactor::run_relays(std::size_t events) {
    const std::size_t limit = std::max(kRelayedPerRound, events * kRelayedPerEvent);
    relayed_ = 0;
    // Only the current entries, and at least one.
    for (std::size_t left = relays_.size(); left > 0; --left) {
        relays_.pop().resume();
        if (relayed_ >= limit) {
            break;
        }
    }
}

std::coroutine_handle<> Reactor::Queue::pop() {
    const std::coroutine_handle<> coroutine = waiting_[first_++];
    // Moves fewer entries than have continued since the last move.
    if (first_ > waiting_.size() / 2) {
        waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(first_));
        first_ = 0;
    }
    return coroutine;
}

void Reactor::on_timer() {
    const auto passed = std::chrono::duration_cast<base::Duration>(now_point_ - last_tick_);
    last_tick_ = now_point_;
    Tick advance = 1;
    if (passed < kStall) {
        remainder_ += passed;
        advance = static_cast<Tick>(remainder_ / kTickLength);
        remainder_ %= kTickLength;
    } else {
        remainder_ = base::Duration{0};
    }
    // Input that arrived during the stall is handled before any deadline fires. On a busy worker
    // two ticks may be due at once; more mean a stall.
    const bool is_stall = passed >= kStall;
    if (is_stall || advance > 1) {
        while (poll(0) == kEventsPerPoll && (is_stall || advance > 2) &&
               now_point_ - last_tick_ < kCatchUp) {
        }
        run_ready();
    }
    if (is_stall) {
        last_tick_ = now_point_;  // the time for that input was our own delay too
    }
    next_tick_ = last_tick_ + kTickLength;
    for (Tick i = 0; i < advance; ++i) {
        ++now_;
        turn_wheel();
    }
    if (on_tick_ != nullptr) {
        on_tick_(tick_context_);
    }
}

void Reactor::link(TimerNode& node) {
    node.linked_at_ = node.deadline_;
    wheel_[node.deadline_ % kSlots].push_back(node);
}

void Reactor::arm(TimerNode& node, Tick after) {
    node.armed_ = true;
    // One tick more: the current tick has partly passed, and a deadline must be late rather than
    // early.
    node.deadline_ = now_ + after + 1;
    if (node.is_linked()) {
        if (static_cast<std::int32_t>(node.linked_at_ - node.deadline_) <= 0) {
            return;  // checked again when the old slot comes up
        }
        node.unlink();
    }
    link(node);
}

void Reactor::turn_wheel() {
    // The list is moved aside first, because handlers arm, disarm and destroy nodes of this slot.
    Slot due;
    due.swap(wheel_[now_ % kSlots]);
    while (!due.empty()) {
        TimerNode& node = due.front();
        due.pop_front();
        if (!node.armed_) {
            continue;
        }
        if (static_cast<std::int32_t>(node.deadline_ - now_) > 0) {
            link(node);
            continue;
        }
        node.armed_ = false;
        node.on_deadline();
    }
}

}  // namespace s3gate::net
