// A worker: one event loop, and its listening sockets, clients, exchanges, pools, counters and
// access log lines. A connection uses only objects of its worker, on the worker's thread. Other
// threads use a WorkerHandle.
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
#include "s3gate/policy/tick_lateness.hpp"
#include "s3gate/proxy/publication.hpp"
#include "s3gate/proxy/shared.hpp"
#include "s3gate/proxy/worker_thread.hpp"
#include "s3gate/state/counters.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::proxy {

struct ClientConnection;
class ClientSurvey;
class RoomWaiter;
class SurveyWalk;

// In the worker's list of all clients.
using ClientHook = boost::intrusive::list_base_hook<boost::intrusive::tag<struct ClientTag>>;
// In the list of requests that wait for room at a server of one group.
using WaitingHook = boost::intrusive::list_base_hook<boost::intrusive::tag<struct WaitingTag>>;

// Times of a drain (docs/architecture.md, "Start, drain, stop"): a connection without a request is
// closed after one quiet second, an endless answer is ended after two seconds.
inline constexpr net::Tick kDrainIdle = 4;
inline constexpr net::Tick kDrainWaiting = 8;

class Worker {
  public:
    using Clients =
        boost::intrusive::list<ClientConnection, boost::intrusive::base_hook<ClientHook>>;

    Worker(std::size_t worker_index, Shared& shared_state, const Publication& publication);
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    // Serves until a drain or a stop has ended the last connection.
    void run();
    // Starts the tick. run() calls it, then runs the loop. Nothing is accepted before listen().
    void begin();

    // The messages of a WorkerHandle.
    void use(const Publication& publication);
    void listen();
    void close_listener(const Listener& listener);
    void backend_down(state::CellId backend);
    void forget_parked(state::CellId backend);
    void receive_client(int descriptor, const Listener& listener);
    void receive_room(state::CellId group, state::CellId room, std::size_t hops);
    void announce_close() { announces_close = true; }
    void hand_over(const std::vector<std::shared_ptr<Listener>>& kept);
    void hurry();
    void drain();
    void stop();
    // The answer to an earlier survey ends with this call.
    void answer(std::shared_ptr<ClientSurvey> survey);
    // Any thread.
    bool is_finished() const { return finished_.load(std::memory_order_acquire); }

    // A request keeps the generation that it began with.
    static void borrow(Generation& generation) { ++generation.users; }
    void give_back(Generation& used) {
        if (--used.users == 0 && &used != generation_.get()) {
            retire_old(used);
        }
    }
    const WorkerLimits& limits() const { return limits_; }
    // True if lines of the access log have the ids of access keys.
    bool shows_access_keys() const { return shows_access_keys_; }

    // Make an exchange for the client's next request, and end it.
    ExchangeSlot& begin_exchange(ClientConnection& client, base::TimePoint asked_at) {
        return exchanges_.begin(client, asked_at);
    }
    void end_exchange(ExchangeSlot& slot) { exchanges_.end(slot); }
    // Takes over a client that came through that listener; the worker owns the descriptor.
    void adopt_client(int descriptor, const base::SocketAddress& peer, Acceptor& acceptor);
    // Call it when the client's next request begins with another generation than the one that
    // admitted it: from now on the client counts at the site of the new one, under its limits.
    void readmit(ClientConnection& client);
    // The client's peer has named its source. False if the client must be closed without an
    // answer.
    bool admit_source(ClientConnection& client);
    // The client's request is for the site `to` of the generation with that number. From now on its
    // connection counts there, if the limits of the site allow it.
    void move_client(ClientConnection& client, const SiteAtWork& to, std::uint32_t generation);
    void remove_client(ClientConnection& client);
    // The worker that should serve the next client; null if this one should, because its load is
    // near the mean or below.
    const WorkerHandle* hand_over_target() const;

    // Waiting for room at a server (room_waiter.cpp).
    void begin_waiting(RoomWaiter& waiter);
    void end_waiting(RoomWaiter& waiter);
    // Gives back the room of a finished request at a server with max_connections. The request that
    // has waited longest, on any worker, gets it.
    void vacate(const state::Group& group, const state::GroupServer& server);

    // Counts a passive mark that was set or cleared. The control thread logs it.
    void note_mark(const state::Group& group, const state::Peer& peer, bool marked);
    // False if no line is wanted.
    bool is_logging() const { return access_lines_.is_wanted(); }
    void log(const observe::RequestRecord& record);
    void flush_log();
    const std::string& date() { return date_.now(); }
    std::uint64_t next_random();
    // Time of the loop's current round in nanoseconds, for policy::admit.
    std::uint64_t now_ns() const {
        return static_cast<std::uint64_t>(
            std::chrono::nanoseconds(reactor.now_point().time_since_epoch()).count());
    }

    // Figures for the end of the worker and for tests.
    std::size_t client_count() const { return clients_.size(); }
    Clients& clients() { return clients_; }  // the last that came is the first
    std::size_t active_count() const { return exchanges_.active_count(); }
    std::size_t waiting_count() const { return waiting_count_; }
    std::size_t generation_users() const { return generation_->users; }
    // On the worker's thread, or after that thread has ended.
    const CutShort& cut_short() const { return cut_short_; }

    // Resources for connections and exchanges.
    const std::size_t index;
    Shared& shared;
    net::Reactor reactor;
    net::BackendPool pool{reactor};
    net::BufferPool buffers;
    net::PipePool pipes;
    net::ReplayPool replay_blocks;
    state::WorkerCounters& counters;
    std::size_t lingering = 0;     // clients in their lingering close
    std::size_t replay_used = 0;   // bytes reserved for requests
    bool announces_close = false;  // an answer is the last one of its connection
    bool handed_over = false;      // a successor accepts the clients
    bool draining = false;         // also while the worker stops
    bool stopping = false;

  private:
    // The decision about a new client.
    struct Admission {
        bool is_over = false;  // over a limit on connections; the answer is 503
        state::ClientTable::Ticket ticket;
    };
    using WaitingQueue =
        boost::intrusive::list<RoomWaiter, boost::intrusive::base_hook<WaitingHook>,
                               boost::intrusive::constant_time_size<false>>;

    // Every acceptor gets the present generation, or keeps the last one that has its address.
    void use_listeners(const Publication& publication);
    // Frees acceptors through which no client can come any more.
    void forget_listeners();
    // Adds the connection to the figures that include it, and takes it out. `admission` is the
    // decision of admit_client().
    void count_in(ClientConnection& client, const Admission& admission);
    void count_out(ClientConnection& client);
    // The connection counts at the site with that cell, or at none.
    void count_at(ClientConnection& client, std::optional<std::uint32_t> site);
    // The client has no place in the table of clients any more.
    void leave_table(ClientConnection& client);
    // Frees a generation without users: closes this worker's parked connections to backends that
    // only it named, and releases its snapshot.
    void retire(std::unique_ptr<Generation> old);
    void retire_old(const Generation& used);
    static void on_tick(void* self);
    void tick();
    void expect_tick(base::TimePoint last);
    void note_tick();
    void count_unasked();  // adds what the pool counted since the last call
    // True if the site has as many connections as it may, `own` of them left out. The limit does
    // not hold for a trusted source, which connects for many clients.
    bool is_site_full(const state::Site& site, const base::IpAddress& source,
                      std::int64_t own) const;
    // The same of the process. This limit is what its memory carries, and holds for all.
    bool is_full(std::int64_t own) const {
        return shared.board->connections() - own >= static_cast<std::int64_t>(limits_.connections);
    }
    // nullopt if the client must be closed without an answer. While the peer has not named the
    // source, it is null, and only the limit of the process holds.
    std::optional<Admission> admit_client(const state::Site& site, const base::IpAddress* source);
    state::ClientTable::Ticket admit_to_table(const state::Site& site,
                                              const base::IpAddress& source);
    // The same for a client that is there, whose source is known.
    void enter_table(ClientConnection& client, const state::Site& site);
    // Applies the limits of a new generation to a client that counts at the site. `has_fallen`: so
    // has the bound on the site's connections.
    void use_limits(ClientConnection& client, const state::Site& site, bool has_fallen);
    // Applies the limits of the site to a client that is there and has no entry in the table.
    void admit_at(ClientConnection& client, const state::Site& site);
    // Forgets keys of sessions that are over.
    void forget_sessions();
    // Waiting requests look for room again: a server may have come up, which causes no other event.
    void look_for_room();
    // For a drain: end the clients and answers whose time is over.
    void end_idle_clients();
    void end_endless_answers();
    void end_tunnels();
    // Cuts requests of earlier generations that have had their reload_grace.
    void end_overdue_requests();
    // Notes when an earlier generation's configuration was replaced.
    void note_reload();
    // Replaced::by of the newest earlier configuration that has enough newer ones in use.
    std::optional<std::uint32_t> one_reload_too_many() const;
    // Cuts requests of the earlier configurations that are too many.
    void cut_requests_of_oldest();
    // Figures about earlier generations for the status.
    void report_generations();
    void cut_exchanges();
    void cut_clients();
    void close_listeners();
    // Tells the other workers once this one accepts no client any more.
    void end_listening();
    // True if this worker accepts no more clients, so that it ends after the last one.
    bool is_at_end() const { return draining || handed_over; }
    void check_finished();
    void continue_survey();

    WorkerLimits limits_;
    bool shows_access_keys_ = false;
    std::uint32_t generations_made_ = 0;
    std::uint32_t bound_fell_in_ = 0;  // number of the generation that lowered limits_.connections
    std::unique_ptr<Generation> generation_;                    // the current one
    std::vector<std::unique_ptr<Generation>> old_generations_;  // those that still have users
    Clients clients_;
    std::unique_ptr<SurveyWalk> survey_;
    std::deque<WaitingQueue> waiting_;  // by cell of the group
    std::size_t waiting_count_ = 0;
    ExchangePool exchanges_{*this};
    std::vector<std::unique_ptr<Acceptor>> acceptors_;  // by index of the listener; some are null
    bool is_listening_ = true;                          // counted in shared.listening
    bool is_finishing_ = false;  // the end is posted, after the hand-overs in the queue
    bool hurries_ = false;       // ends tunnels and endless answers, as a drain does
    base::TimePoint last_tick_{};
    policy::TickLateness tick_lateness_;
    net::Tick drain_began_ = 0;  // or the hurry
    AccessBuffer access_lines_;
    DateText date_;
    std::uint64_t unasked_seen_ = 0;
    std::uint64_t random_state_;
    CutShort cut_short_;
    std::atomic<bool> finished_{false};
};

}  // namespace s3gate::proxy
