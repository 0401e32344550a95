// The few cells that threads share: health verdicts, requests in flight, passive marks, counters.
// Fixed arrays of relaxed atomics made once for the life of the process; rows that one worker
// writes stand on cache lines of their own. All in-flight figures sum to zero when nothing is going
// on. Any thread may read; the comments say who writes.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "s3gate/policy/passive_fails.hpp"
#include "s3gate/policy/retry_tokens.hpp"
#include "s3gate/proxy/counters.hpp"

namespace s3gate::proxy {

class Board {
  public:
    // `slots`: room for backends (resolved addresses) over the whole life, also of later
    // configurations; `groups` likewise.
    Board(std::size_t workers, std::size_t slots, std::size_t groups);

    std::size_t slot_count() const { return slots_; }
    std::size_t group_count() const { return groups_; }
    std::size_t worker_count() const { return workers_.size(); }

    // Active checks; written by the control thread. Backends start up.
    bool is_up(std::uint32_t slot) const { return up_[slot].load(std::memory_order_relaxed); }
    void set_up(std::uint32_t slot, bool up) { up_[slot].store(up, std::memory_order_relaxed); }
    // Down, but the last check passed: not yet `rise` of them.
    bool is_recovering(std::uint32_t slot) const {
        return recovering_[slot].load(std::memory_order_relaxed);
    }
    void set_recovering(std::uint32_t slot, bool recovering) {
        recovering_[slot].store(recovering, std::memory_order_relaxed);
    }

    // In flight: requests and tunnels at a backend; of a group: client requests, and retries among
    // them. Each worker writes its own row.
    void add_in_flight(std::size_t worker, std::uint32_t slot, std::int32_t by) {
        bump(workers_[worker]->in_flight[slot], by);
    }
    std::int64_t in_flight(std::uint32_t slot) const;
    void add_group_requests(std::size_t worker, std::uint32_t group, std::int32_t by) {
        bump(workers_[worker]->group_requests[group], by);
    }
    std::int64_t group_requests(std::uint32_t group) const;
    void add_group_retries(std::size_t worker, std::uint32_t group, std::int32_t by) {
        bump(workers_[worker]->group_retries[group], by);
    }
    std::int64_t group_retries(std::uint32_t group) const;
    void add_site_connections(std::size_t worker, std::uint32_t group, std::int32_t by) {
        bump(workers_[worker]->site_connections[group], by);
    }
    std::int64_t site_connections(std::uint32_t group) const;
    // What of them this worker serves.
    std::int64_t own_group_requests(std::size_t worker, std::uint32_t group) const {
        return workers_[worker]->group_requests[group].load(std::memory_order_relaxed);
    }

    // Balances of policy/retry_tokens.hpp; each worker writes its own.
    std::int32_t retry_tokens(std::size_t worker, std::uint32_t group) const {
        return workers_[worker]->retry_tokens[group].load(std::memory_order_relaxed);
    }
    void set_retry_tokens(std::size_t worker, std::uint32_t group, std::int32_t balance) {
        workers_[worker]->retry_tokens[group].store(balance, std::memory_order_relaxed);
    }
    std::int64_t all_retry_tokens(std::uint32_t group) const;

    // Room at servers with max_connections: requests in progress over all workers, and who waits
    // for one of them to end (docs/architecture.md "Room at a server"). Any worker. Sequentially
    // consistent: whoever gives room back sees whoever waits, or whoever begins to wait sees the
    // room.
    bool try_occupy(std::uint32_t cell, std::int32_t most);
    void vacate(std::uint32_t cell) { occupied_[cell].fetch_sub(1); }
    std::int32_t occupied(std::uint32_t cell) const { return occupied_[cell].load(); }
    // Requests of a group that wait; returns what it was before.
    std::int32_t add_waiting(std::uint32_t group, std::int32_t by) {
        return waiting_[group].fetch_add(by);
    }
    std::int32_t waiting(std::uint32_t group) const { return waiting_[group].load(); }
    // When the first of a worker's waiting requests began to wait, in milliseconds; 0 = none waits.
    void set_first_waiting(std::size_t worker, std::uint32_t group, std::uint64_t since) {
        workers_[worker]->first_waiting[group].store(since);
    }
    // The worker whose first has waited longest; nullopt when none waits.
    std::optional<std::size_t> longest_waiting(std::uint32_t group) const;
    // The next worker behind `worker`, in a circle, that has somebody waiting.
    std::optional<std::size_t> next_waiting(std::size_t worker, std::uint32_t group) const;

    // Passive marks; any worker, compare-and-swap. In one order for all workers: a limit on all
    // marks of a group holds only if of two workers that mark at once at least one sees the
    // other's.
    policy::PassiveState passive(std::uint32_t slot) const {
        return {passive_[slot].load(std::memory_order_seq_cst)};
    }
    bool replace_passive(std::uint32_t slot, policy::PassiveState expected,
                         policy::PassiveState desired) {
        return passive_[slot].compare_exchange_strong(expected.bits, desired.bits,
                                                      std::memory_order_seq_cst);
    }
    void clear_passive(std::uint32_t slot) { passive_[slot].store(0, std::memory_order_relaxed); }

    // Clients that other workers handed to this one and that it has not taken in yet: they count
    // towards its connections for whoever compares loads. Any worker.
    void add_arriving(std::size_t worker, std::int32_t by) {
        arriving_[worker].fetch_add(by, std::memory_order_relaxed);
    }
    // Connections of one worker, and those on their way to it.
    std::int64_t load_of(std::size_t worker) const {
        return workers_[worker]->counters.connections.load(std::memory_order_relaxed) +
               arriving_[worker].load(std::memory_order_relaxed);
    }

    WorkerCounters& counters(std::size_t worker) { return workers_[worker]->counters; }
    const WorkerCounters& counters(std::size_t worker) const { return workers_[worker]->counters; }
    std::int64_t connections() const;

    // The in-flight figures that are not zero, row by row, in words; empty when nothing is going
    // on, as at the end of all workers. Makes a text: not for the request path.
    std::string leftovers() const;

    // Sum over all workers of one of their counters.
    std::uint64_t total(Counter WorkerCounterCells::*cell) const;

    ControlCounters& control() { return control_; }
    const ControlCounters& control() const { return control_; }

  private:
    // Memory in whole cache lines: what lies beside an array never shares one with it. Rows are
    // written for each request, and so is room at a server where it is limited; marks and verdicts
    // are only looked at.
    template <class Cell>
    struct WholeLines {
        using value_type = Cell;
        static constexpr std::size_t kLine = 64;
        WholeLines() = default;
        template <class Other>
        explicit WholeLines(const WholeLines<Other>&) {}
        Cell* allocate(std::size_t count) {
            const std::size_t bytes = (count * sizeof(Cell) + kLine - 1) / kLine * kLine;
            return static_cast<Cell*>(::operator new (bytes, std::align_val_t{kLine}));
        }
        void deallocate(Cell* cells, std::size_t) {
            ::operator delete (cells, std::align_val_t{kLine});
        }
        bool operator==(const WholeLines&) const { return true; }
    };
    template <class Value>
    using Cells = std::vector<std::atomic<Value>, WholeLines<std::atomic<Value>>>;

    struct alignas(64) Row {
        explicit Row(std::size_t slots, std::size_t groups)
            : in_flight(slots),
              group_requests(groups),
              group_retries(groups),
              site_connections(groups),
              retry_tokens(groups),
              first_waiting(groups) {}
        WorkerCounters counters;
        Cells<std::int32_t> in_flight;
        Cells<std::int32_t> group_requests;
        Cells<std::int32_t> group_retries;
        Cells<std::int32_t> site_connections;
        Cells<std::int32_t> retry_tokens;
        Cells<std::uint64_t> first_waiting;
    };
    template <class Array>
    std::int64_t sum(Array Row::*cells, std::uint32_t index) const;

    ControlCounters control_;
    std::size_t slots_;
    std::size_t groups_;
    std::vector<std::unique_ptr<Row>> workers_;
    Cells<bool> up_;
    Cells<bool> recovering_;
    Cells<std::uint64_t> passive_;
    Cells<std::int32_t> occupied_;
    Cells<std::int32_t> waiting_;
    Cells<std::int32_t> arriving_;
};

}  // namespace s3gate::proxy
