// One worker: one event loop and everything it owns: its listening sockets, clients, exchanges,
// pools, counters, lines of the access log. Everything a connection touches belongs to its worker,
// and is used on its thread only; others reach it through a WorkerHandle.
#pragma once

#include <atomic>
#include <boost/intrusive/list.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "acceptor.hpp"
#include "access_buffer.hpp"
#include "exchange_pool.hpp"
#include "generation.hpp"
#include "s3gate/net/backend_pool.hpp"
#include "s3gate/net/buffer_pool.hpp"
#include "s3gate/net/reactor.hpp"
#include "s3gate/net/replay_buffer.hpp"
#include "s3gate/observe/access_log.hpp"
#include "s3gate/proxy/shared.hpp"
#include "s3gate/proxy/worker_thread.hpp"
#include "s3gate/state/counters.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::proxy {

struct ClientConnection;
class RoomWaiter;

// In the worker's list of all clients.
using ClientHook = boost::intrusive::list_base_hook<boost::intrusive::tag<struct ClientTag>>;
// In the list of requests that wait for room at a server of one group.
using WaitingHook = boost::intrusive::list_base_hook<boost::intrusive::tag<struct WaitingTag>>;

// Of a drain (docs/architecture.md, "Start, drain, stop"): a connection without a request is closed
// once it was quiet for a second, an endless answer is ended after two.
inline constexpr net::Tick kDrainIdle = 4;
inline constexpr net::Tick kDrainWaiting = 8;

class Worker {
  public:
    Worker(std::size_t worker_index, Shared& shared_state,
           std::shared_ptr<const state::Snapshot> snapshot,
           std::vector<std::shared_ptr<Listener>> listeners);
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    // Serves until it was told to end and nothing is left.
    void run();
    // Ticks and accepts from now on; run() is this, and then the loop until the end.
    void begin();

    // What a WorkerHandle says.
    void use_snapshot(std::shared_ptr<const state::Snapshot> snapshot);
    void backend_down(state::CellId backend);
    void receive_client(int descriptor, const Listener& listener);
    void receive_room(state::CellId group, state::CellId room, std::size_t hops);
    void drain();
    void stop();
    // Any thread.
    bool is_finished() const { return finished_.load(std::memory_order_acquire); }

    // A request keeps the generation it began with.
    Generation* borrow_generation() {
        ++generation_->users;
        return generation_.get();
    }
    void return_generation(Generation* used) {
        if (--used->users == 0 && used != generation_.get()) {
            retire_old(*used);
        }
    }
    const AddressState& at(const Listener& listener) const { return generation_->at(listener); }

    // Makes an exchange for the client's next request, and ends it.
    ExchangeSlot& begin_exchange(ClientConnection& client, base::TimePoint asked_at) {
        return exchanges_.begin(client, asked_at);
    }
    void end_exchange(ExchangeSlot& slot) { exchanges_.end(slot); }
    // A client that came through that listener, just accepted; the descriptor is the worker's.
    void adopt_client(int descriptor, const base::SocketAddress& peer, const Listener& listener);
    void remove_client(ClientConnection& client);
    // Worker that should serve the next client; null = this one, which does not stand far above the
    // mean.
    const WorkerHandle* hand_over_target() const;

    // Waiting for room at a server (room_waiter.cpp).
    void begin_waiting(RoomWaiter& waiter);
    void end_waiting(RoomWaiter& waiter);
    // A request at a server with max_connections ended: its room goes to whoever has waited
    // longest, on any worker.
    void vacate(const state::Group& group, const state::GroupServer& server);

    // One operational log line about a passive mark set or cleared.
    void note_mark(const state::Group& group, const state::Peer& peer, bool marked);
    void log(const observe::RequestRecord& record);
    void flush_log();
    const std::string& date() { return date_.now(); }
    std::uint64_t next_random();
    // The round's time as policy::admit wants it.
    std::uint64_t now_ns() const {
        return static_cast<std::uint64_t>(
            std::chrono::nanoseconds(reactor.now_point().time_since_epoch()).count());
    }

    // What it has and counts, for those who end it or test it.
    std::size_t client_count() const { return clients_.size(); }
    std::size_t active_count() const { return exchanges_.active_count(); }
    std::size_t waiting_count() const { return waiting_count_; }
    std::size_t generation_users() const { return generation_->users; }
    // On its thread, or once that has ended.
    const CutShort& cut_short() const { return cut_short_; }

    // What its connections and exchanges use.
    const std::size_t index;
    Shared& shared;
    net::Reactor reactor;
    net::BackendPool pool{reactor};
    net::BufferPool buffers;
    net::PipePool pipes;
    net::ReplayPool replay_blocks;
    state::WorkerCounters& counters;
    std::size_t lingering = 0;    // clients in their lingering close
    std::size_t replay_used = 0;  // bytes promised to requests
    bool draining = false;        // also while it stops
    bool stopping = false;

  private:
    // Whether and how a client is let in.
    struct Admission {
        bool is_over = false;  // over a limit on connections: to be answered 503
        state::ClientTable::Ticket ticket;
    };
    using WaitingQueue =
        boost::intrusive::list<RoomWaiter, boost::intrusive::base_hook<WaitingHook>,
                               boost::intrusive::constant_time_size<false>>;

    // It has no user any more: this worker's parked connections to backends that only it named are
    // closed, and its snapshot is let go of.
    void retire(std::unique_ptr<Generation> old);
    void retire_old(const Generation& used);
    static void on_tick(void* self);
    void tick();
    void count_unasked();  // what the pool met since the last time
    // nullopt if the client is to be closed without a word.
    std::optional<Admission> admit_client(const AddressState& at, const base::IpAddress& ip);
    // Lets those that wait look for room again: a server may have come up without any other event.
    void look_for_room();
    // While draining: what has had its time since the drain began.
    void end_idle_clients();
    void end_endless_answers();
    void cut_exchanges();
    void cut_clients();
    void close_listeners();
    void check_finished();

    std::vector<std::shared_ptr<Listener>> listeners_;
    std::unique_ptr<Generation> generation_;                    // the present one
    std::vector<std::unique_ptr<Generation>> old_generations_;  // that still have users
    boost::intrusive::list<ClientConnection, boost::intrusive::base_hook<ClientHook>> clients_;
    std::deque<WaitingQueue> waiting_;  // by cell of the group
    std::size_t waiting_count_ = 0;
    ExchangePool exchanges_{*this};
    std::vector<std::unique_ptr<Acceptor>> acceptors_;
    bool is_listening_ = true;   // counted in shared.listening
    bool is_finishing_ = false;  // the end is posted behind the hand-overs that are queued already
    net::Tick drain_began_ = 0;
    AccessBuffer access_lines_;
    DateText date_;
    std::uint64_t unasked_seen_ = 0;
    std::uint64_t random_state_;
    CutShort cut_short_;
    std::atomic<bool> finished_{false};
};

}  // namespace s3gate::proxy
