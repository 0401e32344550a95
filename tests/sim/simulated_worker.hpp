// One real worker with its board on the current Network: what it is given, its turns, and the state
// it must be left in. Its parts are out of sight, because of what their headers cost to compile.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "s3gate/state/board.hpp"
#include "s3gate/state/counters.hpp"

namespace s3gate::state {
struct Snapshot;
}

namespace s3gate::sim {

// What a worker is given besides the configuration of its sites.
struct WorkerSetup {
    int listener = -1;  // a listening socket of the current Network, of the first site
    std::string hostname = "sim-proxy";
    std::uint64_t connection_limit = 100;
    std::size_t parked_limit = 64;
    std::size_t replay_memory = 1024 * 1024;
    std::size_t begins_per_round = 0;  // requests that begin in one round; 0 = the daemon's own
    bool has_access_log = true;        // its lines: access_lines.hpp
};

class SimulatedWorker {
  public:
    // Cells of the board: the snapshot may name as many.
    static constexpr std::size_t kSlots = 32;
    static constexpr std::size_t kGroups = 2;
    static constexpr std::size_t kSites = 2;

    SimulatedWorker(std::shared_ptr<const state::Snapshot> snapshot, const WorkerSetup& setup);
    ~SimulatedWorker();  // every descriptor and pipe must be given back
    SimulatedWorker(const SimulatedWorker&) = delete;
    SimulatedWorker& operator=(const SimulatedWorker&) = delete;

    // One round of the event loop.
    void turn();
    // The next round has something to do without any event.
    bool is_busy() const;
    void use_snapshot(std::shared_ptr<const state::Snapshot> snapshot);
    // `slot` is the backend's cell on the board.
    void set_up(std::size_t slot, bool up);
    void take_down(state::CellId backend);
    // Room that another worker held and passes on; held_room() says how much is held there.
    void hold_room(state::CellId room);
    void receive_room(state::CellId group, state::CellId room);
    std::int32_t held_room(state::CellId room) const;
    bool is_marked(std::size_t slot) const;
    void drain();
    void stop();
    // Hands over the lines of the access log that are ready.
    void flush_log();
    std::size_t clients() const;
    // Requests in progress that clients asked for, and retries among them.
    std::int64_t requests() const;
    std::int64_t retries() const;
    std::uint64_t total(state::Counter state::WorkerCounterCells::* counter) const;
    // Of a stop: requests, tunnels; of a drain: answers that wait by nature.
    std::uint64_t cut_requests() const;
    std::uint64_t cut_tunnels() const;
    std::uint64_t ended_answers() const;
    // It was told to end and has: nothing moves it any more.
    bool is_finished() const;
    // What is counted, held or running, in words. Empty when the last client is gone.
    std::string leftovers() const;

  private:
    struct Parts;
    std::unique_ptr<Parts> parts_;
};

// Length of a tick of the worker's clock.
inline constexpr std::chrono::milliseconds kTick{250};

}  // namespace s3gate::sim
