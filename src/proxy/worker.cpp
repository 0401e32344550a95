#include "worker.hpp"

#include <pthread.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ranges>
#include <utility>

#include "client_connection.hpp"
#include "exchange.hpp"
#include "s3gate/base/digest.hpp"
#include "s3gate/policy/client_identity.hpp"
#include "survey_walk.hpp"

namespace s3gate::proxy {
namespace {

// Connections over the limit that get an answer; further ones are closed without one.
constexpr std::int64_t kShedRoom = 256;
// Earlier configurations whose requests go on: a request of two minutes ends under a reload each
// second, which is twice what tests/soak/reload_drill.py asks for. Each holds its tables, and rings
// of its own where servers differ.
constexpr std::size_t kMostEarlierConfigurations = 128;

// True if the source names the clients of its requests.
bool is_trusted(const state::Site& site, const base::IpAddress& source) {
    return policy::is_believed(site.config->forwarded, source);
}

// The most connections that the source may have; 0 = any number.
std::uint64_t per_client_limit(const state::Site& site, const base::IpAddress& source) {
    return is_trusted(site, source) ? 0 : site.config->limits.per_client;
}

}  // namespace

Worker::Worker(std::size_t worker_index, Shared& shared_state, const Publication& publication)
    : index(worker_index),
      shared(shared_state),
      pipes(*shared_state.pipes),
      counters(shared_state.board->counters(worker_index)),
      access_lines_(publication.access_log, shared_state.hostname),
      random_state_(static_cast<std::uint64_t>(base::Clock::now().time_since_epoch().count()) *
                        0x9e3779b97f4a7c15ULL +
                    worker_index) {
    shared.listening.fetch_add(1);
    use(publication);
}

Worker::~Worker() = default;

void Worker::run() {
    char name[16];
    std::snprintf(name, sizeof name, "s3gate/w%zu", index);
    ::pthread_setname_np(::pthread_self(), name);
    // The first digest makes libcrypto read its configuration and load its providers. Here no
    // client waits for it, and a missing MD5 fails the start instead of the first request.
    base::md5_hex({});
    begin();
    reactor.run();
    flush_log();
    counters.parked.store(0, std::memory_order_relaxed);
    counters.tick_due_ns.store(0, std::memory_order_relaxed);
    finished_.store(true, std::memory_order_release);
}

void Worker::begin() {
    access_lines_.set_wall_clock();
    expect_tick(base::Clock::now());
    reactor.start(&Worker::on_tick, this);
}

void Worker::listen() {
    if (is_at_end()) {
        return;
    }
    for (const auto& acceptor : acceptors_) {
        if (acceptor && !acceptor->open()) {
            std::terminate();  // epoll_ctl on a fresh listening socket fails only without kernel
                               // memory
        }
    }
}

void Worker::close_listener(const Listener& listener) {
    for (const auto& acceptor : acceptors_) {
        if (acceptor && &acceptor->listener() == &listener) {
            acceptor->close_when_empty();
        }
    }
}

// A client that another worker accepted may be on its way here. So the acceptor is freed by a
// message: those that are queued already come first.
void Worker::forget_listeners() {
    for (std::size_t i = 0; i < acceptors_.size(); ++i) {
        if (acceptors_[i] && acceptors_[i]->is_over()) {
            reactor.submit([this, i] {
                if (acceptors_[i] && acceptors_[i]->is_over()) {
                    acceptors_[i].reset();
                }
            });
        }
    }
}

void Worker::on_tick(void* self) {
    static_cast<Worker*>(self)->tick();
}

void Worker::tick() {
    state::bump(counters.ticks);
    note_tick();
    count_unasked();
    access_lines_.set_wall_clock();
    flush_log();
    for (const auto& acceptor : acceptors_) {
        if (acceptor) {
            acceptor->on_tick();
        }
    }
    forget_listeners();
    end_overdue_requests();
    report_generations();
    forget_sessions();
    look_for_room();
    exchanges_.on_tick();
    if (is_at_end()) {
        end_listening();
    }
    if (draining) {
        end_idle_clients();
    }
    if (draining || hurries_) {
        end_endless_answers();
    }
    if (hurries_) {
        end_tunnels();
    }
    check_finished();
}

void Worker::expect_tick(base::TimePoint last) {
    last_tick_ = last;
    counters.tick_due_ns.store((last + net::kTickLength).time_since_epoch().count(),
                               std::memory_order_relaxed);
}

void Worker::note_tick() {
    const base::TimePoint now = reactor.now_point();
    const auto due = last_tick_ + net::kTickLength;
    const auto late = std::max<std::int64_t>((now - due).count(), 0);
    counters.tick_late_ns.store(tick_lateness_.note(static_cast<std::uint64_t>(late)),
                                std::memory_order_relaxed);
    expect_tick(now);
    counters.parked.store(static_cast<std::int64_t>(pool.parked()), std::memory_order_relaxed);
}

void Worker::use(const Publication& publication) {
    auto old =
        std::exchange(generation_, std::make_unique<Generation>(publication.snapshot, *shared.board,
                                                                index, ++generations_made_));
    if (old) {
        generation_->compare_bounds(*old);
    }
    if (publication.limits.connections < limits_.connections) {
        bound_fell_in_ = generations_made_;
    }
    limits_ = publication.limits;
    pool.set_total_limit(limits_.parked);
    state::bump(counters.log_lines_dropped, access_lines_.use(publication.access_log));
    shows_access_keys_ =
        publication.access_log->enabled() && publication.snapshot->config->access_log.access_key;
    use_listeners(publication);
    if (waiting_.size() < generation_->group_cells()) {
        waiting_.resize(generation_->group_cells());
    }
    if (old && old->users > 0) {
        old_generations_.push_back(std::move(old));
    } else if (old) {
        retire(std::move(old));
    }
    note_reload();
    cut_requests_of_oldest();
    report_generations();
    counters.publication.store(publication.number, std::memory_order_relaxed);
}

// Other addresses of the same configuration end nobody's time.
void Worker::note_reload() {
    for (const auto& generation : old_generations_) {
        if (!generation->replaced && &generation->config() != &generation_->config()) {
            generation->replaced = {generation_->number(), reactor.now_point()};
        }
    }
}

std::optional<std::uint32_t> Worker::one_reload_too_many() const {
    std::size_t configurations = 0;
    std::uint32_t counted = 0;
    for (const auto& generation : old_generations_ | std::views::reverse) {
        if (!generation->replaced || generation->replaced->by == counted) {
            continue;
        }
        counted = generation->replaced->by;
        if (++configurations > kMostEarlierConfigurations) {
            return counted;
        }
    }
    return std::nullopt;
}

// The number of the earlier configurations must have a bound where reload_grace gives their
// requests none.
void Worker::cut_requests_of_oldest() {
    const auto last = one_reload_too_many();
    if (!last) {
        return;
    }
    std::uint64_t cut = 0;
    for (Exchange& exchange : exchanges_.active()) {
        const auto& replaced = exchange.generation().replaced;
        if (!exchange.is_cut() && replaced && replaced->by <= *last) {
            exchange.cut(kCutAfterManyReloads);
            ++cut;
        }
    }
    if (cut > 0) {
        state::bump(counters.cut_after_many_reloads, cut);
        spdlog::warn("{} request{} of the oldest configurations cut: {} later ones are in use", cut,
                     cut == 1 ? "" : "s", kMostEarlierConfigurations);
    }
}

void Worker::end_overdue_requests() {
    const base::Duration grace = generation_->snapshot().config->reload_grace;
    if (old_generations_.empty() || grace == base::Duration::zero()) {
        return;
    }
    // A client of an address that is gone may begin a request later: it has its time from then on.
    const auto is_overdue = [&](const Exchange& exchange) {
        const auto& replaced = exchange.generation().replaced;
        return replaced &&
               reactor.now_point() - std::max(replaced->at, exchange.started()) >= grace;
    };
    for (Exchange& exchange : exchanges_.active()) {
        if (!exchange.is_cut() && is_overdue(exchange)) {
            exchange.cut(kCutAfterReload);
        }
    }
}

void Worker::report_generations() {
    std::int64_t users = 0;
    for (const auto& generation : old_generations_) {
        users += static_cast<std::int64_t>(generation->users);
    }
    counters.old_generations.store(static_cast<std::int64_t>(old_generations_.size()),
                                   std::memory_order_relaxed);
    counters.old_generation_users.store(users, std::memory_order_relaxed);
}

void Worker::use_listeners(const Publication& publication) {
    for (const Listening& item : publication.listening) {
        const std::size_t place = item.listener->index();
        if (acceptors_.size() <= place) {
            acceptors_.resize(place + 1);
        }
        if (!acceptors_[place]) {
            acceptors_[place] = std::make_unique<Acceptor>(*this, item.listener);
        }
        acceptors_[place]->use(*generation_, generation_->at(item.address));
    }
    for (const auto& acceptor : acceptors_) {
        if (!acceptor || &acceptor->generation() == generation_.get()) {
            continue;
        }
        // The address may have left and come back with other sockets, or a wildcard replaces it.
        // Until its sockets close, the kernel gives them the clients that the wildcard will get.
        const Listener& listener = acceptor->listener();
        const AddressState* const same = generation_->find(listener.identity());
        const AddressState* const at =
            same != nullptr ? same : generation_->find_wildcard_of(listener.address());
        if (at != nullptr) {
            acceptor->use(*generation_, *at);
        } else {
            acceptor->leave();
        }
    }
}

void Worker::retire_old(const Generation& used) {
    const auto place =
        std::ranges::find(old_generations_, &used, &std::unique_ptr<Generation>::get);
    std::unique_ptr<Generation> old = std::move(*place);
    old_generations_.erase(place);
    retire(std::move(old));
}

// Closes parked connections that only this generation names. An older generation may still name the
// backend; the connections that it parks later are closed when it retires.
void Worker::retire(std::unique_ptr<Generation> old) {
    for (const state::Group& group : state::groups_of(old->snapshot())) {
        for (const state::Peer& peer : group.peers) {
            if (!generation_->names(peer.slot)) {
                pool.drop(peer.slot);
            }
        }
    }
}

const WorkerHandle* Worker::hand_over_target() const {
    const std::size_t count = shared.workers.size();
    if (count < 2 || is_at_end()) {
        return nullptr;
    }
    const std::int64_t mine = shared.board->load_of(index);
    std::int64_t sum = 0;
    std::int64_t least = mine;
    const WorkerHandle* target = nullptr;
    for (std::size_t i = 0; i < count; ++i) {
        const std::int64_t theirs = shared.board->load_of(i);
        sum += theirs;
        if (theirs < least) {
            least = theirs;
            target = &shared.workers[i];
        }
    }
    // The threshold of docs/architecture.md: more than 25 % + 4 connections above the mean.
    const std::int64_t mean = sum / static_cast<std::int64_t>(count);
    return mine + 1 > mean + mean / 4 + 4 ? target : nullptr;
}

void Worker::receive_client(int descriptor, const Listener& listener) {
    sockaddr_storage storage;
    socklen_t length = sizeof storage;
    if (::getpeername(descriptor, reinterpret_cast<sockaddr*>(&storage), &length) != 0) {
        ::close(descriptor);  // the client has left already
        return;
    }
    const auto peer =
        base::SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), length);
    // Every worker knows a listener before any of them accepts through it, and as long as any of
    // them can.
    adopt_client(descriptor, peer.value_or(base::SocketAddress{}),
                 *acceptors_.at(listener.index()));
}

bool Worker::is_site_full(const state::Site& site, const base::IpAddress& source,
                          std::int64_t own) const {
    const auto most = static_cast<std::int64_t>(site.config->limits.connections);
    return most > 0 && shared.board->site_connections(site.cell.index) - own >= most &&
           !is_trusted(site, source);
}

std::optional<Worker::Admission> Worker::admit_client(const state::Site& site,
                                                      const base::IpAddress* source) {
    const std::int64_t all = shared.board->connections();
    Admission admission;
    admission.is_over = is_full(0) || (source != nullptr && is_site_full(site, *source, 0));
    if (admission.is_over) {
        state::bump(counters.shed);
        if (all >= static_cast<std::int64_t>(limits_.connections) + kShedRoom) {
            return std::nullopt;
        }
        return admission;
    }
    if (source != nullptr && site.limits_clients) {
        admission.ticket = admit_to_table(site, *source);
        if (admission.ticket.admission == state::ClientTable::Admission::dropped) {
            return std::nullopt;
        }
    }
    return admission;
}

state::ClientTable::Ticket Worker::admit_to_table(const state::Site& site,
                                                  const base::IpAddress& source) {
    const auto ticket = shared.clients->enter(site.cell, source, per_client_limit(site, source));
    if (ticket.admission != state::ClientTable::Admission::served) {
        state::bump(counters.shed_per_client);
    }
    return ticket;
}

void Worker::enter_table(ClientConnection& client, const state::Site& site) {
    const state::ClientTable::Ticket ticket = admit_to_table(site, client.source.ip());
    client.entry = ticket.entry;
    client.admission = ticket.admission;
}

void Worker::admit_at(ClientConnection& client, const state::Site& site) {
    if (is_site_full(site, client.source.ip(), 0)) {
        client.shed = true;
        state::bump(counters.shed);
    } else if (site.limits_clients) {
        enter_table(client, site);
    }
}

bool Worker::admit_source(ClientConnection& client) {
    const state::Site& site = *client.acceptor.address().leading.site;
    // The process had room for it when it was accepted.
    if (!client.shed) {
        admit_at(client, site);
    }
    count_at(client, site.cell.index);
    return client.admission != state::ClientTable::Admission::dropped;
}

void Worker::move_client(ClientConnection& client, const SiteAtWork& to, std::uint32_t generation) {
    const state::Site& site = *to.site;
    const std::uint32_t cell = site.cell.index;
    const bool is_there = client.site == cell;
    if ((is_there && client.generation == generation) || client.shed ||
        client.admission != state::ClientTable::Admission::served) {
        return;
    }
    const std::uint32_t let_in = std::exchange(client.generation, generation);
    if (is_there) {
        use_limits(client, site, let_in < to.state->bound_fell_in);
        return;
    }
    leave_table(client);
    admit_at(client, site);
    if (!client.shed && client.admission == state::ClientTable::Admission::served) {
        count_at(client, cell);  // a refused one takes no place there
    }
}

// A bound on the number of connections holds for new ones, and for those that are there when it
// falls. A rate holds from the next request on, so the client gets an entry where the site limits
// its clients now.
void Worker::use_limits(ClientConnection& client, const state::Site& site, bool has_fallen) {
    if (has_fallen && is_site_full(site, client.source.ip(), 1)) {
        client.shed = true;
        state::bump(counters.shed);
    }
    if ((client.entry != nullptr) != site.limits_clients) {
        leave_table(client);
        if (!client.shed && site.limits_clients) {
            enter_table(client, site);
        }
    }
}

void Worker::count_in(ClientConnection& client, const Admission& admission) {
    client.generation = client.acceptor.generation().number();
    client.shed = admission.is_over;
    client.entry = admission.ticket.entry;
    client.admission = admission.ticket.admission;
    state::bump<std::int64_t>(counters.connections);
}

void Worker::count_at(ClientConnection& client, std::optional<std::uint32_t> site) {
    if (client.site == site) {
        return;
    }
    if (client.site) {
        shared.board->add_site_connections(index, *client.site, -1);
    }
    if (site) {
        shared.board->add_site_connections(index, *site, 1);
    }
    client.site = site;
}

void Worker::count_out(ClientConnection& client) {
    state::bump<std::int64_t>(counters.connections, -1);
    count_at(client, std::nullopt);
    leave_table(client);
}

// A connection that was refused when it came was counted then, and gets that answer. Where hosts
// choose the site, move_client() does the rest when the host is known.
void Worker::readmit(ClientConnection& client) {
    if (client.shed || client.admission != state::ClientTable::Admission::served) {
        return;
    }
    client.named.reset();  // its next request is looked up under the new rules
    if (client.generation < bound_fell_in_ && is_full(1)) {
        client.shed = true;
        state::bump(counters.shed);
    }
    const AddressState& at = client.acceptor.address();
    if (at.has_hosts) {
        return;
    }
    const state::Site& site = *at.leading.site;
    const std::uint32_t let_in =
        std::exchange(client.generation, client.acceptor.generation().number());
    if (client.site != site.cell.index) {
        leave_table(client);
        count_at(client, site.cell.index);
    }
    if (!client.shed) {
        use_limits(client, site, let_in < client.acceptor.bound_fell_in());
    }
}

void Worker::leave_table(ClientConnection& client) {
    if (client.entry != nullptr) {
        shared.clients->leave(*std::exchange(client.entry, nullptr), client.admission, now_ns());
    }
    client.admission = state::ClientTable::Admission::served;
}

void Worker::adopt_client(int descriptor, const base::SocketAddress& peer, Acceptor& acceptor) {
    const AddressState& at = acceptor.address();
    const state::Site& site = *at.leading.site;
    const bool names_source = base::contains(*at.address->accept_proxy, peer.ip());
    const auto admission = admit_client(site, names_source ? nullptr : &peer.ip());
    if (!admission) {
        ::close(descriptor);
        return;
    }
    auto* const client = new ClientConnection(*this, peer, acceptor);
    clients_.push_front(*client);
    ++acceptor.clients;
    count_in(*client, *admission);
    if (!names_source) {
        count_at(*client, site.cell.index);
    }
    if (!client->stream.open(descriptor)) {
        remove_client(*client);
        return;
    }
    if (names_source) {
        serve_proxied_client(client);
    } else {
        serve_client(client);
    }
}

void Worker::answer(std::shared_ptr<ClientSurvey> survey) {
    const bool is_walking = survey_ != nullptr;
    survey_ = std::make_unique<SurveyWalk>(*this, std::move(survey));
    if (!is_walking) {
        continue_survey();
    }
}

// A step in each round of the loop: requests go on in between.
void Worker::continue_survey() {
    if (survey_->step()) {
        reactor.submit([this] { continue_survey(); });
    } else {
        survey_.reset();
    }
}

void Worker::remove_client(ClientConnection& client) {
    if (survey_) {
        survey_->leave(client);
    }
    clients_.erase(clients_.iterator_to(client));
    count_out(client);
    --client.acceptor.clients;
    delete &client;
    if (is_at_end()) {
        check_finished();
    }
}

void Worker::backend_down(state::CellId backend) {
    if (!shared.board->is_current(state::CellKind::backend, backend)) {
        return;
    }
    pool.drop(backend.index);
    for (Exchange& exchange : exchanges_.active()) {
        exchange.on_backend_down(backend.index);
    }
}

void Worker::forget_parked(state::CellId backend) {
    if (shared.board->is_current(state::CellKind::backend, backend)) {
        pool.drop(backend.index);
    }
}

// A key is forgotten where its session had no request for balance.session_ttl.
void Worker::forget_sessions() {
    const std::uint64_t now = reactor.now_ms();
    for (const state::Group& group : state::groups_of(generation_->snapshot())) {
        state::SeenKeys* const seen = shared.board->seen_keys(index, group.cell);
        if (seen != nullptr) {
            seen->turn_after(now, static_cast<std::uint64_t>(group.balance->session_ttl.count()));
        }
    }
}

void Worker::note_mark(const state::Group& group, const state::Peer& peer, bool marked) {
    state::bump(marked ? counters.passive_marks_set : counters.passive_marks_cleared);
    const std::uint32_t server = group.servers[peer.server].figures.index;
    state::bump(shared.board->server_figures(index, server).marks[marked ? 0 : 1]);
}

void Worker::log(const observe::RequestRecord& record) {
    state::bump(counters.log_lines_dropped, access_lines_.add(record, reactor.now_point()));
}

void Worker::flush_log() {
    state::bump(counters.log_lines_dropped, access_lines_.flush());
}

void Worker::count_unasked() {
    const std::uint64_t all = pool.unasked();
    state::bump(counters.backend_unasked_bytes, all - std::exchange(unasked_seen_, all));
}

std::uint64_t Worker::next_random() {
    // splitmix64 (Steele, Lea, Flood 2014). For request ids and tie-breaking; neither must be
    // unpredictable.
    std::uint64_t z = (random_state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

}  // namespace s3gate::proxy
