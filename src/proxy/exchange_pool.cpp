#include "exchange_pool.hpp"

#include <algorithm>
#include <utility>

#include "exchange.hpp"

namespace s3gate::proxy {
namespace {

constexpr std::size_t kIdleExchanges = 64;  // always kept for reuse
constexpr unsigned kStretch = 8;            // in ticks (2 s): how long memory of a burst is kept

}  // namespace

ExchangePool::ExchangePool(Worker& worker) : worker_(worker) {}

ExchangePool::~ExchangePool() = default;

ExchangeSlot& ExchangePool::begin(ClientConnection& client, base::TimePoint asked_at) {
    ExchangeSlot* slot = nullptr;  // end() recycles it
    if (idle_.empty()) {
        slot = new ExchangeSlot(worker_);
    } else {
        slot = idle_.back().release();
        idle_.pop_back();
    }
    active_.push_front(slot->exchange.emplace(worker_, client, asked_at, slot->memory));
    most_ = std::max(most_, active_.size());
    return *slot;
}

void ExchangePool::end(ExchangeSlot& slot) {
    active_.erase(active_.iterator_to(*slot.exchange));
    slot.exchange.reset();
    if (idle_.size() + active_.size() < to_keep()) {
        idle_.emplace_back(&slot);
    } else {
        delete &slot;
    }
}

// With a thousand requests in progress, as many objects are needed again at once. Freeing and
// making them would cost half as many instructions as the rest of a small request.
std::size_t ExchangePool::to_keep() const {
    return std::max({kIdleExchanges, most_, most_before_});
}

void ExchangePool::on_tick() {
    if (++ticks_ < kStretch) {
        return;
    }
    ticks_ = 0;
    most_before_ = std::exchange(most_, active_.size());
    while (!idle_.empty() && idle_.size() + active_.size() > to_keep()) {
        idle_.pop_back();
    }
}

}  // namespace s3gate::proxy
