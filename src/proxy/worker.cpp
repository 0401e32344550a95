#include "s3gate/proxy/worker.hpp"

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <spdlog/spdlog.h>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include "client_connection.hpp"
#include "exchange.hpp"
#include "s3gate/base/digest.hpp"
#include "s3gate/http/local_reply.hpp"
#include "worker_impl.hpp"

namespace s3gate::proxy {
namespace {

constexpr std::size_t kAcceptsPerTurn = 64;
constexpr std::size_t kIdleExchanges = 64;         // always kept for reuse
constexpr unsigned kExchangeTicks = 8;             // 2 s: how long what a burst needed is kept
constexpr std::size_t kLogFlushBytes = 60 * 1024;  // docs/architecture.md
// Beyond this many connections over the limit a refusal is not even written.
constexpr std::int64_t kShedRoom = 256;

}  // namespace

// A listening socket of this worker in its readiness set.
class Listener final : public net::EventTarget {
  public:
    Listener(Worker::Impl& worker, std::size_t index) : worker_(worker), index_(index) {}
    ~Listener() { close(); }

    bool open() { return worker_.reactor.add(worker_.sockets[index_].descriptor, *this); }
    void close() {
        int& fd = worker_.sockets[index_].descriptor;
        if (fd >= 0) {
            worker_.reactor.forget(*this);
            ::close(fd);
            fd = -1;
        }
    }
    void on_events(std::uint32_t) override { accept_clients(); }
    // Tries again after a pause for want of descriptors; also takes what one turn left behind.
    void on_tick() {
        if (pending_) {
            accept_clients();
        }
    }
    // Takes everything in the queue: called before the socket is closed, so that no client that got
    // through the handshake is reset.
    void empty_queue() {
        do {
            accept_clients();
        } while (pending_ && !out_of_descriptors_);
    }

  private:
    void accept_clients() {
        pending_ = false;
        out_of_descriptors_ = false;
        const int fd = worker_.sockets[index_].descriptor;
        for (std::size_t i = 0; fd >= 0; ++i) {
            if (i == kAcceptsPerTurn) {
                if (!pending_) {
                    pending_ = true;
                    worker_.reactor.submit([this] { on_tick(); });
                }
                return;
            }
            sockaddr_storage storage;
            socklen_t length = sizeof storage;
            const int client = ::accept4(fd, reinterpret_cast<sockaddr*>(&storage), &length,
                                         SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (client < 0) {
                if (errno == EINTR || errno == ECONNABORTED || errno == EPROTO) {
                    continue;
                }
                if (errno != EAGAIN) {
                    // EMFILE, ENFILE, ENOBUFS, ENOMEM: edge-triggered, so nothing spins; the tick
                    // tries again.
                    pending_ = true;
                    out_of_descriptors_ = true;
                    bump(worker_.counters.accept_paused);
                }
                return;
            }
            bump(worker_.counters.accepted);
            Worker* target = worker_.hand_over_target();
            if (target != nullptr) {
                bump(worker_.counters.handed_over);
                target->post_client(client, index_);
                continue;
            }
            const auto peer =
                base::SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), length);
            worker_.adopt_client(client, peer.value_or(base::SocketAddress{}), index_);
        }
    }

    Worker::Impl& worker_;
    std::size_t index_;
    bool pending_ = false;
    bool out_of_descriptors_ = false;
};

Worker::Impl::Impl(std::size_t worker_index, Shared& shared_state,
                   std::shared_ptr<const Snapshot> snapshot,
                   std::vector<ListenSocket> listen_sockets)
    : index(worker_index),
      shared(shared_state),
      pool(reactor),
      pipes(*shared_state.pipes),
      counters(shared_state.board->counters(worker_index)),
      sockets(std::move(listen_sockets)),
      access_line(shared_state.hostname),
      random_state(static_cast<std::uint64_t>(base::Clock::now().time_since_epoch().count()) *
                       0x9e3779b97f4a7c15ULL +
                   worker_index) {
    pool.set_total_limit(shared.parked_limit);
    waiting.resize(shared.board->group_count());
    listening = true;
    shared.listening.fetch_add(1);
    use_snapshot(std::move(snapshot));
}

Worker::Impl::~Impl() {
    listeners.clear();
    for (ListenSocket& socket : sockets) {
        if (socket.descriptor >= 0) {
            ::close(socket.descriptor);
        }
    }
    idle_exchanges.clear();
    delete generation;
}

void Worker::Impl::run() {
    char name[16];
    std::snprintf(name, sizeof name, "s3gate/w%zu", index);
    ::pthread_setname_np(::pthread_self(), name);
    // The first digest makes libcrypto read its configuration and look for its providers: not while
    // a client waits, and where MD5 is missing the start fails, not the first request.
    base::md5_hex({});
    begin();
    reactor.run();
    flush_log();
    finished.store(true, std::memory_order_release);
}

void Worker::Impl::begin() {
    set_wall_clock();
    reactor.start(&Worker::Impl::on_tick, this);
    for (std::size_t i = 0; i < sockets.size(); ++i) {
        listeners.push_back(std::make_unique<Listener>(*this, i));
        if (!listeners.back()->open()) {
            std::terminate();  // epoll_ctl on a fresh listening socket fails only for want of
                               // kernel memory
        }
    }
}

void Worker::Impl::on_tick(void* self) {
    static_cast<Worker::Impl*>(self)->tick();
}

void Worker::Impl::tick() {
    bump(counters.ticks);
    count_unasked();
    set_wall_clock();
    flush_log();
    for (const auto& listener : listeners) {
        listener->on_tick();
    }
    look_for_room();
    trim_exchanges();
    if (draining) {
        end_idle_clients();
        end_waiting_answers();
    }
    check_finished();
}

void Worker::Impl::use_snapshot(std::shared_ptr<const Snapshot> snapshot) {
    auto* fresh = new Generation;
    fresh->snapshot = std::move(snapshot);
    for (const Site& site : fresh->snapshot->sites) {
        SiteState state;
        const config::Timeouts& t = site.config->timeouts;
        state.ticks = {net::ticks_of(t.connect),
                       net::ticks_of(t.client_head),
                       net::ticks_of(t.client_idle),
                       net::ticks_of(t.client_body),
                       net::ticks_of(t.client_write),
                       net::ticks_of(t.backend_head),
                       net::ticks_of(t.backend_body),
                       net::ticks_of(t.backend_stream),
                       net::ticks_of(t.tunnel_idle)};
        for (const Group& group : site.groups) {
            state.groups.push_back({std::vector<policy::SmoothWeight>(group.peers.size()),
                                    net::ticks_of(group.backends->idle_timeout)});
        }
        fresh->sites.push_back(std::move(state));
    }
    Generation* const old = generation;
    generation = fresh;
    if (old != nullptr && old->users == 0) {
        delete old;
    }
}

void Worker::Impl::return_generation(Generation* used) {
    if (--used->users == 0 && used != generation) {
        delete used;
    }
}

ExchangeSlot* Worker::Impl::begin_exchange(ClientConnection& client, base::TimePoint asked_at) {
    ExchangeSlot* slot = nullptr;
    if (idle_exchanges.empty()) {
        slot = new ExchangeSlot(*this);
    } else {
        slot = idle_exchanges.back().release();
        idle_exchanges.pop_back();
    }
    Exchange& exchange = slot->exchange.emplace(*this, client, asked_at, slot->memory);
    exchange.next = active;
    if (active != nullptr) {
        active->previous = &exchange;
    }
    active = &exchange;
    ++active_count;
    most_active = std::max(most_active, active_count);
    return slot;
}

// With a thousand requests in progress at once, so many objects are needed again in a moment: to
// free and make them anew cost half as many instructions as all the rest of a small request.
std::size_t Worker::Impl::exchanges_to_keep() const {
    return std::max({kIdleExchanges, most_active, most_active_before});
}

void Worker::Impl::trim_exchanges() {
    if (counters.ticks.load(std::memory_order_relaxed) % kExchangeTicks != 0) {
        return;
    }
    most_active_before = std::exchange(most_active, active_count);
    while (!idle_exchanges.empty() && idle_exchanges.size() + active_count > exchanges_to_keep()) {
        idle_exchanges.pop_back();
    }
}

void Worker::Impl::end_exchange(ExchangeSlot* slot) {
    const Exchange& exchange = *slot->exchange;
    (exchange.previous != nullptr ? exchange.previous->next : active) = exchange.next;
    if (exchange.next != nullptr) {
        exchange.next->previous = exchange.previous;
    }
    --active_count;
    slot->exchange.reset();
    if (idle_exchanges.size() + active_count < exchanges_to_keep()) {
        idle_exchanges.emplace_back(slot);
    } else {
        delete slot;
    }
}

Worker* Worker::Impl::hand_over_target() {
    const std::size_t count = shared.workers.size();
    if (count < 2 || draining) {
        return nullptr;
    }
    const std::int64_t mine = shared.board->load_of(index);
    std::int64_t sum = 0;
    std::int64_t least = mine;
    Worker* target = nullptr;
    for (std::size_t i = 0; i < count; ++i) {
        const std::int64_t theirs = shared.board->load_of(i);
        sum += theirs;
        if (theirs < least) {
            least = theirs;
            target = shared.workers[i];
        }
    }
    // docs/architecture.md: more than 25 % + 4 connections above the mean.
    const std::int64_t mean = sum / static_cast<std::int64_t>(count);
    return mine + 1 > mean + mean / 4 + 4 ? target : nullptr;
}

void Worker::Impl::adopt_client(int descriptor, const base::SocketAddress& peer,
                                std::size_t listener) {
    const Site& site = generation->snapshot->sites[sockets[listener].site];
    const std::int64_t all = shared.board->connections();
    const std::uint64_t site_limit = site.config->limits.connections;
    const bool over = all >= static_cast<std::int64_t>(shared.connection_limit) ||
                      (site_limit > 0 && shared.board->site_connections(site.default_group().cell) >=
                                             static_cast<std::int64_t>(site_limit));
    if (over) {
        bump(counters.shed);
        if (all >= static_cast<std::int64_t>(shared.connection_limit) + kShedRoom) {
            ::close(descriptor);
            return;
        }
    }
    ClientTable::Ticket ticket;
    if (!over && (site.config->limits.per_client > 0 || site.rate.interval > 0)) {
        ticket = shared.clients->enter(site.default_group().cell, peer.ip(), site.config->limits.per_client);
        if (ticket.admission != ClientTable::Admission::served) {
            bump(counters.shed_per_client);
        }
        if (ticket.admission == ClientTable::Admission::dropped) {
            ::close(descriptor);
            return;
        }
    }
    auto* client = new ClientConnection(*this, peer, listener);
    client->shed = over;
    client->entry = ticket.entry;
    client->admission = ticket.admission;
    client->group = site.default_group().cell;
    const std::string text = peer.ip().to_string();
    client->ip_length = static_cast<std::uint8_t>(std::min(text.size(), client->ip_text.size()));
    std::memcpy(client->ip_text.data(), text.data(), client->ip_length);
    client->next = clients;
    if (clients != nullptr) {
        clients->previous = client;
    }
    clients = client;
    ++client_count;
    bump<std::int64_t>(counters.connections);
    shared.board->add_site_connections(index, client->group, 1);
    if (!client->stream.open(descriptor)) {
        remove_client(client);
        return;
    }
    serve_client(client);
}

void Worker::Impl::remove_client(ClientConnection* client) {
    (client->previous != nullptr ? client->previous->next : clients) = client->next;
    if (client->next != nullptr) {
        client->next->previous = client->previous;
    }
    --client_count;
    bump<std::int64_t>(counters.connections, -1);
    shared.board->add_site_connections(index, client->group, -1);
    if (client->entry != nullptr) {
        shared.clients->leave(*client->entry, client->admission, now_ns());
    }
    delete client;
    if (draining) {
        check_finished();
    }
}

void Worker::Impl::backend_down(std::uint32_t slot) {
    pool.drop(slot);
    for (Exchange* exchange = active; exchange != nullptr; exchange = exchange->next) {
        exchange->on_backend_down(slot);
    }
}

void Worker::Impl::end_idle_clients() {
    const auto quiet_since = [&](const ClientConnection& client) {
        const bool is_later = static_cast<std::int32_t>(client.idle_since - drain_began) > 0;
        return is_later ? client.idle_since : drain_began;
    };
    for (ClientConnection* client = clients; client != nullptr;) {
        ClientConnection* const following = client->next;
        // Not those in the middle of a request: each wake starts their limits anew.
        if (client->awaits_request && reactor.now() - quiet_since(*client) >= kDrainIdle) {
            client->stream.interrupt_read();
        }
        client = following;
    }
}

void Worker::Impl::end_waiting_answers() {
    if (reactor.now() - drain_began < kDrainWaiting) {
        return;
    }
    for (Exchange* exchange = active; exchange != nullptr; exchange = exchange->next) {
        if (exchange->end_waiting_answer()) {
            ended_answers.fetch_add(1, std::memory_order_relaxed);
        }
    }
}

void Worker::Impl::drain() {
    if (draining) {
        return;
    }
    draining = true;  // first: from now on nothing is handed over
    for (const auto& listener : listeners) {
        listener->empty_queue();
    }
    close_listeners();
    drain_began = reactor.now();
    for (ClientConnection* client = clients; client != nullptr; client = client->next) {
        if (client->lingers) {
            client->stream.interrupt_read();  // its patience is shorter from now on
        }
    }
    check_finished();
}

void Worker::Impl::stop_now() {
    draining = true;
    stopping = true;
    close_listeners();
    std::uint64_t requests = 0;
    std::uint64_t tunnels = 0;
    for (Exchange* exchange = active; exchange != nullptr; exchange = exchange->next) {
        if (exchange->is_tunnelling()) {
            ++tunnels;
        } else if (exchange->is_endless()) {
            ended_answers.fetch_add(exchange->end_waiting_answer() ? 1 : 0,
                                    std::memory_order_relaxed);
        } else if (exchange->is_serving()) {
            ++requests;
        }
        exchange->cut();
    }
    for (ClientConnection* client = clients; client != nullptr; client = client->next) {
        client->cut = true;
        requests += client->awaits_begin && !client->stream.is_broken() ? 1 : 0;
        client->stream.interrupt_read();
        client->stream.interrupt_write();
    }
    cut.store(requests, std::memory_order_relaxed);
    cut_tunnels.store(tunnels, std::memory_order_relaxed);
    check_finished();
}

void Worker::Impl::close_listeners() {
    for (const auto& listener : listeners) {
        listener->close();
    }
    if (listening) {
        listening = false;
        shared.listening.fetch_sub(1);
    }
}

void Worker::Impl::check_finished() {
    if (!draining || client_count != 0 || finishing || shared.listening.load() != 0) {
        return;
    }
    // Nobody hands clients over any more; those that are queued come before this.
    finishing = true;
    reactor.submit([this] {
        finishing = false;
        if (client_count == 0) {
            flush_log();
            pool.drop_all();
            count_unasked();
            reactor.stop();
        }
    });
}

void Worker::Impl::note_mark(const Group& group, const Peer& peer, bool marked) {
    bump(marked ? counters.passive_marks_set : counters.passive_marks_cleared);
    if (marked) {
        const unsigned fails = group.passive.max_fails;
        spdlog::warn("{} is passively marked after {} failure{}", label_of(group, peer), fails,
                     fails == 1 ? "" : "s");
    } else {
        spdlog::info("{} is no longer passively marked", label_of(group, peer));
    }
}

void Worker::Impl::log(const observe::RequestRecord& record) {
    if (!shared.access_log->enabled()) {
        return;
    }
    access_line.append(log_buffer, record, wall_clock());
    ++log_lines;
    if (log_buffer.size() >= kLogFlushBytes) {
        flush_log();
    }
}

void Worker::Impl::count_unasked() {
    const std::uint64_t all = pool.unasked();
    bump(counters.backend_unasked_bytes, all - std::exchange(unasked_seen, all));
}

void Worker::Impl::flush_log() {
    if (log_lines == 0) {
        return;
    }
    const std::uint64_t dropped = shared.access_log->submit(std::move(log_buffer), log_lines);
    bump(counters.log_lines_dropped, dropped);
    log_buffer.clear();
    log_buffer.reserve(observe::LogWriter::kBlockBytes);
    log_lines = 0;
}

void Worker::Impl::set_wall_clock() {
    wall_at_zero = std::chrono::system_clock::now() -
                   std::chrono::duration_cast<std::chrono::system_clock::duration>(
                       base::Clock::now().time_since_epoch());
}

std::chrono::system_clock::time_point Worker::Impl::wall_clock() const {
    return wall_at_zero + std::chrono::duration_cast<std::chrono::system_clock::duration>(
                              reactor.now_point().time_since_epoch());
}

const std::string& Worker::Impl::date() {
    const std::int64_t second = std::time(nullptr);
    if (second != date_second) {
        date_second = second;
        date_text = http::imf_fixdate(second);
    }
    return date_text;
}

std::uint64_t Worker::Impl::next_random() {
    // splitmix64 (Steele, Lea, Flood 2014): request ids and tie-breaking, nothing that must be
    // unpredictable.
    std::uint64_t z = (random_state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

Worker::Worker(std::size_t index, Shared& shared, std::shared_ptr<const Snapshot> snapshot,
               std::vector<ListenSocket> listeners)
    : impl_(std::make_unique<Impl>(index, shared, std::move(snapshot), std::move(listeners))) {}

Worker::~Worker() {
    join();
}

void Worker::start() {
    impl_->thread = std::thread([this] { impl_->run(); });
}

void Worker::join() {
    if (impl_->thread.joinable()) {
        impl_->thread.join();
    }
}

void Worker::post_snapshot(std::shared_ptr<const Snapshot> snapshot) {
    impl_->reactor.submit([this, snapshot = std::move(snapshot)]() mutable {
        impl_->use_snapshot(std::move(snapshot));
    });
}

void Worker::post_backend_down(std::uint32_t slot) {
    impl_->reactor.submit([this, slot] { impl_->backend_down(slot); });
}

void Worker::post_client(int descriptor, std::size_t listener) {
    // Counted at once: a worker that is late with its messages would else be given too many.
    impl_->shared.board->add_arriving(impl_->index, 1);
    impl_->reactor.submit([this, descriptor, listener] {
        impl_->shared.board->add_arriving(impl_->index, -1);
        sockaddr_storage storage;
        socklen_t length = sizeof storage;
        if (::getpeername(descriptor, reinterpret_cast<sockaddr*>(&storage), &length) != 0) {
            ::close(descriptor);  // already gone again
            return;
        }
        const auto peer =
            base::SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), length);
        impl_->adopt_client(descriptor, peer.value_or(base::SocketAddress{}), listener);
    });
}

void Worker::post_room(std::uint32_t group, std::uint32_t cell, std::size_t hops) {
    impl_->reactor.submit([this, group, cell, hops] { impl_->receive_room(group, cell, hops); });
}

void Worker::post_drain() {
    impl_->reactor.submit([this] { impl_->drain(); });
}

void Worker::post_stop() {
    impl_->reactor.submit([this] { impl_->stop_now(); });
}

bool Worker::is_finished() const {
    return impl_->finished.load(std::memory_order_acquire);
}

std::uint64_t Worker::cut_requests() const {
    return impl_->cut.load(std::memory_order_relaxed);
}

std::uint64_t Worker::ended_answers() const {
    return impl_->ended_answers.load(std::memory_order_relaxed);
}

std::uint64_t Worker::cut_tunnels() const {
    return impl_->cut_tunnels.load(std::memory_order_relaxed);
}

}  // namespace s3gate::proxy
