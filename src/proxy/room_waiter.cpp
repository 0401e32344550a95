// The wait for room at a server (backends.max_connections): a queue per worker and group, first
// come first served, bounded in number and time. Room that is given back stays held and passes to
// the worker whose first waiting request has waited longest, so a later request cannot take it in
// between.
#include <algorithm>
#include <utility>

#include "room_waiter.hpp"

namespace s3gate::proxy {
namespace {

// Waiting requests that may look again per tick while no server has room.
constexpr unsigned kLooksPerTick = 64;

}  // namespace

void Worker::begin_waiting(RoomWaiter& waiter) {
    const std::uint32_t group = waiter.group();
    WaitingQueue& queue = waiting_[group];
    queue.push_back(waiter);
    ++waiting_count_;
    if (&queue.front() == &waiter) {
        shared.board->set_first_waiting(index, group, waiter.since());
    }
}

void Worker::end_waiting(RoomWaiter& waiter) {
    const std::uint32_t group = waiter.group();
    WaitingQueue& queue = waiting_[group];
    const bool was_first = &queue.front() == &waiter;
    queue.erase(queue.iterator_to(waiter));
    --waiting_count_;
    if (was_first) {
        shared.board->set_first_waiting(index, group, queue.empty() ? 0 : queue.front().since());
    }
    shared.board->add_waiting(group, -1);
}

void Worker::vacate(const state::Group& group, const state::GroupServer& server) {
    state::Board& board = *shared.board;
    board.vacate(server.room.index);
    if (board.waiting(group.cell) == 0) {
        return;
    }
    const auto target = board.longest_waiting(group.cell);
    // A request that takes the room here in between will pass it on in turn.
    if (!target ||
        !board.try_occupy(server.room.index, static_cast<std::int32_t>(server.max_connections))) {
        return;
    }
    const std::size_t hops = board.worker_count();
    if (*target == index) {
        receive_room(group.id(), server.room, hops);
    } else {
        shared.workers[*target].post_room(group.id(), server.room, hops);
    }
}

void Worker::receive_room(state::CellId group, state::CellId room, std::size_t hops) {
    state::Board& board = *shared.board;
    if (!board.is_current(state::CellKind::backend, room)) {
        return;  // held room keeps its cell, so a message for an earlier owner holds no room
    }
    // No request waits in a group that is gone.
    const bool is_known =
        board.is_current(state::CellKind::group, group) && group.index < waiting_.size();
    if (is_known) {
        for (RoomWaiter& waiter : waiting_[group.index]) {
            if (waiter.take_room(room.index)) {
                return;
            }
        }
    }
    // The request left meanwhile, or cannot use this server (it has tried it, or the server is
    // down).
    const auto next = hops > 1 && is_known ? board.next_waiting(index, group.index) : std::nullopt;
    if (next) {
        shared.workers[*next].post_room(group, room, hops - 1);
    } else {
        board.vacate(room.index);
    }
}

void Worker::look_for_room() {
    if (waiting_count_ == 0) {
        return;
    }
    for (WaitingQueue& queue : waiting_) {
        unsigned looks = 0;
        for (auto next = queue.begin(); next != queue.end() && looks < kLooksPerTick;) {
            looks += (next++)->look_for_room() ? 0 : 1;
        }
    }
}

bool RoomWaiter::take_room(std::uint32_t cell) {
    if (!choice_.take_room(cell, sent_)) {
        return false;
    }
    stop(Pick::found);
    return true;
}

bool RoomWaiter::look_for_room() {
    const Pick pick = choice_.pick_anew(sent_);
    if (pick == Pick::full) {
        return false;
    }
    stop(pick);
    return true;
}

void RoomWaiter::give_up() {
    if (is_waiting_) {
        stop(Pick::gone);
    }
}

void RoomWaiter::stop(Pick result) {
    is_waiting_ = false;
    result_ = result;
    net::Reactor::disarm(limit_);
    context_.worker.end_waiting(*this);
    if (waiter_) {
        context_.worker.reactor.post(std::exchange(waiter_, nullptr));
    }
}

net::task<Pick> RoomWaiter::wait() {
    Worker& worker = context_.worker;
    state::Board& board = *worker.shared.board;
    const config::Backends& backends = *context_.group().backends;
    if (board.add_waiting(group(), 1) >= static_cast<std::int32_t>(backends.queue)) {
        board.add_waiting(group(), -1);
        co_return Pick::overflow;
    }
    state::bump(worker.counters.queued);
    const base::TimePoint begin = worker.reactor.refresh_clock();
    since_ = std::max<std::uint64_t>(worker.reactor.now_ms(), 1);
    is_waiting_ = true;
    worker.begin_waiting(*this);
    // Room may have been given back before this request was in the queue.
    if (!look_for_room()) {
        worker.reactor.arm(limit_, net::ticks_of(backends.queue_timeout));
        struct Wait {
            RoomWaiter& waiter;
            bool await_ready() const noexcept { return false; }
            void await_suspend(std::coroutine_handle<> self) const { waiter.waiter_ = self; }
            void await_resume() const noexcept {}
        };
        co_await Wait{*this};
    }
    worker.reactor.refresh_clock();
    std::int64_t& queued = context_.record.queued_ms;
    queued = std::max<std::int64_t>(queued, 0) + context_.since(begin).count();
    if (context_.is_abandoned()) {
        choice_.room().release();
        co_return Pick::gone;
    }
    co_return result_;
}

}  // namespace s3gate::proxy
