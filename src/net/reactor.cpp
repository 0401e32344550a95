#include "s3gate/net/reactor.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <system_error>

namespace s3gate::net {
namespace {

constexpr int kEventsPerPoll = 256;
// Rounds of polling before the io_context gets its turn again (posted messages, timers). While a
// worker is busy this spares Asio's own epoll_wait and the re-arming of the set for most rounds.
constexpr int kRoundsPerTurn = 8;
// Design "Threads": a tick later than this is our own stall.
constexpr std::chrono::seconds kStall{2};

}  // namespace

Tick ticks_of(base::Duration duration) {
    const auto ticks = (duration + kTickLength - base::Duration{1}) / kTickLength;
    return static_cast<Tick>(std::clamp<std::int64_t>(ticks, 1, 1u << 30));
}

Reactor::Reactor(boost::asio::io_context& context)
    : context_(context),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      set_(context.get_executor()),
      timer_(context.get_executor()),
      wheel_(kSlots) {
    if (epoll_ < 0) {
        throw std::system_error(errno, std::generic_category(), "epoll_create1");
    }
    set_.assign(epoll_);
    events_.resize(kEventsPerPoll);
    refresh_clock();
}

Reactor::~Reactor() {
    for (Slot& slot : wheel_) {
        while (slot.next_ != &slot) {
            slot.next_->unlink();
        }
    }
}

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
    schedule_tick();
    await_set();
}

void Reactor::stop() {
    stopped_ = true;
    timer_.cancel();
    set_.cancel();
}

bool Reactor::add(int descriptor, EventTarget& target) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.ptr = &target;
    return epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event) == 0;
}

void Reactor::forget(const EventTarget& target) {
    // Events of this round that were fetched but not delivered yet must not reach an object that is
    // gone.
    for (int i = event_index_; i < event_count_; ++i) {
        if (events_[static_cast<std::size_t>(i)].data.ptr == static_cast<const void*>(&target)) {
            events_[static_cast<std::size_t>(i)].data.ptr = nullptr;
        }
    }
}

void Reactor::await_set() {
    set_.async_wait(boost::asio::posix::descriptor_base::wait_read,
                    [this](const boost::system::error_code& error) {
                        if (!error && !stopped_) {
                            on_set_ready();
                        }
                    });
}

void Reactor::on_set_ready() {
    in_round_ = true;
    for (int round = 0; round < kRoundsPerTurn; ++round) {
        const bool more = poll_once();
        run_ready();
        if (!more && ready_.empty()) {
            break;
        }
    }
    in_round_ = false;
    if (!ready_.empty()) {
        wake();
    }
    // Waiting anew re-arms the set with EPOLL_CTL_MOD, which reports what became ready in between.
    await_set();
}

bool Reactor::poll_once() {
    const int count = epoll_wait(epoll_, events_.data(), kEventsPerPoll, 0);
    if (count <= 0) {
        return false;
    }
    refresh_clock();
    event_count_ = count;
    for (event_index_ = 0; event_index_ < event_count_;) {
        const epoll_event event = events_[static_cast<std::size_t>(event_index_)];
        ++event_index_;  // before delivery: forget() looks at what is left
        if (event.data.ptr != nullptr) {
            static_cast<EventTarget*>(event.data.ptr)->on_events(event.events);
        }
    }
    event_count_ = event_index_ = 0;
    return true;
}

void Reactor::run_ready() {
    // Only what is queued now: a coroutine that yields again waits for the next round, behind
    // everybody's events.
    running_.swap(ready_);
    for (const std::coroutine_handle<> coroutine : running_) {
        coroutine.resume();
    }
    running_.clear();
}

void Reactor::wake() {
    if (in_round_ || wake_posted_) {
        return;
    }
    wake_posted_ = true;
    boost::asio::post(context_.get_executor(), [this] {
        wake_posted_ = false;
        in_round_ = true;
        poll_once();
        run_ready();
        in_round_ = false;
        if (!ready_.empty()) {
            wake();
        }
    });
}

void Reactor::schedule_tick() {
    timer_.expires_after(kTickLength);
    timer_.async_wait([this](const boost::system::error_code& error) {
        if (!error && !stopped_) {
            on_timer();
        }
    });
}

void Reactor::on_timer() {
    const base::TimePoint now = refresh_clock();
    const auto passed = std::chrono::duration_cast<base::Duration>(now - last_tick_);
    last_tick_ = now;
    Tick advance = 1;
    if (passed < kStall) {
        remainder_ += passed;
        advance = static_cast<Tick>(remainder_ / kTickLength);
        remainder_ %= kTickLength;
    } else {
        remainder_ = base::Duration{0};
    }
    if (advance > 1 || passed >= kStall) {
        // What arrived while we stood still is looked at before anybody is declared late.
        poll_once();
        run_ready();
    }
    for (Tick i = 0; i < advance; ++i) {
        ++now_;
        turn_wheel();
    }
    if (on_tick_ != nullptr) {
        on_tick_(tick_context_);
    }
    schedule_tick();
}

void Reactor::link(TimerNode& node) {
    node.linked_at_ = node.deadline_;
    Slot& slot = wheel_[node.deadline_ % kSlots];
    node.next_ = &slot;
    node.previous_ = slot.previous_;
    slot.previous_->next_ = &node;
    slot.previous_ = &node;
}

void Reactor::arm(TimerNode& node, Tick after) {
    node.armed_ = true;
    // One more tick: the present one has partly passed, and a limit fires late rather than early.
    node.deadline_ = now_ + after + 1;
    if (node.is_linked()) {
        if (static_cast<std::int32_t>(node.linked_at_ - node.deadline_) <= 0) {
            return;  // looked at again when the old slot comes up
        }
        node.unlink();
    }
    link(node);
}

void Reactor::turn_wheel() {
    Slot& slot = wheel_[now_ % kSlots];
    // The list is moved aside first: handlers arm, disarm and destroy nodes of this very slot.
    Slot due;
    if (slot.next_ == &slot) {
        return;
    }
    due.next_ = slot.next_;
    due.previous_ = slot.previous_;
    due.next_->previous_ = &due;
    due.previous_->next_ = &due;
    slot.next_ = slot.previous_ = &slot;
    while (due.next_ != &due) {
        TimerNode& node = *due.next_;
        node.unlink();
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
