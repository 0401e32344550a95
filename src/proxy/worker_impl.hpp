// Inside of a worker: what its connections and exchanges share. One thread.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "s3gate/net/replay_buffer.hpp"
#include "s3gate/policy/balance.hpp"
#include "s3gate/proxy/worker.hpp"

namespace s3gate::proxy {

class Exchange;
class RoomWaiter;
struct ExchangeSlot;
struct ClientConnection;
class Listener;

// Of a drain (docs/architecture.md, "Start, drain, stop"): a connection without a request is closed
// once it was quiet for a second, an endless answer is ended after two.
inline constexpr net::Tick kDrainIdle = 4;
inline constexpr net::Tick kDrainWaiting = 8;

// Timeouts of a site in ticks.
struct SiteTicks {
    net::Tick connect, client_head, client_idle, client_body, client_write, backend_head,
        backend_body, backend_stream, tunnel_idle;
};

// What a worker keeps per group beside the immutable part.
struct GroupState {
    std::vector<policy::SmoothWeight> weights;  // per peer
    net::Tick pool_idle = 0;
};

// What a worker keeps per site beside the immutable part.
struct SiteState {
    SiteTicks ticks{};
    std::vector<GroupState> groups;  // as Site::groups
};

// A snapshot as one worker uses it: counted without atomics, deleted when it is no longer current
// and nobody serves with it.
struct Generation {
    std::shared_ptr<const Snapshot> snapshot;
    std::vector<SiteState> sites;
    std::size_t users = 0;
};

struct Worker::Impl {
    Impl(std::size_t index, Shared& shared, std::shared_ptr<const Snapshot> snapshot,
         std::vector<ListenSocket> sockets);
    ~Impl();

    void run();
    // Ticks and accepts from now on; run() is this, and then the loop until the end.
    void begin();
    static void on_tick(void* self);
    void tick();
    void use_snapshot(std::shared_ptr<const Snapshot> snapshot);
    Generation* borrow_generation() {
        ++generation->users;
        return generation;
    }
    void return_generation(Generation* used);

    // Makes an exchange for the client's next request, and ends it.
    ExchangeSlot* begin_exchange(ClientConnection& client, base::TimePoint asked_at);
    void end_exchange(ExchangeSlot* slot);
    std::size_t exchanges_to_keep() const;
    void trim_exchanges();
    void adopt_client(int descriptor, const base::SocketAddress& peer, std::size_t listener);
    void remove_client(ClientConnection* client);
    // Worker that should serve the next client: this one unless it stands far above the mean.
    Worker* hand_over_target();

    // Waiting for room at a server (room_waiter.cpp).
    void begin_waiting(RoomWaiter& waiter);
    void end_waiting(RoomWaiter& waiter);
    // A request at a server with max_connections ended: its room goes to whoever has waited
    // longest, on any worker.
    void vacate(std::uint32_t group, std::uint32_t cell, std::int32_t most);
    // The same room, held already, on its way to somebody waiting here.
    void receive_room(std::uint32_t group, std::uint32_t cell, std::size_t hops);
    // Lets those that wait look for room again: a server may have come up without any other event.
    void look_for_room();

    void backend_down(std::uint32_t slot);
    void drain();
    // While draining: what has had its time since the drain began.
    void end_idle_clients();
    void end_waiting_answers();
    void stop_now();
    void close_listeners();
    void check_finished();

    // One operational log line about a passive mark set or cleared.
    void note_mark(const Group& group, const Peer& peer, bool marked);
    void log(const observe::RequestRecord& record);
    void flush_log();
    void count_unasked();  // what the pool met since the last time
    const std::string& date();
    // The time of day of the present round, for the log: the monotonic clock, which the reactor has
    // read already, and what the two differed by at the last tick.
    std::chrono::system_clock::time_point wall_clock() const;
    void set_wall_clock();
    std::uint64_t next_random();
    // The round's time as policy::admit wants it.
    std::uint64_t now_ns() const {
        return static_cast<std::uint64_t>(
            std::chrono::nanoseconds(reactor.now_point().time_since_epoch()).count());
    }

    std::size_t index;
    Shared& shared;
    net::Reactor reactor;
    net::BackendPool pool;
    net::BufferPool buffers;
    net::PipePool pipes;
    net::ReplayPool replay_blocks;
    WorkerCounters& counters;
    Generation* generation = nullptr;
    std::vector<std::unique_ptr<Listener>> listeners;
    std::vector<ListenSocket> sockets;
    std::vector<std::unique_ptr<ExchangeSlot>> idle_exchanges;
    Exchange* active = nullptr;  // list of exchanges in progress
    std::size_t active_count = 0;
    // The most of them at once, in the present and the last stretch of kExchangeTicks.
    std::size_t most_active = 0;
    std::size_t most_active_before = 0;
    ClientConnection* clients = nullptr;  // list of all client connections
    struct Waiting {
        RoomWaiter* first = nullptr;
        RoomWaiter* last = nullptr;
    };
    std::vector<Waiting> waiting;  // by group; as long as the board
    std::size_t waiting_count = 0;
    std::size_t client_count = 0;
    std::size_t lingering = 0;
    std::size_t replay_used = 0;
    bool draining = false;
    bool listening = false;  // counted in shared.listening
    bool finishing = false;  // the end is posted behind the hand-overs that are queued already
    bool stopping = false;
    net::Tick drain_began = 0;
    observe::AccessLine access_line;
    std::string log_buffer;
    std::uint64_t log_lines = 0;
    std::uint64_t unasked_seen = 0;
    std::chrono::system_clock::time_point wall_at_zero;
    std::string date_text;
    std::int64_t date_second = -1;
    std::uint64_t random_state;
    std::atomic<bool> finished{false};
    std::atomic<std::uint64_t> cut{0};
    std::atomic<std::uint64_t> cut_tunnels{0};
    std::atomic<std::uint64_t> ended_answers{0};  // endless ones
    std::thread thread;
};

}  // namespace s3gate::proxy
