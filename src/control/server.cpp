#include "s3gate/control/server.hpp"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "commands.hpp"
#include "control_socket.hpp"
#include "counter_report.hpp"
#include "daemon_status.hpp"
#include "deployment.hpp"
#include "group_watch.hpp"
#include "growth_warning.hpp"
#include "health_checker.hpp"
#include "health_probe.hpp"
#include "in_background.hpp"
#include "name_service.hpp"
#include "operational_log.hpp"
#include "operators.hpp"
#include "process_setup.hpp"
#include "reloader.hpp"
#include "s3gate/base/clock.hpp"
#include "s3gate/base/descriptor.hpp"
#include "s3gate/config/load.hpp"
#include "s3gate/net/buffer_pool.hpp"
#include "s3gate/net/listen_socket.hpp"
#include "s3gate/observe/access_log.hpp"
#include "s3gate/observe/journal.hpp"
#include "s3gate/proxy/shared.hpp"
#include "s3gate/proxy/worker_handle.hpp"
#include "s3gate/proxy/worker_thread.hpp"
#include "s3gate/state/board.hpp"
#include "s3gate/state/client_table.hpp"
#include "s3gate/state/snapshot.hpp"
#include "timer.hpp"

namespace s3gate::control {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::seconds;

constexpr base::Duration kTick = seconds{1};
constexpr base::Duration kResolveAtStart = seconds{5};
constexpr base::Duration kFinishPoll{20};
// systemd answers within milliseconds, unless it reads its units at that moment.
constexpr base::Duration kLongestFence = seconds{1};
// A worker that ignores this limit after a stop has a bug; the process must still end.
constexpr base::Duration kLastResort = seconds{5};

// A reason that forbids the start; the text is for the operator.
struct StartError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

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

// The sender of these signals expects the behaviour of another server.
const char* refusal_of(int number) {
    switch (number) {
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

}  // namespace

struct Server::Impl final : Commands {
    Impl(std::shared_ptr<const config::Config> config_, Hooks hooks_, Sockets sockets_)
        : first_config(std::move(config_)), hooks(hooks_), sockets(std::move(sockets_)) {}
    ~Impl() override;

    int run();

    // What the control socket asks for
    asio::awaitable<CommandOutcome> reload(std::optional<base::Duration> confirm) override;
    CommandOutcome confirm() override;
    CommandOutcome standby() override;
    CommandOutcome active() override;
    boost::json::object status() override;
    HealthVerdict health(HealthQuestion question) override;
    asio::awaitable<std::string> configuration() override;

    // Steps of the start, in this order
    void open_log();
    void build_deployment();
    Provision provision_start();
    void become_user();
    void build_shared();
    void build_services();
    void open_control_socket(Operators operators);
    std::string follow_configuration(Operators operators);
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
    bool use_addresses(const state::Resolution& addresses);
    void become_ready();
    void on_hangup();
    std::string obstacle_to_reload() const;
    void end_or_stop(const char* signal);
    void begin_leaving();
    void release_sockets();
    void begin_delay(base::Duration delay);
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

    const config::Config& config() const { return deployment->config(); }

    std::shared_ptr<const config::Config> first_config;
    Hooks hooks;
    Sockets sockets;
    asio::io_context context{1};
    asio::signal_set signals{context};
    asio::posix::stream_descriptor fence{context};  // of sockets.store
    Timer fence_end{context};
    Timer tick{context};
    Timer delay_end{context};
    Timer drain_end{context};
    Timer finish_poll{context};
    base::TimePoint tick_due{};
    Phase phase = Phase::starting;

    std::unique_ptr<OperationalLog> log;
    std::uint64_t descriptors = 0;
    std::size_t worker_count = 1;

    std::unique_ptr<state::Board> board;
    std::unique_ptr<state::ClientTable> clients;
    std::unique_ptr<net::PipeBudget> pipes;
    std::unique_ptr<NameService> names;
    std::unique_ptr<Deployment> deployment;
    std::unique_ptr<HealthChecker> checker;
    std::unique_ptr<Reloader> reloader;
    proxy::Shared shared;
    std::vector<std::unique_ptr<proxy::WorkerThread>> workers;
    bool are_running = false;

    std::unique_ptr<DaemonStatus> daemon_status;
    std::unique_ptr<ControlSocket> control_socket;

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
        if (!first_config->user.empty() && ::geteuid() == 0) {
            forbid_new_privileges();  // before the log, which has its own thread
        }
        open_log();
        descriptors = raise_descriptor_limit();
        build_deployment();
        Provision provision = provision_start();
        become_user();
        // After the change of user: the kernel's limits depend on it.
        deployment->begin(std::move(provision));
        build_shared();
        build_services();
        Operators operators(first_config->admin.operators);
        for (const std::string& problem : operators.problems()) {
            spdlog::warn("admin.operators: {}", problem);
        }
        open_control_socket(std::move(operators));
    } catch (const std::exception& error) {
        if (log) {
            spdlog::error("cannot start: {}", error.what());
        }
        // A start by hand shows its failure on the terminal, wherever the log goes.
        if (!log || first_config->log.target != "stderr") {
            const std::string prefix(
                observe::journal_prefix(STDERR_FILENO, observe::Priority::error));
            std::fprintf(stderr, "%ss3gate: cannot start: %s\n", prefix.c_str(), error.what());
        }
        return kExitFailure;
    }
    start_workers();
    deployment->keep_sockets();
    start_checks();
    await_tick();
    context.run();
    return end();
}

void Server::Impl::open_log() {
    const config::Log& settings = first_config->log;
    prepare_log(first_config->user, settings.target);
    try {
        log = std::make_unique<OperationalLog>(settings);
    } catch (const std::system_error& error) {
        throw StartError("log " + settings.target + ": " + error.code().message());
    }
}

void Server::Impl::build_deployment() {
    worker_count = first_config->workers == 0 ? automatic_worker_count() : first_config->workers;
    board = std::make_unique<state::Board>(worker_count);
    counter_report = std::make_unique<CounterReport>(*board, base::Clock::now());
    pipes = std::make_unique<net::PipeBudget>(first_config->limits.pipes, worker_count);
    deployment = std::make_unique<Deployment>(
        Deployment::Parts{context, *board, *pipes, *log, descriptors, worker_count, sockets.store});
    deployment->inherit(InheritedSockets(std::exchange(sockets.passed, {})));
    names = std::make_unique<NameService>(
        context, board->control(),
        [this](const state::Resolution& addresses) { return use_addresses(addresses); });
    names->use(*first_config);
    names->resolve_first(kResolveAtStart);
}

// A second instance must not get this far: its sockets would take clients from the first one.
Provision Server::Impl::provision_start() {
    // The admin listeners are probed with the others so that they fail at the start, not later.
    std::vector<std::string> problems;
    for (const config::Listen& listen : first_config->admin.listen) {
        const net::ProbeResult probe = net::probe_bind(listen.address);
        if (!probe.error.empty()) {
            problems.push_back("cannot listen on " + listen.text + " (admin): " + probe.error);
        }
    }
    GenerationParts parts = build_parts(first_config, nullptr);
    problems.insert(problems.end(), parts.problems.begin(), parts.problems.end());
    parts.problems = std::move(problems);
    Provision provision = deployment->provision(std::move(parts), names->addresses());
    for (const std::string& warning : provision.findings.warnings) {
        spdlog::warn("{}", warning);
    }
    std::string text;
    for (const std::string& problem : provision.findings.problems) {
        text += (text.empty() ? "" : "; ") + problem;
    }
    if (!text.empty()) {
        throw StartError(text);
    }
    return provision;
}

void Server::Impl::become_user() {
    const std::string& user = first_config->user;
    if (user.empty()) {
        return;
    }
    if (::geteuid() != 0) {
        spdlog::warn("user {} is ignored: not started as root", user);
        return;
    }
    drop_privileges(user);
}

void Server::Impl::build_shared() {
    std::random_device random;
    clients = std::make_unique<state::ClientTable>(std::uint64_t{random()} << 32 | random());
    shared.board = board.get();
    shared.clients = clients.get();
    shared.pipes = pipes.get();
    shared.hostname = host_name();
}

// After the change of user: that user owns the folder and the file. A default path that cannot be
// used costs only the socket. A written path, or one with a living owner, forbids the start.
void Server::Impl::open_control_socket(Operators operators) {
    const config::Admin& admin = config().admin;
    const std::string path = config::control_socket(admin, config::process_environment());
    if (path.empty()) {
        control_socket.reset();
        return;
    }
    if (control_socket && control_socket->path() == path) {
        control_socket->use(std::move(operators));
        return;
    }
    try {
        control_socket =
            std::make_unique<ControlSocket>(context, path, std::move(operators), *this);
    } catch (const SocketTaken&) {
        throw;
    } catch (const std::runtime_error& error) {
        if (admin.socket != "auto") {
            throw;
        }
        spdlog::warn("{}; s3gate ctl cannot reach this process", error.what());
    }
}

// A reload has published another configuration. A socket that cannot be made does not take it back:
// the socket of before goes on. Returns what the operator must know of that.
std::string Server::Impl::follow_configuration(Operators operators) {
    try {
        open_control_socket(std::move(operators));
    } catch (const std::runtime_error& error) {
        return std::string(error.what()) + "; the command socket stays where it was";
    }
    return {};
}

void Server::Impl::start_workers() {
    for (const int number : {SIGTERM, SIGQUIT, SIGINT, SIGUSR1, SIGHUP}) {
        signals.add(number);
    }
    for (const int number : signals_of_other_servers()) {
        signals.add(number);
    }
    await_signal();
    const std::vector<int> processors = allowed_processors();
    const SignalsBlocked blocked;
    for (std::size_t i = 0; i < worker_count; ++i) {
        workers.push_back(
            std::make_unique<proxy::WorkerThread>(i, shared, deployment->publication()));
        shared.workers.push_back(workers.back()->handle());
    }
    seen_ticks.assign(worker_count, 0);
    are_running = true;
    for (std::size_t i = 0; i < worker_count; ++i) {
        if (config().cpu_affinity) {
            const ProcessorPin pin(processors[i % processors.size()]);
            workers[i]->start();
        } else {
            workers[i]->start();
        }
    }
}

void Server::Impl::build_services() {
    checker =
        std::make_unique<HealthChecker>(context, *board, [this](state::CellId backend, bool hard) {
            report_groups(base::Clock::now());
            if (hard) {
                for (const proxy::WorkerHandle& worker : shared.workers) {
                    worker.post_backend_down(backend);
                }
            }
        });
    reloader = std::make_unique<Reloader>(Reloader::Parts{
        context, *deployment, *names, *checker, shared.workers,
        [this] { return obstacle_to_reload(); },
        [this](Operators operators) { return follow_configuration(std::move(operators)); }});
    daemon_status = std::make_unique<DaemonStatus>(
        context,
        DaemonStatus::Sources{phase, *deployment, *reloader, *names, *board, shared.workers});
}

void Server::Impl::start_checks() {
    checker->use(deployment->snapshot());
    checker->when_first_round_done([this] { become_ready(); }, first_round_limit(config()));
}

void Server::Impl::become_ready() {
    if (phase != Phase::starting) {
        return;
    }
    phase = Phase::serving;
    report_groups(base::Clock::now());
    const ServerCount servers = count_servers(*deployment->snapshot(), *board);
    spdlog::log(servers.up < servers.all ? spdlog::level::warn : spdlog::level::info,
                "ready: s3gate " S3GATE_VERSION
                ", {} worker{}, {} connections, {} of {} server{} up, listening on {}",
                worker_count, worker_count == 1 ? "" : "s",
                deployment->publication().limits.connections, servers.up, servers.all,
                servers.all == 1 ? "" : "s", ListenerTable::describe(deployment->publication()));
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
            end_or_stop("SIGTERM");
            break;
        case SIGQUIT:
            end_or_stop("SIGQUIT");
            break;
        case SIGHUP:
            on_hangup();
            break;
        case SIGINT:
            stop_now("SIGINT");
            break;
        case SIGUSR1:
            spdlog::info("reopening the logs");
            deployment->reopen_logs();
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
    if (phase == Phase::leaving || phase == Phase::draining) {
        call(hooks.still_stopping);
    }
    clients->sweep(
        static_cast<std::uint64_t>(std::chrono::nanoseconds(now.time_since_epoch()).count()));
    deployment->collect();
    report_groups(now);
    report_losses(now);
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
        group_watch.look(*deployment->snapshot(), *board, now);
    }
}

void Server::Impl::report_losses(base::TimePoint now) {
    if (const auto shared_by = shared_entries.growth(clients->shared(), now)) {
        spdlog::warn(
            "limits of clients: {} clients are known and there is no room for more; {} connections "
            "of others share their limits",
            clients->size(), shared_by);
    }
    const observe::LogWriter& access_log = *deployment->publication().access_log;
    if (const auto lines = dropped_lines.growth(access_log.dropped_lines(), now)) {
        spdlog::warn("access log {}: {} lines dropped: it does not take them fast enough",
                     config().access_log.target, lines);
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

bool Server::Impl::use_addresses(const state::Resolution& addresses) {
    return phase == Phase::draining || phase == Phase::stopping ||
           deployment->use_addresses(addresses, shared.workers, *checker);
}

void Server::Impl::on_hangup() {
    spdlog::info("SIGHUP: reopening the logs, reading the configuration");
    deployment->reopen_logs();
    asio::co_spawn(context, reloader->reload(std::nullopt), asio::detached);
}

std::string Server::Impl::obstacle_to_reload() const {
    return phase == Phase::starting || phase == Phase::serving ? "" : "the daemon is stopping";
}

// The first signal drains, the second one stops at once. One during shutdown_delay ends the delay.
void Server::Impl::end_or_stop(const char* signal) {
    if (phase == Phase::draining) {
        stop_now((std::string(signal) + " while draining").c_str());
    } else if (phase == Phase::leaving) {
        spdlog::info("{} ends shutdown_delay", signal);
        begin_drain();
    } else if (phase != Phase::stopping) {
        call(hooks.stopping);
        begin_leaving();
    }
}

// Waits until nobody else holds the listening sockets: a client that connects after their close is
// refused, and does not wait in a queue that nobody reads.
void Server::Impl::begin_leaving() {
    phase = Phase::leaving;
    for (const proxy::WorkerHandle& worker : shared.workers) {
        worker.post_announce_close();
    }
    release_sockets();
    if (!fence.is_open()) {
        begin_delay(config().shutdown_delay);
        return;
    }
    fence.async_wait(asio::posix::stream_descriptor::wait_read, [this](error_code) {
        fence_end.cancel();
        if (phase == Phase::leaving) {
            begin_delay(config().shutdown_delay);
        }
    });
    fence_end.expires_after(kLongestFence);
    fence_end.async_wait([this](error_code error) {
        if (!error) {
            spdlog::warn("systemd does not take the listening sockets out of its store");
            fence.close();
        }
    });
}

void Server::Impl::release_sockets() {
    deployment->release_sockets();
    if (base::Descriptor made = sockets.store ? sockets.store->fence() : base::Descriptor()) {
        fence.assign(made.release());
    }
}

// For `delay` all requests are served, but each answer is the last one of its connection. So few
// clients are left when the virtual IP leaves.
void Server::Impl::begin_delay(base::Duration delay) {
    if (delay == base::Duration::zero()) {
        begin_drain();
        return;
    }
    spdlog::info("leaving: serves on for {} s, each answer with Connection: close",
                 std::chrono::duration<double>(delay).count());
    delay_end.expires_after(delay);
    delay_end.async_wait([this](error_code error) {
        if (!error && phase == Phase::leaving) {
            begin_drain();
        }
    });
}

void Server::Impl::begin_drain() {
    phase = Phase::draining;
    const base::Duration limit = config().shutdown_timeout;
    spdlog::info("draining: requests in progress have {} s",
                 std::chrono::duration<double>(limit).count());
    drain_end.expires_after(limit);
    drain_end.async_wait([this](error_code error) {
        if (!error) {
            stop_now("shutdown_timeout is over");
        }
    });
    // systemd may still hold the sockets: a client that connects must not depend on that.
    deployment->refuse_clients();
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
        if (phase != Phase::leaving) {
            call(hooks.stopping);
            deployment->release_sockets();
        }
        deployment->refuse_clients();
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
    control_socket.reset();
    names->stop();
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
    deployment->end();  // the access log writes the queued lines
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

asio::awaitable<CommandOutcome> Server::Impl::reload(std::optional<base::Duration> confirm) {
    deployment->reopen_logs();
    return reloader->reload(confirm);
}

CommandOutcome Server::Impl::confirm() {
    return reloader->confirm();
}

CommandOutcome Server::Impl::standby() {
    return daemon_status->standby();
}

CommandOutcome Server::Impl::active() {
    return daemon_status->active();
}

boost::json::object Server::Impl::status() {
    return daemon_status->status();
}

HealthVerdict Server::Impl::health(HealthQuestion question) {
    return daemon_status->health(question);
}

asio::awaitable<std::string> Server::Impl::configuration() {
    // Named: GCC 12 destroys a temporary with captures twice within co_await (PR 99576).
    const auto print = [config = deployment->snapshot()->config] { return config::dump(*config); };
    co_return co_await in_background(print);
}

Server::Server(std::shared_ptr<const config::Config> config, Hooks hooks, Sockets sockets)
    : impl_(std::make_unique<Impl>(std::move(config), hooks, std::move(sockets))) {}

Server::~Server() = default;

void Server::disarm_signals() {
    control::disarm_signals();
}

int Server::run() {
    return impl_->run();
}

}  // namespace s3gate::control
