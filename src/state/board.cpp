#include "s3gate/state/board.hpp"

#include <algorithm>

namespace s3gate::state {
namespace {

template <template <class> class Figures>
void set_to_zero(Figures<Counter>& figures) {
    Figures<Counter>::visit(figures, [](auto, std::span<Counter> cells, auto) {
        for (Counter& cell : cells) {
            cell.store(0, std::memory_order_relaxed);
        }
    });
}

}  // namespace

Board::Board(std::size_t workers, std::size_t slots, std::size_t groups, std::size_t sites,
             std::size_t servers) {
    workers_.reserve(workers);
    for (std::size_t i = 0; i < workers; ++i) {
        workers_.push_back(std::make_unique<Row>());
    }
    const auto add = [this](CellKind kind, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
            add_cell(kind);
        }
    };
    add(CellKind::backend, slots);
    add(CellKind::group, groups);
    add(CellKind::site, sites);
    add(CellKind::server, servers);
}

void Board::count_buckets(std::size_t most) {
    if (most > 0) {
        buckets_ = std::make_unique<BucketFigures>(workers_.size(), most);
    }
}

template <class Shared, class OfWorker>
bool Board::grow(Shared& shared, OfWorker Row::* of_worker) {
    for (const auto& row : workers_) {
        if (!((*row).*of_worker).add()) {
            return false;
        }
    }
    return shared.add();
}

std::optional<CellId> Board::add_cell(CellKind kind) {
    std::uint32_t index = 0;
    switch (kind) {
        case CellKind::backend:
            index = static_cast<std::uint32_t>(slots_.size());
            if (!grow(slots_, &Row::slots)) {
                return std::nullopt;
            }
            clean_slot(index);
            break;
        case CellKind::group:
            index = static_cast<std::uint32_t>(groups_.size());
            if (!grow(groups_, &Row::groups)) {
                return std::nullopt;
            }
            clean_group(index);
            break;
        case CellKind::site:
            index = static_cast<std::uint32_t>(sites_.size());
            if (!grow(sites_, &Row::sites)) {
                return std::nullopt;
            }
            for (const auto& row : workers_) {
                row->site_figures.add();
            }
            break;
        case CellKind::server:
            index = static_cast<std::uint32_t>(servers_.size());
            if (!grow(servers_, &Row::servers)) {
                return std::nullopt;
            }
            checks_.add();
            break;
    }
    return CellId{index, 0};
}

// Backends start up: a fresh proxy must not refuse everything until the first checks have ended.
void Board::clean_slot(std::uint32_t index) {
    slots_.at(index, &SlotCells::up).store(true, std::memory_order_relaxed);
    slots_.at(index, &SlotCells::recovering).store(false, std::memory_order_relaxed);
    set_override(index, Override::none);
    set_back_since(index, 0);
    slots_.at(index, &SlotCells::passive).store(0, std::memory_order_relaxed);
}

void Board::clean_group(std::uint32_t index) {
    for (const auto& row : workers_) {
        row->groups.at(index, &GroupRow::retry_tokens)
            .store(policy::initial_tokens(workers_.size()), std::memory_order_relaxed);
        if (const auto& seen = row->groups.at(index, &GroupRow::seen_keys)) {
            seen->clear();
        }
    }
}

// The last owner's workers have let go of the cell, so this thread may write their rows.
void Board::clean_site(std::uint32_t index) {
    for (std::size_t worker = 0; worker < workers_.size(); ++worker) {
        set_to_zero(site_figures(worker, index));
    }
}

void Board::clean_server(std::uint32_t index) {
    set_to_zero(check_figures(index));
    for (std::size_t worker = 0; worker < workers_.size(); ++worker) {
        set_to_zero(server_figures(worker, index));
    }
}

void Board::keep_seen_keys(std::uint32_t group) {
    for (const auto& row : workers_) {
        auto& seen = row->groups.at(group, &GroupRow::seen_keys);
        if (!seen) {
            seen = std::make_unique<SeenKeys>();
        }
    }
}

bool Board::has_seen(std::uint32_t group, std::uint32_t key, std::uint32_t server) const {
    return std::ranges::any_of(workers_, [&](const auto& row) {
        const auto& seen = row->groups.at(group, &GroupRow::seen_keys);
        return seen && seen->has(key, server);
    });
}

CellId Board::renew_cell(CellKind kind, std::uint32_t index) {
    // The in-flight figures are zero already: the cell is at rest.
    switch (kind) {
        case CellKind::backend:
            clean_slot(index);
            break;
        case CellKind::group:
            clean_group(index);
            break;
        case CellKind::site:
            clean_site(index);
            break;
        case CellKind::server:
            clean_server(index);
            break;
    }
    std::atomic<std::uint32_t>& epoch = epoch_of(kind, index);
    const std::uint32_t next = epoch.load(std::memory_order_relaxed) + 1;
    epoch.store(next, std::memory_order_relaxed);
    return {index, next};
}

// Rows are read one after the other without a lock. The sum may be off by the requests that change
// meanwhile; it is exact when none does.
template <class OfWorker, class Array>
std::int64_t Board::sum(OfWorker Row::* chunks, Array array, std::uint32_t index) const {
    std::int64_t total = 0;
    for (const auto& row : workers_) {
        total += ((*row).*chunks).at(index, array).load(std::memory_order_relaxed);
    }
    return total;
}

template <class OfWorker, class Array>
bool Board::is_zero(OfWorker Row::* chunks, Array array, std::uint32_t index) const {
    return std::ranges::all_of(workers_, [&](const auto& row) {
        return ((*row).*chunks).at(index, array).load(std::memory_order_relaxed) == 0;
    });
}

bool Board::is_at_rest(CellKind kind, std::uint32_t index) const {
    switch (kind) {
        case CellKind::backend:
            return occupied(index) == 0 && is_zero(&Row::slots, &SlotRow::in_flight, index);
        case CellKind::group:
            return waiting(index) == 0 && is_zero(&Row::groups, &GroupRow::requests, index) &&
                   is_zero(&Row::groups, &GroupRow::retries, index) &&
                   is_zero(&Row::groups, &GroupRow::first_waiting, index);
        case CellKind::site:
            return is_zero(&Row::sites, &SiteRow::connections, index);
        case CellKind::server:
            return true;  // nothing is in progress there: its addresses have cells of their own
    }
    return false;
}

std::int64_t Board::in_flight(std::uint32_t slot) const {
    return sum(&Row::slots, &SlotRow::in_flight, slot);
}

std::int64_t Board::group_requests(std::uint32_t group) const {
    return sum(&Row::groups, &GroupRow::requests, group);
}

std::int64_t Board::group_retries(std::uint32_t group) const {
    return sum(&Row::groups, &GroupRow::retries, group);
}

std::int64_t Board::site_connections(std::uint32_t site) const {
    return sum(&Row::sites, &SiteRow::connections, site);
}

std::int64_t Board::all_retry_tokens(std::uint32_t group) const {
    return sum(&Row::groups, &GroupRow::retry_tokens, group);
}

bool Board::try_occupy(std::uint32_t cell, std::int32_t most) {
    std::atomic<std::int32_t>& requests = slots_.at(cell, &SlotCells::occupied);
    std::int32_t now = requests.load();
    while (now < most) {
        if (requests.compare_exchange_weak(now, now + 1)) {
            return true;
        }
    }
    return false;
}

std::optional<std::size_t> Board::longest_waiting(std::uint32_t group) const {
    std::optional<std::size_t> found;
    std::uint64_t longest = 0;
    for (std::size_t i = 0; i < workers_.size(); ++i) {
        const std::uint64_t since = workers_[i]->groups.at(group, &GroupRow::first_waiting).load();
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
        if (workers_[next]->groups.at(group, &GroupRow::first_waiting).load() != 0) {
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

std::int64_t Board::paused_listeners() const {
    std::int64_t total = 0;
    for (const auto& row : workers_) {
        total += row->counters.paused_listeners.load(std::memory_order_relaxed);
    }
    return total;
}

std::string Board::leftovers() const {
    std::string text;
    const auto name = [&text](const std::string& what) {
        text += (text.empty() ? "" : "; ") + what;
    };
    const auto name_all = [&name](const auto& chunks, auto array, const std::string& whose,
                                  const char* what) {
        for (std::uint32_t i = 0; i < chunks.size(); ++i) {
            const auto value = chunks.at(i, array).load(std::memory_order_relaxed);
            if (value != 0) {
                name(whose + std::to_string(value) + what + std::to_string(i));
            }
        }
    };
    for (std::size_t worker = 0; worker < workers_.size(); ++worker) {
        const std::string whose = "worker " + std::to_string(worker) + ": ";
        const Row& row = *workers_[worker];
        name_all(row.slots, &SlotRow::in_flight, whose, " at backend cell ");
        name_all(row.groups, &GroupRow::requests, whose, " requests of group cell ");
        name_all(row.groups, &GroupRow::retries, whose, " retries of group cell ");
        name_all(row.sites, &SiteRow::connections, whose, " connections of site cell ");
        for (std::uint32_t i = 0; i < row.groups.size(); ++i) {
            if (row.groups.at(i, &GroupRow::first_waiting).load() != 0) {
                name(whose + "somebody waiting in group cell " + std::to_string(i));
            }
        }
        if (const auto open = row.counters.connections.load(std::memory_order_relaxed); open != 0) {
            name(whose + std::to_string(open) + " connections");
        }
    }
    name_all(slots_, &SlotCells::occupied, "", " occupying backend cell ");
    name_all(groups_, &GroupCells::waiting, "", " waiting in group cell ");
    return text;
}

std::uint64_t Board::total(Counter WorkerCounterCells::* cell) const {
    std::uint64_t total = 0;
    for (const auto& row : workers_) {
        total += (row->counters.*cell).load(std::memory_order_relaxed);
    }
    return total;
}

}  // namespace s3gate::state
