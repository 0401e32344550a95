// The cells that threads share: health verdicts, requests in flight, passive marks, counters. They
// are relaxed atomics in chunks that never move, so the board grows without a lock. Each row has
// one writing worker and cache lines of its own. All in-flight figures are zero when no request is
// in progress. Any thread may read and write cells that it learned of from a snapshot or a message;
// the comments name the writer. SlotDirectory maps names to cells.
#pragma once

#include <array>
#include <atomic>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "s3gate/policy/passive_fails.hpp"
#include "s3gate/policy/retry_tokens.hpp"
#include "s3gate/state/bucket_figures.hpp"
#include "s3gate/state/counters.hpp"
#include "s3gate/state/figures.hpp"
#include "s3gate/state/seen_keys.hpp"

namespace s3gate::state {

// The kind of thing that a cell describes.
// A server has a cell of its own beside those of its
// addresses: what is counted for it outlives an address.
enum class CellKind : std::uint8_t { site, group, backend, server };
inline constexpr std::size_t kCellKinds = 4;

// Index and epoch of a cell. The epoch rises when the cell gets another owner, so a late message
// about the previous owner is recognised.
struct CellId {
    std::uint32_t index = 0;
    std::uint32_t epoch = 0;
    auto operator<=>(const CellId&) const = default;
};

// What an operator has commanded for a server, beside its configuration.
enum class Override : std::uint8_t {
    none,
    keeps_sessions,  // drained, but for the requests of sessions that it has
    drained,         // gets no further request
    down,            // likewise
    maintained,      // likewise
};

class Board {
  public:
    // Limits on the number of cells.
    static constexpr std::size_t kMostSlots = 262'144;
    static constexpr std::size_t kMostGroups = 65'536;
    static constexpr std::size_t kMostSites = 65'536;
    static constexpr std::size_t kMostServers = 262'144;

    // Starts with these numbers of cells, numbered from 0; add_cell() adds more.
    explicit Board(std::size_t workers, std::size_t slots = 0, std::size_t groups = 0,
                   std::size_t sites = 0, std::size_t servers = 0);

    // Number of cells. A slot is a backend's cell. Control thread only.
    std::size_t slot_count() const { return slots_.size(); }
    std::size_t group_count() const { return groups_.size(); }
    std::size_t site_count() const { return sites_.size(); }
    std::size_t server_count() const { return servers_.size(); }
    std::size_t worker_count() const { return workers_.size(); }

    // Adds a clean cell: nothing in flight, up, no mark, the first retry tokens. nullopt when the
    // board is full. Control thread only; other threads must learn of the cell afterwards.
    std::optional<CellId> add_cell(CellKind kind);
    // True if nothing of the cell is in progress: requests, connections, retries, room, waiting
    // requests.
    bool is_at_rest(CellKind kind, std::uint32_t index) const;
    // Resets an unused cell for its next owner and returns its new id. Control thread only.
    CellId renew_cell(CellKind kind, std::uint32_t index);
    // True if the cell still has the owner that the id was made for.
    bool is_current(CellKind kind, CellId id) const {
        return epoch_of(kind, id.index).load(std::memory_order_relaxed) == id.epoch;
    }

    // Verdict of the active checks. Initially up. Written by the control thread.
    bool is_up(std::uint32_t slot) const {
        return slots_.at(slot, &SlotCells::up).load(std::memory_order_relaxed);
    }
    void set_up(std::uint32_t slot, bool up) {
        slots_.at(slot, &SlotCells::up).store(up, std::memory_order_relaxed);
    }
    // True for a backend that is down, passed its last check and has fewer than `rise` passed
    // checks.
    bool is_recovering(std::uint32_t slot) const {
        return slots_.at(slot, &SlotCells::recovering).load(std::memory_order_relaxed);
    }
    void set_recovering(std::uint32_t slot, bool recovering) {
        slots_.at(slot, &SlotCells::recovering).store(recovering, std::memory_order_relaxed);
    }

    // An operator's command for the backend's server. Written by the control thread.
    Override override_of(std::uint32_t slot) const {
        return slots_.at(slot, &SlotCells::override).load(std::memory_order_relaxed);
    }
    void set_override(std::uint32_t slot, Override command) {
        slots_.at(slot, &SlotCells::override).store(command, std::memory_order_relaxed);
    }
    // Time in milliseconds (the clock of Reactor::now_ms) since when requests go to the backend
    // again; 0: it was never away. Written by the control thread.
    std::uint64_t back_since(std::uint32_t slot) const {
        return slots_.at(slot, &SlotCells::back_since).load(std::memory_order_relaxed);
    }
    void set_back_since(std::uint32_t slot, std::uint64_t since) {
        slots_.at(slot, &SlotCells::back_since).store(since, std::memory_order_relaxed);
    }

    // From now on the workers can note the keys of the group's requests. Control thread, before
    // others learn that the group has keys.
    void keep_seen_keys(std::uint32_t group);
    // Those that the worker has noted; null before keep_seen_keys(). The worker itself writes.
    SeenKeys* seen_keys(std::size_t worker, std::uint32_t group) const {
        return workers_[worker]->groups.at(group, &GroupRow::seen_keys).get();
    }
    // True if a worker has noted the key at that server. Any thread.
    bool has_seen(std::uint32_t group, std::uint32_t key, std::uint32_t server) const;

    // In-flight figures. A backend's are requests and tunnels; a group's are client requests, and
    // the retries among them. Each worker writes its own row.
    void add_in_flight(std::size_t worker, std::uint32_t slot, std::int32_t by) {
        bump(workers_[worker]->slots.at(slot, &SlotRow::in_flight), by);
    }
    std::int64_t in_flight(std::uint32_t slot) const;
    void add_group_requests(std::size_t worker, std::uint32_t group, std::int32_t by) {
        bump(workers_[worker]->groups.at(group, &GroupRow::requests), by);
    }
    std::int64_t group_requests(std::uint32_t group) const;
    void add_group_retries(std::size_t worker, std::uint32_t group, std::int32_t by) {
        bump(workers_[worker]->groups.at(group, &GroupRow::retries), by);
    }
    std::int64_t group_retries(std::uint32_t group) const;
    // Client connections of a site.
    void add_site_connections(std::size_t worker, std::uint32_t site, std::int32_t by) {
        bump(workers_[worker]->sites.at(site, &SiteRow::connections), by);
    }
    std::int64_t site_connections(std::uint32_t site) const;
    // The part of group_requests() that this worker serves.
    std::int64_t own_group_requests(std::size_t worker, std::uint32_t group) const {
        return workers_[worker]
            ->groups.at(group, &GroupRow::requests)
            .load(std::memory_order_relaxed);
    }

    // Balances of policy/retry_tokens.hpp. Each worker writes its own.
    std::int32_t retry_tokens(std::size_t worker, std::uint32_t group) const {
        return workers_[worker]
            ->groups.at(group, &GroupRow::retry_tokens)
            .load(std::memory_order_relaxed);
    }
    void set_retry_tokens(std::size_t worker, std::uint32_t group, std::int32_t balance) {
        workers_[worker]
            ->groups.at(group, &GroupRow::retry_tokens)
            .store(balance, std::memory_order_relaxed);
    }
    std::int64_t all_retry_tokens(std::uint32_t group) const;

    // Room at servers with max_connections: requests in progress over all workers, and the requests
    // that wait for one of them to end (docs/architecture.md "Room at a server"). Any worker.
    // Sequentially consistent: either the worker that gives room back sees the waiting request, or
    // the worker that begins to wait sees the room.
    bool try_occupy(std::uint32_t cell, std::int32_t most);
    void vacate(std::uint32_t cell) { slots_.at(cell, &SlotCells::occupied).fetch_sub(1); }
    // Room that requests of another process take or give back. Control thread.
    void add_occupied(std::uint32_t cell, std::int32_t by) {
        slots_.at(cell, &SlotCells::occupied).fetch_add(by);
    }
    std::int32_t occupied(std::uint32_t cell) const {
        return slots_.at(cell, &SlotCells::occupied).load();
    }
    // Changes the number of waiting requests of a group; returns the number before.
    std::int32_t add_waiting(std::uint32_t group, std::int32_t by) {
        return groups_.at(group, &GroupCells::waiting).fetch_add(by);
    }
    std::int32_t waiting(std::uint32_t group) const {
        return groups_.at(group, &GroupCells::waiting).load();
    }
    // Time in milliseconds at which the first of a worker's waiting requests began to wait; 0 = no
    // request waits.
    void set_first_waiting(std::size_t worker, std::uint32_t group, std::uint64_t since) {
        workers_[worker]->groups.at(group, &GroupRow::first_waiting).store(since);
    }
    // The worker whose first waiting request has waited longest; nullopt when no request waits.
    std::optional<std::size_t> longest_waiting(std::uint32_t group) const;
    // The next worker after `worker`, in a circle, that has a waiting request.
    std::optional<std::size_t> next_waiting(std::size_t worker, std::uint32_t group) const;

    // Passive marks; any worker, compare-and-swap. Sequentially consistent: of two workers that
    // mark at the same time, at least one must see the other's mark. Otherwise both could exceed
    // the limit on marks of a group.
    policy::PassiveState passive(std::uint32_t slot) const {
        return {slots_.at(slot, &SlotCells::passive).load(std::memory_order_seq_cst)};
    }
    bool replace_passive(std::uint32_t slot, policy::PassiveState expected,
                         policy::PassiveState desired) {
        return slots_.at(slot, &SlotCells::passive)
            .compare_exchange_strong(expected.bits, desired.bits, std::memory_order_seq_cst);
    }
    void clear_passive(std::uint32_t slot) {
        slots_.at(slot, &SlotCells::passive).store(0, std::memory_order_relaxed);
    }

    // What is counted for a server and for a site (figures.hpp). The worker writes its own row. The
    // control thread writes the figures of the checks.
    ServerFigures<Counter>& server_figures(std::size_t worker, std::uint32_t server) {
        return workers_[worker]->servers.at(server, &ServerRow::figures);
    }
    const ServerFigures<Counter>& server_figures(std::size_t worker, std::uint32_t server) const {
        return workers_[worker]->servers.at(server, &ServerRow::figures);
    }
    ServerFigures<Counter>& check_figures(std::uint32_t server) {
        return checks_.at(server, &ServerRow::figures);
    }
    const ServerFigures<Counter>& check_figures(std::uint32_t server) const {
        return checks_.at(server, &ServerRow::figures);
    }
    SiteFigures<Counter>& site_figures(std::size_t worker, std::uint32_t site) {
        return workers_[worker]->site_figures.at(site, &SiteFiguresRow::figures);
    }
    const SiteFigures<Counter>& site_figures(std::size_t worker, std::uint32_t site) const {
        return workers_[worker]->site_figures.at(site, &SiteFiguresRow::figures);
    }

    // Figures of buckets; null where none are counted apart. Call count_buckets() before there are
    // workers.
    void count_buckets(std::size_t most);
    BucketFigures* buckets() { return buckets_.get(); }
    const BucketFigures* buckets() const { return buckets_.get(); }

    // Clients that other workers handed to this worker and that it has not taken in yet. They count
    // in load_of(). Any worker.
    void add_arriving(std::size_t worker, std::int32_t by) {
        workers_[worker]->arriving.fetch_add(by, std::memory_order_relaxed);
    }
    // Connections of one worker, including those handed to it.
    std::int64_t load_of(std::size_t worker) const {
        return workers_[worker]->counters.connections.load(std::memory_order_relaxed) +
               workers_[worker]->arriving.load(std::memory_order_relaxed);
    }

    WorkerCounters& counters(std::size_t worker) { return workers_[worker]->counters; }
    const WorkerCounters& counters(std::size_t worker) const { return workers_[worker]->counters; }
    std::int64_t connections() const;
    std::int64_t paused_listeners() const;

    // The in-flight figures that are not zero, as text for the log; empty when all are zero, as
    // after the end of all workers. Allocates: not for the request path.
    std::string leftovers() const;

    // Sum over all workers of one of their counters.
    std::uint64_t total(Counter WorkerCounterCells::* cell) const;

    ControlCounters& control() { return control_; }
    const ControlCounters& control() const { return control_; }

  private:
    // Cells of one kind, as parallel arrays in chunks. A chunk is made with the first of its cells
    // and never moves. A thread reads a cell only after the control thread told it of the cell, so
    // the pointers to chunks need no atomics.
    template <class Chunk, std::size_t kMostChunks>
    class Chunked {
      public:
        std::size_t size() const { return size_; }
        // False if there is no room for one more.
        bool add() {
            if (size_ == Chunk::kCells * kMostChunks) {
                return false;
            }
            if (size_ % Chunk::kCells == 0) {
                chunks_[size_ / Chunk::kCells] = std::make_unique<Chunk>();
            }
            ++size_;
            return true;
        }
        template <class Array>
        typename Array::value_type& at(std::uint32_t cell, Array Chunk::* cells) const {
            return ((*chunks_[cell / Chunk::kCells]).*cells)[cell % Chunk::kCells];
        }

      private:
        std::size_t size_ = 0;
        std::array<std::unique_ptr<Chunk>, kMostChunks> chunks_;
    };

    // Chunks and the arrays in them fill whole cache lines, so no array shares a line with its
    // neighbour. Each request writes to rows, and to the room of a limited server. Requests only
    // read marks and verdicts.
    static constexpr std::size_t kLine = 64;
    template <class Value, std::size_t kCount>
    using Cells = std::array<std::atomic<Value>, kCount>;

    struct alignas(kLine) SlotCells {
        static constexpr std::size_t kCells = 1024;
        Cells<bool, kCells> up{};
        Cells<bool, kCells> recovering{};
        Cells<Override, kCells> override{};
        Cells<std::uint64_t, kCells> back_since{};
        Cells<std::uint64_t, kCells> passive{};
        Cells<std::int32_t, kCells> occupied{};
        Cells<std::uint32_t, kCells> epoch{};
    };
    struct alignas(kLine) GroupCells {
        static constexpr std::size_t kCells = 64;
        Cells<std::int32_t, kCells> waiting{};
        Cells<std::uint32_t, kCells> epoch{};
    };
    struct alignas(kLine) SiteCells {
        static constexpr std::size_t kCells = 64;
        Cells<std::uint32_t, kCells> epoch{};
    };
    // Rows that one worker writes.
    struct alignas(kLine) SlotRow {
        static constexpr std::size_t kCells = SlotCells::kCells;
        Cells<std::int32_t, kCells> in_flight{};
    };
    struct alignas(kLine) GroupRow {
        static constexpr std::size_t kCells = GroupCells::kCells;
        Cells<std::int32_t, kCells> requests{};
        Cells<std::int32_t, kCells> retries{};
        Cells<std::int32_t, kCells> retry_tokens{};
        Cells<std::uint64_t, kCells> first_waiting{};
        std::array<std::unique_ptr<SeenKeys>, kCells> seen_keys{};
    };
    struct alignas(kLine) SiteRow {
        static constexpr std::size_t kCells = SiteCells::kCells;
        Cells<std::int32_t, kCells> connections{};
    };
    // The figures of one cell begin on a line of their own, so that a request touches few lines.
    struct ServerRow {
        static constexpr std::size_t kCells = 32;
        struct alignas(kLine) Cell : ServerFigures<Counter> {};
        std::array<Cell, kCells> figures;
    };
    struct SiteFiguresRow {
        static constexpr std::size_t kCells = 4;
        struct alignas(kLine) Cell : SiteFigures<Counter> {};
        std::array<Cell, kCells> figures;
    };
    struct ServerCells {
        static constexpr std::size_t kCells = 1024;
        Cells<std::uint32_t, kCells> epoch{};
    };
    static constexpr std::size_t kSlotChunks = kMostSlots / SlotCells::kCells;
    static constexpr std::size_t kGroupChunks = kMostGroups / GroupCells::kCells;
    static constexpr std::size_t kSiteChunks = kMostSites / SiteCells::kCells;
    static constexpr std::size_t kServerChunks = kMostServers / ServerCells::kCells;
    using ServerRows = Chunked<ServerRow, kMostServers / ServerRow::kCells>;

    struct alignas(kLine) Row {
        WorkerCounters counters;
        Chunked<SlotRow, kSlotChunks> slots;
        Chunked<GroupRow, kGroupChunks> groups;
        Chunked<SiteRow, kSiteChunks> sites;
        Chunked<SiteFiguresRow, kMostSites / SiteFiguresRow::kCells> site_figures;
        ServerRows servers;
        alignas(kLine) std::atomic<std::int32_t> arriving{0};  // other workers write it
    };

    std::atomic<std::uint32_t>& epoch_of(CellKind kind, std::uint32_t index) const {
        return kind == CellKind::backend  ? slots_.at(index, &SlotCells::epoch)
               : kind == CellKind::group  ? groups_.at(index, &GroupCells::epoch)
               : kind == CellKind::server ? servers_.at(index, &ServerCells::epoch)
                                          : sites_.at(index, &SiteCells::epoch);
    }
    // Adds a cell to every array; false if there is no room.
    template <class Shared, class OfWorker>
    bool grow(Shared& shared, OfWorker Row::* of_worker);
    template <class OfWorker, class Array>
    std::int64_t sum(OfWorker Row::* chunks, Array array, std::uint32_t index) const;
    // True if the figure is zero in the row of each worker.
    template <class OfWorker, class Array>
    bool is_zero(OfWorker Row::* chunks, Array array, std::uint32_t index) const;
    void clean_slot(std::uint32_t index);
    void clean_group(std::uint32_t index);
    void clean_site(std::uint32_t index);
    void clean_server(std::uint32_t index);

    ControlCounters control_;
    std::vector<std::unique_ptr<Row>> workers_;
    Chunked<SlotCells, kSlotChunks> slots_;
    Chunked<GroupCells, kGroupChunks> groups_;
    Chunked<SiteCells, kSiteChunks> sites_;
    Chunked<ServerCells, kServerChunks> servers_;
    ServerRows checks_;
    std::unique_ptr<BucketFigures> buckets_;
};

}  // namespace s3gate::state
