#include "s3gate/proxy/board.hpp"

namespace s3gate::proxy {

Board::Board(std::size_t workers, std::size_t slots, std::size_t groups)
    : slots_(slots),
      groups_(groups),
      up_(slots),
      recovering_(slots),
      passive_(slots),
      occupied_(slots),
      waiting_(groups),
      arriving_(workers) {
    workers_.reserve(workers);
    for (std::size_t i = 0; i < workers; ++i) {
        workers_.push_back(std::make_unique<Row>(slots, groups));
        for (std::atomic<std::int32_t>& cell : workers_.back()->retry_tokens) {
            cell.store(policy::initial_tokens(workers), std::memory_order_relaxed);
        }
    }
    // Backends start up: a proxy that was just started must not refuse everything until the first
    // checks are done.
    for (std::atomic<bool>& cell : up_) {
        cell.store(true, std::memory_order_relaxed);
    }
}

// The rows are read one after the other without a lock: while requests come and go the sum may be
// off by those that moved meanwhile, and is exact when nothing moves.
template <class Array>
std::int64_t Board::sum(Array Row::*cells, std::uint32_t index) const {
    std::int64_t total = 0;
    for (const auto& row : workers_) {
        total += ((*row).*cells)[index].load(std::memory_order_relaxed);
    }
    return total;
}

std::int64_t Board::in_flight(std::uint32_t slot) const {
    return sum(&Row::in_flight, slot);
}

std::int64_t Board::group_requests(std::uint32_t group) const {
    return sum(&Row::group_requests, group);
}

std::int64_t Board::group_retries(std::uint32_t group) const {
    return sum(&Row::group_retries, group);
}

std::int64_t Board::site_connections(std::uint32_t group) const {
    return sum(&Row::site_connections, group);
}

std::int64_t Board::all_retry_tokens(std::uint32_t group) const {
    return sum(&Row::retry_tokens, group);
}

bool Board::try_occupy(std::uint32_t cell, std::int32_t most) {
    std::int32_t now = occupied_[cell].load();
    while (now < most) {
        if (occupied_[cell].compare_exchange_weak(now, now + 1)) {
            return true;
        }
    }
    return false;
}

std::optional<std::size_t> Board::longest_waiting(std::uint32_t group) const {
    std::optional<std::size_t> found;
    std::uint64_t longest = 0;
    for (std::size_t i = 0; i < workers_.size(); ++i) {
        const std::uint64_t since = workers_[i]->first_waiting[group].load();
        if (since != 0 && (!found || since < longest)) {
            found = i;
            longest = since;
        }
    }
    return found;
}

std::optional<std::size_t> Board::next_waiting(std::size_t worker, std::uint32_t group) const {
    for (std::size_t i = 1; i < workers_.size(); ++i) {
        const std::size_t next = (worker + i) % workers_.size();
        if (workers_[next]->first_waiting[group].load() != 0) {
            return next;
        }
    }
    return std::nullopt;
}

std::int64_t Board::connections() const {
    std::int64_t total = 0;
    for (const auto& row : workers_) {
        total += row->counters.connections.load(std::memory_order_relaxed);
    }
    return total;
}

std::string Board::leftovers() const {
    std::string text;
    const auto name = [&text](const std::string& what) {
        text += (text.empty() ? "" : "; ") + what;
    };
    const auto name_all = [&name](const auto& cells, std::size_t count, const std::string& whose,
                                  const char* what) {
        for (std::size_t i = 0; i < count; ++i) {
            if (const auto value = cells[i].load(std::memory_order_relaxed); value != 0) {
                name(whose + std::to_string(value) + what + std::to_string(i));
            }
        }
    };
    for (std::size_t worker = 0; worker < workers_.size(); ++worker) {
        const std::string whose = "worker " + std::to_string(worker) + ": ";
        const Row& row = *workers_[worker];
        name_all(row.in_flight, slots_, whose, " at backend cell ");
        name_all(row.group_requests, groups_, whose, " requests of group cell ");
        name_all(row.group_retries, groups_, whose, " retries of group cell ");
        name_all(row.site_connections, groups_, whose, " connections of group cell ");
        for (std::size_t i = 0; i < groups_; ++i) {
            if (row.first_waiting[i].load() != 0) {
                name(whose + "somebody waiting in group cell " + std::to_string(i));
            }
        }
        if (const auto open = row.counters.connections.load(std::memory_order_relaxed); open != 0) {
            name(whose + std::to_string(open) + " connections");
        }
    }
    name_all(occupied_, slots_, "", " occupying backend cell ");
    name_all(waiting_, groups_, "", " waiting in group cell ");
    return text;
}

std::uint64_t Board::total(Counter WorkerCounterCells::*cell) const {
    std::uint64_t total = 0;
    for (const auto& row : workers_) {
        total += (row->counters.*cell).load(std::memory_order_relaxed);
    }
    return total;
}

}  // namespace s3gate::proxy
