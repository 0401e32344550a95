// Waiting for room at a server (backends.max_connections): a queue per worker and group, first come
// first served, bounded in number and time. Who gives room back passes it on, held, to the worker
// whose first has waited longest, so nobody who comes later takes it on the way.
#include <algorithm>
#include <utility>

#include "client_connection.hpp"
#include "exchange.hpp"

namespace s3gate::proxy {
namespace {

// Waiting requests that one tick lets look again while nothing has room for them.
constexpr unsigned kLooksPerTick = 64;

}  // namespace

void Worker::Impl::begin_waiting(Exchange& exchange) {
    const std::uint32_t group = exchange.waiting_group();
    Waiting& queue = waiting[group];
    exchange.next_waiting = nullptr;
    exchange.previous_waiting = queue.last;
    (queue.last != nullptr ? queue.last->next_waiting : queue.first) = &exchange;
    queue.last = &exchange;
    ++waiting_count;
    if (queue.first == &exchange) {
        shared.board->set_first_waiting(index, group, exchange.waiting_since());
    }
}

void Worker::Impl::end_waiting(Exchange& exchange) {
    const std::uint32_t group = exchange.waiting_group();
    Waiting& queue = waiting[group];
    const bool was_first = queue.first == &exchange;
    (exchange.previous_waiting != nullptr ? exchange.previous_waiting->next_waiting : queue.first) =
        exchange.next_waiting;
    (exchange.next_waiting != nullptr ? exchange.next_waiting->previous_waiting : queue.last) =
        exchange.previous_waiting;
    --waiting_count;
    if (was_first) {
        shared.board->set_first_waiting(index, group,
                                        queue.first != nullptr ? queue.first->waiting_since() : 0);
    }
    shared.board->add_waiting(group, -1);
}

void Worker::Impl::vacate(std::uint32_t group, std::uint32_t cell, std::int32_t most) {
    Board& board = *shared.board;
    board.vacate(cell);
    if (board.waiting(group) == 0) {
        return;
    }
    const auto target = board.longest_waiting(group);
    // Somebody who takes the room here, in between, passes it on in turn.
    if (!target || !board.try_occupy(cell, most)) {
        return;
    }
    const std::size_t hops = board.worker_count();
    if (*target == index) {
        receive_room(group, cell, hops);
    } else {
        shared.workers[*target]->post_room(group, cell, hops);
    }
}

void Worker::Impl::receive_room(std::uint32_t group, std::uint32_t cell, std::size_t hops) {
    for (Exchange* exchange = waiting[group].first; exchange != nullptr;
         exchange = exchange->next_waiting) {
        if (exchange->take_room(cell)) {
            return;
        }
    }
    // It left meanwhile, or cannot use this server (it tried it, or the server is down now).
    const auto next = hops > 1 ? shared.board->next_waiting(index, group) : std::nullopt;
    if (next) {
        shared.workers[*next]->post_room(group, cell, hops - 1);
    } else {
        shared.board->vacate(cell);
    }
}

void Worker::Impl::look_for_room() {
    if (waiting_count == 0) {
        return;
    }
    for (Waiting& queue : waiting) {
        unsigned looks = 0;
        for (Exchange* exchange = queue.first; exchange != nullptr && looks < kLooksPerTick;) {
            Exchange* const following = exchange->next_waiting;
            looks += exchange->look_for_room() ? 0 : 1;
            exchange = following;
        }
    }
}

bool Exchange::take_room(std::uint32_t cell) {
    const auto server = std::ranges::find_if(group_->servers, [&](const GroupServer& candidate) {
        return candidate.max_connections > 0 && candidate.room == cell;
    });
    if (server == group_->servers.end()) {
        return false;
    }
    bool ignore_health = false;
    if (!has_candidate(false)) {
        if (!may_ignore_health()) {
            return false;
        }
        ignore_health = true;
    }
    const auto is_usable = [&](std::uint32_t peer) { return is_candidate(peer, ignore_health); };
    if (std::ranges::none_of(server->peers(), is_usable)) {
        return false;
    }
    peer_ = choose_address(*server, ignore_health);
    if (!claim_peer()) {
        return false;
    }
    held_server_ = static_cast<std::uint32_t>(server - group_->servers.begin());
    stop_waiting(Pick::found);
    return true;
}

bool Exchange::look_for_room() {
    walk_begun_ = false;  // from the key's own server again
    const Pick pick = pick_peer();
    if (pick == Pick::full) {
        return false;
    }
    stop_waiting(pick);
    return true;
}

void Exchange::stop_waiting(Pick result) {
    is_waiting_ = false;
    wait_result_ = result;
    net::Reactor::disarm(wait_limit_);
    worker_.end_waiting(*this);
    if (waiter_) {
        worker_.reactor.post(std::exchange(waiter_, nullptr));
    }
}

// The request's body is not read meanwhile, and it holds nothing at any server.
net::task<Exchange::Pick> Exchange::wait_for_room() {
    Board& board = *worker_.shared.board;
    const config::Backends& backends = *group_->backends;
    if (board.add_waiting(group_->cell, 1) >= static_cast<std::int32_t>(backends.queue)) {
        board.add_waiting(group_->cell, -1);
        co_return Pick::overflow;
    }
    bump(worker_.counters.queued);
    const base::TimePoint begin = worker_.reactor.refresh_clock();
    waiting_since_ = std::max<std::uint64_t>(worker_.reactor.now_ms(), 1);
    is_waiting_ = true;
    worker_.begin_waiting(*this);
    // Room that was given back before we could be seen waiting.
    if (!look_for_room()) {
        worker_.reactor.arm(wait_limit_, net::ticks_of(backends.queue_timeout));
        struct Wait {
            Exchange& exchange;
            bool await_ready() const noexcept { return false; }
            void await_suspend(std::coroutine_handle<> self) const { exchange.waiter_ = self; }
            void await_resume() const noexcept {}
        };
        co_await Wait{*this};
    }
    const auto waited =
        std::chrono::duration_cast<base::Duration>(worker_.reactor.refresh_clock() - begin);
    record_.queued_ms = std::max<std::int64_t>(record_.queued_ms, 0) + waited.count();
    if (client_gone_ || cut_) {
        release_slot();
        co_return Pick::gone;
    }
    co_return wait_result_;
}

net::task<void> Exchange::reply_busy(Pick pick) {
    if (pick == Pick::timed_out) {
        bump(worker_.counters.queue_timeouts);
    } else {
        bump(worker_.counters.queue_full);
    }
    co_await reply(503, "SlowDown", "The storage servers are busy, reduce your request rate.",
                   false);
    record_.error = pick == Pick::timed_out ? "backend queue timeout" : "backend queue full";
}

}  // namespace s3gate::proxy
