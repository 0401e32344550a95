// One real worker with its board on the current Network: its inputs, its turns, and the state at
// its end. The implementation is hidden, because its headers are slow to compile.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "s3gate/state/board.hpp"
#include "s3gate/state/counters.hpp"

namespace s3gate::state {
struct Address;
struct Snapshot;
}  // namespace s3gate::state

namespace s3gate::sim {

// Inputs of a worker besides the configuration of its sites.
struct WorkerSetup {
    int listener = -1;  // a listening socket of the current Network, of the first site
    std::string hostname = "sim-proxy";
    std::uint64_t connection_limit = 100;
    std::size_t parked_limit = 64;
    std::size_t replay_memory = 1024 * 1024;
    std::size_t begins_per_round = 0;  // requests that begin in one round; 0 = the daemon's own
    bool has_access_log = true;        // lines go to access_lines.hpp
};

class SimulatedWorker {
  public:
    // Cells of the board: limit for the snapshot.
    static constexpr std::size_t kSlots = 32;
    static constexpr std::size_t kGroups = 2;
    static constexpr std::size_t kSites = 2;
    static constexpr std::size_t kServers = kSlots;

    SimulatedWorker(std::shared_ptr<const state::Snapshot> snapshot, const WorkerSetup& setup);
    ~SimulatedWorker();  // checks that every descriptor and pipe was given back
    SimulatedWorker(const SimulatedWorker&) = delete;
    SimulatedWorker& operator=(const SimulatedWorker&) = delete;

    // One round of the event loop.
    void turn();
    // True if the next round has work without any event.
    bool is_busy() const;
    // With those of its listeners whose address the snapshot has.
    void use_snapshot(std::shared_ptr<const state::Snapshot> snapshot);
    // One more listener, from the next use_snapshot() on: a socket for that address of a snapshot.
    void add_listener(int socket, const state::Address& address);
    // The address left: the oldest listener is forgotten, and its socket closed.
    void close_listener();
    // `slot` is the backend's cell on the board.
    void set_up(std::size_t slot, bool up);
    void take_down(state::CellId backend);
    // What an operator commands for a server, as the control thread passes it on.
    void command(state::CellId backend, state::Override what);
    // Passes on room that another worker held; held_room() is the held number there.
    void hold_room(state::CellId room);
    void receive_room(state::CellId group, state::CellId room);
    std::int32_t held_room(state::CellId room) const;
    bool is_marked(std::size_t slot) const;
    void drain();
    void stop();
    // Hands over the finished lines of the access log.
    void flush_log();
    std::size_t clients() const;
    // Requests in progress, and the retries among them.
    std::int64_t requests() const;
    std::int64_t retries() const;
    std::uint64_t total(state::Counter state::WorkerCounterCells::* counter) const;
    // Numbers cut by a stop: requests, tunnels; ended by a drain: answers that wait for events.
    std::uint64_t cut_requests() const;
    std::uint64_t cut_tunnels() const;
    std::uint64_t ended_answers() const;
    // True if it was told to end and has ended.
    bool is_finished() const;
    // Text of all that is counted, held or running. Empty when the last client is gone.
    std::string leftovers() const;

  private:
    struct Parts;
    std::unique_ptr<Parts> parts_;
};

// Length of a tick of the worker's clock.
inline constexpr std::chrono::milliseconds kTick{250};

}  // namespace s3gate::sim
