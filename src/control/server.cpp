#include "s3gate/control/server.hpp"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>
#include <functional>
#include <optional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "counter_report.hpp"
#include "group_watch.hpp"
#include "health_checker.hpp"
#include "health_probe.hpp"
#include "operational_log.hpp"
#include "process_setup.hpp"
#include "s3gate/base/clock.hpp"
#include "s3gate/control/resolver.hpp"
#include "s3gate/net/buffer_pool.hpp"
#include "s3gate/net/listen_socket.hpp"
#include "s3gate/observe/access_log.hpp"
#include "s3gate/observe/journal.hpp"
#include "s3gate/proxy/listener.hpp"
#include "s3gate/proxy/shared.hpp"
#include "s3gate/proxy/worker_handle.hpp"
#include "s3gate/proxy/worker_thread.hpp"
#include "s3gate/state/board.hpp"
#include "s3gate/state/client_table.hpp"
#include "s3gate/state/slot_directory.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::control {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::seconds;
using Timer = asio::basic_waitable_timer<base::Clock, asio::wait_traits<base::Clock>,
                                         asio::io_context::executor_type>;

constexpr base::Duration kTick = seconds{1};
constexpr base::Duration kResolveAtStart = seconds{5};
constexpr base::Duration kResolveAgain = seconds{10};
constexpr base::Duration kWarnEvery = seconds{10};
constexpr base::Duration kFinishPoll{20};
// A worker that ignores this limit after a stop has a bug; the process must still end.
constexpr base::Duration kLastResort = seconds{5};
// Descriptors for other uses than clients and backends: listeners, pipes, logs, health checks.
constexpr std::uint64_t kReservedDescriptors = 512;

// A reason that forbids the start; the text is for the operator.
struct StartError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Clients that RLIMIT_NOFILE allows when each has one backend connection.
std::uint64_t carried_connections(std::uint64_t descriptors) {
    const std::uint64_t reserved = std::min(kReservedDescriptors, descriptors / 2);
    return std::max<std::uint64_t>((descriptors - reserved) / 2, 1);
}

std::string joined(const std::vector<base::IpAddress>& addresses) {
    std::string out;
    for (const base::IpAddress& address : addresses) {
        out += (out.empty() ? "" : ", ") + address.to_string();
    }
    return out;
}

// READY waits for the first round of checks, for at most this long (docs/architecture.md,
// "Health").
base::Duration first_round_limit(const config::Config& config) {
    base::Duration longest{0};
    for (const config::Site& site : config.sites) {
        if (site.health.enabled) {
            longest = std::max(longest, site.health.timeout);
        }
    }
    return longest + seconds{1};
}

// Reports the growth of a counter, at most every ten seconds.
class GrowthWarning {
  public:
    std::uint64_t growth(std::uint64_t value, base::TimePoint now) {
        if (value == reported_ || now < next_) {
            return 0;
        }
        next_ = now + kWarnEvery;
        return value - std::exchange(reported_, value);
    }

  private:
    std::uint64_t reported_ = 0;
    base::TimePoint next_{};
};

// The sender of these signals expects the behaviour of another server.
const char* refusal_of(int number) {
    switch (number) {
        case SIGHUP:
            return "SIGHUP: this version cannot reload its configuration; restart it instead";
        case SIGUSR2:
            return "SIGUSR2: this version cannot upgrade in place; restart it instead";
        case SIGWINCH:
            return "SIGWINCH: nothing stops for it; SIGTERM and SIGQUIT drain and stop";
        case SIGTTOU:
            return "SIGTTOU: listeners are not paused for it; SIGTERM and SIGQUIT drain and stop";
        case SIGTTIN:
            return "SIGTTIN: there is nothing to resume";
        default:
            return "a signal that means nothing here";
    }
}

enum class Phase {
    starting,  // until the first round of checks has ended
    serving,
    draining,
    stopping,  // open connections are cut
};

}  // namespace

struct Server::Impl {
    Impl(std::shared_ptr<const config::Config> config_, Hooks hooks_)
        : config(std::move(config_)), hooks(hooks_) {}
    ~Impl();

    int run();

    // Steps of the start, in this order
    void prepare_log(const std::string& target) const;
    void open_log();
    void resolve_names();
    void for_servers_of(const std::string& host,
                        const std::function<void(const config::Site&, const config::Server&)>& use);
    void build_first_snapshot();
    const std::string& name_of_site(const state::Address& address) const;
    // The addresses of the snapshot that this host can listen on.
    std::vector<const state::Address*> probe_addresses() const;
    void open_access_log();
    void open_listeners(const std::vector<const state::Address*>& addresses);
    void become_user();
    void build_shared();
    void start_workers();
    void start_checks();

    // The control loop
    void await_signal();
    void on_signal(int number);
    void await_tick();
    void on_tick();
    void feed_watchdog();
    void report_groups(base::TimePoint now);
    void report_losses(base::TimePoint now);
    void report_counters(std::optional<CounterReport::Line> line) const;
    void resolve_more(base::TimePoint now);
    void publish();
    void become_ready();
    void begin_drain();
    void stop_now(const char* why);
    void await_finish();
    bool has_finished() const;
    int end();
    int report_end(const proxy::CutShort& cut) const;
    void call(void (*hook)(void*)) const {
        if (hook != nullptr) {
            hook(hooks.context);
        }
    }

    std::shared_ptr<const config::Config> config;
    Hooks hooks;
    asio::io_context context{1};
    asio::signal_set signals{context};
    Timer tick{context};
    Timer drain_end{context};
    Timer finish_poll{context};
    base::TimePoint tick_due{};
    Phase phase = Phase::starting;

    std::unique_ptr<OperationalLog> log;
    std::unique_ptr<observe::LogWriter> access_log;
    std::uint64_t descriptors = 0;
    std::size_t worker_count = 1;

    state::Resolution resolution;
    std::set<std::string> unresolved;
    std::unique_ptr<PendingResolution> pending;
    base::TimePoint next_resolve{};

    std::vector<std::shared_ptr<proxy::Listener>> listeners;

    std::unique_ptr<state::Board> board;
    std::unique_ptr<state::SlotDirectory> directory;
    std::unique_ptr<state::ClientTable> clients;
    std::unique_ptr<net::PipeBudget> pipes;
    proxy::Shared shared;
    std::shared_ptr<const state::Snapshot> snapshot;
    std::unique_ptr<HealthChecker> checker;
    std::vector<std::unique_ptr<proxy::WorkerThread>> workers;
    bool are_running = false;

    std::vector<std::uint64_t> seen_ticks;  // of each worker, at the last control tick
    std::unique_ptr<CounterReport> counter_report;
    GroupWatch group_watch;
    GrowthWarning dropped_lines;
    GrowthWarning discarded_checks;
    GrowthWarning shared_entries;
};

Server::Impl::~Impl() {
    if (are_running) {  // only after an exception in the control loop
        for (const proxy::WorkerHandle& worker : shared.workers) {
            worker.post_stop();
        }
        for (const auto& worker : workers) {
            worker->join();
        }
    }
}

int Server::Impl::run() {
    try {
        if (!config->user.empty() && ::geteuid() == 0) {
            forbid_new_privileges();  // before the log, which has its own thread
        }
        open_log();
        descriptors = raise_descriptor_limit();
        resolve_names();
        build_first_snapshot();
        const std::vector<const state::Address*> addresses = probe_addresses();
        open_access_log();
        open_listeners(addresses);
        become_user();
        build_shared();
    } catch (const std::exception& error) {
        if (log) {
            spdlog::error("cannot start: {}", error.what());
        }
        // An operator who starts the daemon by hand reads stderr, even if the log goes elsewhere.
        if (!log || config->log.target != "stderr") {
            const std::string prefix(
                observe::journal_prefix(STDERR_FILENO, observe::Priority::error));
            std::fprintf(stderr, "%ss3gate: cannot start: %s\n", prefix.c_str(), error.what());
        }
        return kExitFailure;
    }
    start_workers();
    start_checks();
    await_tick();
    context.run();
    return end();
}

void Server::Impl::prepare_log(const std::string& target) const {
    if (!config->user.empty() && ::geteuid() == 0 && target.starts_with('/')) {
        create_log_for(config->user, target);
    }
}

void Server::Impl::open_log() {
    prepare_log(config->log.target);
    try {
        log = std::make_unique<OperationalLog>(config->log);
    } catch (const std::system_error& error) {
        throw StartError("log " + config->log.target + ": " + error.code().message());
    }
}

void Server::Impl::resolve_names() {
    ResolveOutcome outcome = resolve_all(*config, kResolveAtStart);
    resolution = std::move(outcome.addresses);
    for (const auto& [host, reason] : outcome.errors) {
        for_servers_of(host, [&](const config::Site& site, const config::Server& server) {
            spdlog::warn("{} is down: cannot resolve {}: {}",
                         state::label_of(site.backends.name, server, {}), host, reason);
        });
        unresolved.insert(host);
    }
    next_resolve = base::Clock::now() + kResolveAgain;
}

void Server::Impl::for_servers_of(
    const std::string& host,
    const std::function<void(const config::Site&, const config::Server&)>& use) {
    for (const config::Site& site : config->sites) {
        for (const config::Server& server : site.backends.servers) {
            if (server.host == host) {
                use(site, server);
            }
        }
    }
}

void Server::Impl::build_first_snapshot() {
    worker_count = config->workers == 0 ? automatic_worker_count() : config->workers;
    board = std::make_unique<state::Board>(worker_count);
    state::bump<std::uint64_t>(board->control().lookups_failed, unresolved.size());
    counter_report = std::make_unique<CounterReport>(*board, base::Clock::now());
    directory = std::make_unique<state::SlotDirectory>(*board);
    snapshot = state::build_snapshot(config, resolution, *directory);
}

// Runs before the daemon listens: a second instance would otherwise share the clients of the first
// one (SO_REUSEPORT) without an error (docs/architecture.md, "Start, drain, stop").
std::vector<const state::Address*> Server::Impl::probe_addresses() const {
    std::vector<const state::Address*> usable;
    for (const state::Address& address : snapshot->addresses) {
        const net::ProbeResult probe = net::probe_bind(address.address);
        if (probe.no_ipv6) {
            spdlog::warn("no IPv6 on this host: site {} does not listen on {}",
                         name_of_site(address), address.text);
            continue;
        }
        if (!probe.error.empty()) {
            throw StartError("cannot listen on " + address.text + " (site " +
                             name_of_site(address) + "): " + probe.error);
        }
        usable.push_back(&address);
    }
    // A bad admin listener must fail the start as well.
    for (const config::Listen& listen : config->admin.listen) {
        const net::ProbeResult probe = net::probe_bind(listen.address);
        if (!probe.error.empty()) {
            throw StartError("cannot listen on " + listen.text + " (admin): " + probe.error);
        }
    }
    if (usable.empty()) {
        throw StartError("no address to listen on");
    }
    return usable;
}

const std::string& Server::Impl::name_of_site(const state::Address& address) const {
    return snapshot->sites[address.default_site].config->name;
}

void Server::Impl::open_access_log() {
    prepare_log(config->access_log.target);
    try {
        access_log = std::make_unique<observe::LogWriter>(config->access_log.target);
    } catch (const std::system_error& error) {
        throw StartError("access log " + config->access_log.target + ": " + error.code().message());
    }
}

void Server::Impl::open_listeners(const std::vector<const state::Address*>& addresses) {
    for (const state::Address* const address : addresses) {
        const auto index = static_cast<std::uint32_t>(listeners.size());
        try {
            listeners.push_back(proxy::listen_on(index, *address, worker_count));
        } catch (const std::system_error& error) {
            throw StartError("cannot listen on " + address->address.to_string() + " (site " +
                             name_of_site(*address) + "): " + error.code().message());
        }
    }
}

void Server::Impl::become_user() {
    if (config->user.empty()) {
        return;
    }
    if (::geteuid() != 0) {
        spdlog::warn("user {} is ignored: not started as root", config->user);
        return;
    }
    drop_privileges(config->user);
}

void Server::Impl::build_shared() {
    std::random_device random;
    clients = std::make_unique<state::ClientTable>(std::uint64_t{random()} << 32 | random());
    // After the change of user: the kernel's limit depends on the user.
    pipes = std::make_unique<net::PipeBudget>(config->limits.pipes, worker_count);

    const std::uint64_t carried = carried_connections(descriptors);
    const std::uint64_t wanted = config->limits.connections;
    if (wanted > carried) {
        spdlog::warn("limits.connections is {}, but RLIMIT_NOFILE of {} carries about {}", wanted,
                     descriptors, carried);
    }
    shared.board = board.get();
    shared.clients = clients.get();
    shared.access_log = access_log.get();
    shared.pipes = pipes.get();
    shared.hostname = host_name();
    shared.connection_limit = wanted == 0 ? carried : wanted;
    shared.parked_limit = std::max<std::size_t>(descriptors / 4 / worker_count, 1);
    shared.replay_memory = config->limits.replay_memory / worker_count;
}

void Server::Impl::start_workers() {
    for (const int number : {SIGTERM, SIGQUIT, SIGINT, SIGUSR1}) {
        signals.add(number);
    }
    for (const int number : signals_of_other_servers()) {
        signals.add(number);
    }
    await_signal();
    const std::vector<int> processors = allowed_processors();
    const SignalsBlocked blocked;
    for (std::size_t i = 0; i < worker_count; ++i) {
        workers.push_back(std::make_unique<proxy::WorkerThread>(i, shared, snapshot, listeners));
        shared.workers.push_back(workers.back()->handle());
    }
    seen_ticks.assign(worker_count, 0);
    are_running = true;
    for (std::size_t i = 0; i < worker_count; ++i) {
        if (config->cpu_affinity) {
            const ProcessorPin pin(processors[i % processors.size()]);
            workers[i]->start();
        } else {
            workers[i]->start();
        }
    }
}

void Server::Impl::start_checks() {
    checker =
        std::make_unique<HealthChecker>(context, *board, [this](state::CellId backend, bool hard) {
            report_groups(base::Clock::now());
            if (hard) {
                for (const proxy::WorkerHandle& worker : shared.workers) {
                    worker.post_backend_down(backend);
                }
            }
        });
    checker->use(snapshot);
    checker->when_first_round_done([this] { become_ready(); }, first_round_limit(*config));
}

void Server::Impl::become_ready() {
    if (phase != Phase::starting) {
        return;
    }
    phase = Phase::serving;
    report_groups(base::Clock::now());
    const ServerCount servers = count_servers(*snapshot, *board);
    std::string where;
    for (const auto& listener : listeners) {
        const auto address =
            std::ranges::find(snapshot->addresses, listener->identity(), &state::Address::identity);
        where += (where.empty() ? "" : ", ") + listener->address().to_string() + " (" +
                 name_of_site(*address) + ")";
    }
    spdlog::log(servers.up < servers.all ? spdlog::level::warn : spdlog::level::info,
                "ready: s3gate " S3GATE_VERSION
                ", {} worker{}, {} connections, {} of {} server{} up, listening on {}",
                worker_count, worker_count == 1 ? "" : "s", shared.connection_limit, servers.up,
                servers.all, servers.all == 1 ? "" : "s", where);
    call(hooks.ready);
}

void Server::Impl::await_signal() {
    signals.async_wait([this](error_code error, int number) {
        if (!error) {
            on_signal(number);
            await_signal();
        }
    });
}

void Server::Impl::on_signal(int number) {
    switch (number) {
        case SIGTERM:
        case SIGQUIT:
            if (phase == Phase::draining) {
                stop_now(number == SIGTERM ? "SIGTERM while draining" : "SIGQUIT while draining");
            } else {
                begin_drain();
            }
            break;
        case SIGINT:
            stop_now("SIGINT");
            break;
        case SIGUSR1:
            spdlog::info("reopening the logs");
            log->reopen();
            access_log->reopen();
            break;
        default:
            spdlog::warn("{}", refusal_of(number));
            break;
    }
}

void Server::Impl::await_tick() {
    tick_due = base::Clock::now() + kTick;
    tick.expires_at(tick_due);
    tick.async_wait([this](error_code error) {
        if (!error) {
            on_tick();
            await_tick();
        }
    });
}

void Server::Impl::on_tick() {
    const base::TimePoint now = base::Clock::now();
    if (now - tick_due > kOwnStall) {
        checker->discard_running();
        state::bump(board->control().stalls);
        spdlog::warn("this process stood still for {} ms; checks in progress are discarded",
                     std::chrono::duration_cast<base::Duration>(now - tick_due).count());
    }
    feed_watchdog();
    clients->sweep(
        static_cast<std::uint64_t>(std::chrono::nanoseconds(now.time_since_epoch()).count()));
    directory->collect();
    report_groups(now);
    report_losses(now);
    resolve_more(now);
    report_counters(counter_report->tick(now));
}

// Life signs stop when any worker's loop has not moved since the last tick, so the watchdog
// restarts the process.
void Server::Impl::feed_watchdog() {
    bool is_alive = true;
    for (std::size_t i = 0; i < workers.size(); ++i) {
        const std::uint64_t ticks = board->counters(i).ticks.load(std::memory_order_relaxed);
        const bool moved = std::exchange(seen_ticks[i], ticks) != ticks;
        is_alive = is_alive && (moved || shared.workers[i].is_finished());
    }
    if (is_alive) {
        call(hooks.alive);
    }
}

void Server::Impl::report_groups(base::TimePoint now) {
    if (phase != Phase::stopping) {
        group_watch.look(*snapshot, *board, now);
    }
}

void Server::Impl::report_losses(base::TimePoint now) {
    if (const auto shared_by = shared_entries.growth(clients->shared(), now)) {
        spdlog::warn(
            "limits of clients: {} clients are known and there is no room for more; {} connections "
            "of others share their limits",
            clients->size(), shared_by);
    }
    if (const auto lines = dropped_lines.growth(access_log->dropped_lines(), now)) {
        spdlog::warn("access log {}: {} lines dropped: it does not take them fast enough",
                     config->access_log.target, lines);
    }
    const auto discarded = board->control().discarded.load(std::memory_order_relaxed);
    if (const auto checks = discarded_checks.growth(discarded, now)) {
        spdlog::warn(
            "health checks without a verdict: {} (this process stood still, or ran out of "
            "descriptors, ports or memory)",
            checks);
    }
}

void Server::Impl::report_counters(std::optional<CounterReport::Line> line) const {
    if (line) {
        spdlog::log(
            line->level == state::CounterLevel::trouble ? spdlog::level::warn : spdlog::level::info,
            "{}", line->text);
    }
}

// Names unknown at the start are looked up until they are known. One round at a time: a hanging
// resolver must not accumulate threads.
void Server::Impl::resolve_more(base::TimePoint now) {
    if (unresolved.empty() || phase == Phase::draining || phase == Phase::stopping) {
        return;
    }
    if (!pending) {
        if (now >= next_resolve) {
            pending = std::make_unique<PendingResolution>(unresolved);
        }
        return;
    }
    const bool is_done = pending->is_done();
    bool has_news = false;
    for (auto& [host, addresses] : pending->outcome().addresses) {
        if (unresolved.erase(host) == 1) {
            for_servers_of(host, [&](const config::Site& site, const config::Server& server) {
                spdlog::info("{} is resolved",
                             state::label_of(site.backends.name, server, joined(addresses)));
            });
            resolution[host] = addresses;
            has_news = true;
        }
    }
    if (is_done) {
        state::bump<std::uint64_t>(board->control().lookups_failed,
                                   pending->outcome().errors.size());
        pending.reset();
        next_resolve = now + kResolveAgain;
    }
    if (has_news) {
        publish();
    }
}

void Server::Impl::publish() {
    try {
        snapshot = state::build_snapshot(config, resolution, *directory);
    } catch (const std::length_error& error) {
        spdlog::error("new addresses are not used: {}", error.what());
        return;
    }
    checker->use(snapshot);
    for (const proxy::WorkerHandle& worker : shared.workers) {
        worker.post_snapshot(snapshot);
    }
}

void Server::Impl::begin_drain() {
    if (phase == Phase::stopping) {
        return;
    }
    phase = Phase::draining;
    spdlog::info("draining: requests in progress have {} s",
                 std::chrono::duration<double>(config->shutdown_timeout).count());
    call(hooks.stopping);
    drain_end.expires_after(config->shutdown_timeout);
    drain_end.async_wait([this](error_code error) {
        if (!error) {
            stop_now("shutdown_timeout is over");
        }
    });
    for (const proxy::WorkerHandle& worker : shared.workers) {
        worker.post_drain();
    }
    await_finish();
}

void Server::Impl::stop_now(const char* why) {
    if (phase == Phase::stopping) {
        return;
    }
    spdlog::info("stopping at once: {}", why);
    if (phase != Phase::draining) {
        call(hooks.stopping);
        await_finish();
    }
    phase = Phase::stopping;
    for (const proxy::WorkerHandle& worker : shared.workers) {
        worker.post_stop();
    }
    drain_end.expires_after(kLastResort);
    drain_end.async_wait([](error_code error) {
        if (!error) {
            spdlog::error("a worker does not end; giving up on it");
            ::_exit(kExitForced);
        }
    });
}

void Server::Impl::await_finish() {
    finish_poll.expires_after(kFinishPoll);
    finish_poll.async_wait([this](error_code error) {
        if (error) {
            return;
        }
        if (has_finished()) {
            context.stop();
        } else {
            await_finish();
        }
    });
}

bool Server::Impl::has_finished() const {
    return std::ranges::all_of(shared.workers, &proxy::WorkerHandle::is_finished);
}

int Server::Impl::end() {
    checker->stop();
    proxy::CutShort cut;
    for (const auto& worker : workers) {
        const proxy::CutShort of_worker = worker->join();
        cut.requests += of_worker.requests;
        cut.tunnels += of_worker.tunnels;
        cut.endless += of_worker.endless;
    }
    are_running = false;
    shared.workers.clear();
    workers.clear();
    access_log.reset();  // writes the queued lines
    report_counters(counter_report->rest(base::Clock::now()));
    spdlog::info("{}", counter_report->totals());
    return report_end(cut);
}

// Logs what the end cut; returns the exit code.
int Server::Impl::report_end(const proxy::CutShort& cut) const {
    if (cut.tunnels > 0) {
        // Not a failure: a WebSocket may never end, so a drain cannot wait for it.
        spdlog::info("{} tunnel{} still open at the end of the drain and cut", cut.tunnels,
                     cut.tunnels == 1 ? " was" : "s were");
    }
    if (cut.endless > 0) {
        spdlog::info("{} answer{} that waited for events {} ended", cut.endless,
                     cut.endless == 1 ? "" : "s", cut.endless == 1 ? "was" : "were");
    }
    const std::string left = board->leftovers();
    if (cut.requests == 0 && cut.tunnels == 0 && !left.empty()) {
        spdlog::error("still counted as in flight after the last request: {}", left);
    }
    if (cut.requests > 0) {
        spdlog::warn("stopped; {} request{} cut short", cut.requests,
                     cut.requests == 1 ? " was" : "s were");
        return kExitForced;
    }
    spdlog::info("stopped");
    return kExitOk;
}

Server::Server(std::shared_ptr<const config::Config> config, Hooks hooks)
    : impl_(std::make_unique<Impl>(std::move(config), hooks)) {}

Server::~Server() = default;

void Server::disarm_signals() {
    control::disarm_signals();
}

int Server::run() {
    return impl_->run();
}

}  // namespace s3gate::control
