// What a start is: Server::Impl::run() calls these steps in this order.
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <boost/algorithm/string/join.hpp>
#include <chrono>
#include <csignal>
#include <random>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "process_setup.hpp"
#include "s3gate/config/load.hpp"
#include "server_impl.hpp"

namespace s3gate::control {
namespace {

using std::chrono::seconds;

constexpr base::Duration kResolveAtStart = seconds{5};

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

// The process before waits for at most Succession::kLongestStart.
constexpr base::Duration kLongestFirstRound = Succession::kLongestStart / 2;

}  // namespace

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
    board = std::make_shared<state::Board>(worker_count);
    board->count_buckets(first_config->metrics.buckets);
    counter_report = std::make_unique<CounterReport>(*board, base::Clock::now());
    pipes = std::make_unique<net::PipeBudget>(first_config->limits.pipes, worker_count);
    server_overrides = std::make_unique<Overrides>(
        *board, [this](const ServerKey& server, state::Override command) {
            tell_old_processes(server, command);
        });
    deployment = std::make_unique<Deployment>(Deployment::Parts{
        context, *board, *pipes, *log, descriptors, worker_count, sockets.store,
        [this](proxy::Listener& over) { admin_listeners->close(over); },
        [this](const state::Snapshot& snapshot) { server_overrides->follow(snapshot); }});
    const Heritage heritage = lineage.predecessor ? Heritage::upgrade : Heritage::crash;
    inherited = inherited_state(lineage);
    deployment->inherit(
        InheritedSockets(std::exchange(sockets.passed, {}), heritage, inherited.closing), heritage);
    names = std::make_unique<NameService>(
        context, board->control(), repeated,
        [this](const state::Resolution& addresses) { return use_addresses(addresses); });
    names->use(*first_config);
    names->remember(inherited.names);
    names->resolve_first(kResolveAtStart);
}

// A second instance must not get this far: its sockets would take clients from the first one.
Provision Server::Impl::provision_start() {
    GenerationParts parts = build_parts(first_config, nullptr);
    Provision provision = deployment->provision(std::move(parts), names->addresses());
    for (const std::string& warning : provision.findings.warnings) {
        spdlog::warn("{}", warning);
    }
    if (!provision.findings.problems.empty()) {
        throw StartError(boost::algorithm::join(provision.findings.problems, "; "));
    }
    return provision;
}

void Server::Impl::become_user() {
    const std::string& user = first_config->user;
    if (user.empty()) {
        return;
    }
    const std::optional<uid_t> number = user_number(user);
    if (::geteuid() != 0) {
        if (number != ::geteuid()) {
            spdlog::warn("user {} is ignored: not started as root", user);
        }
        return;
    }
    if (number) {  // drop_privileges() says what is wrong otherwise
        deployment->give_sockets_to(*number);
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

namespace {

// The buckets that the processes before have counted get their places first.
void restore_buckets(const std::vector<std::string>& processes, state::BucketFigures& buckets) {
    for (const std::string& text : processes) {
        const auto report = read_report(text);
        if (!report || !report->figures) {
            continue;
        }
        for (const auto& [name, totals] : report->figures->buckets) {
            buckets.add(name.site, name.bucket);
        }
    }
}

}  // namespace

// What the process before knew, before the checks and the workers begin.
void Server::Impl::use_inherited() {
    restore(inherited.backends, *deployment->snapshot(), *board);
    restore(inherited.buckets, *deployment->snapshot(), *clients);
    if (board->buckets() != nullptr) {
        restore_buckets(inherited.processes, *board->buckets());
    }
    restore(inherited.sessions, *deployment->snapshot(), *board);
    server_overrides->replace(inherited.overrides);
    server_overrides->follow(*deployment->snapshot());
    alarm_watch.resume(inherited.alarms, *deployment->snapshot(), base::Clock::now());
    if (!inherited.unit.empty()) {
        lineage.unit = inherited.unit;
    }
}

void Server::Impl::build_services() {
    checker = std::make_unique<HealthChecker>(
        context, *board, repeated, [this](state::CellId backend, bool hard) {
            report_groups(base::Clock::now());
            if (hard) {
                for (const proxy::WorkerHandle& worker : shared.workers) {
                    worker.post_backend_down(backend);
                }
            }
        });
    reloader = std::make_unique<Reloader>(Reloader::Parts{
        context, *deployment, *names, *checker, *server_overrides, shared.workers,
        [this] { return obstacle_to_reload(); },
        [this](Operators operators) { return follow_configuration(std::move(operators)); }});
    succession = std::make_unique<Succession>(
        Succession::Parts{
            context, lineage, *board, *clients, *deployment, *server_overrides, *names,
            [this] { return obstacle_to_upgrade(); },
            [this] { return daemon_status->is_on_standby(); },
            [this] { return log_level_switch->hand_over(); },
            [this] { return alarm_watch.hand_over(); }, [this] { become_main(); },
            [this](bool is_on_standby) { is_on_standby ? standby() : active(); },
            [this](const boost::json::array& list) {
                server_overrides->replace(list);
                server_overrides->follow(*deployment->snapshot());
            },
            [this] { deployment->reopen_logs(); },
            [this](int pid, const std::set<std::string>& unused) { hand_over_to(pid, unused); },
            [this](std::string_view command) { on_link_command(command); },
            [this] { lose_successor(); }},
        inherited.processes);
    server_orders = std::make_unique<ServerOrders>(ServerOrders::Parts{
        context, *board, *server_overrides, [this] { return deployment->snapshot(); },
        shared.workers, succession->old_processes(),
        [this] { return phase == Phase::handed_over; }});
    log_level_switch = std::make_unique<LogLevelSwitch>(context, *log);
    log_level_switch->restore(inherited.log_level);
    client_surveys =
        std::make_unique<ClientSurveys>(context, shared.workers, succession->old_processes());
    daemon_status = std::make_unique<DaemonStatus>(
        context,
        DaemonStatus::Sources{phase, *deployment, *reloader, *names, *board, shared.workers,
                              succession->old_processes(), *log_level_switch, alarm_watch,
                              *server_overrides, *server_orders});
    metrics_page = std::make_unique<Metrics>([this] { return daemon_status->metrics(board); });
    admin_listeners = std::make_unique<AdminListeners>(context, *this, shared.hostname);
    before = lineage.predecessor ? std::optional(inherited.pid) : std::nullopt;
    if (std::exchange(inherited, {}).is_on_standby) {
        daemon_status->standby();
    }
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
    if (control_socket && control_socket->path() == path && control_socket->is_in_place()) {
        control_socket->use(std::move(operators));
        return;
    }
    try {
        control_socket =
            std::make_unique<ControlSocket>(context, path, std::move(operators), *this, before);
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
    succession->old_processes().forget_absent(*deployment->snapshot());
    admin_listeners->use(deployment->admin_listeners(), config().admin.allow);
    try {
        open_control_socket(std::move(operators));
    } catch (const std::runtime_error& error) {
        return std::string(error.what()) + "; the command socket stays where it was";
    }
    return {};
}

void Server::Impl::start_workers() {
    for (const int number : {SIGTERM, SIGQUIT, SIGINT, SIGUSR1, SIGUSR2, SIGHUP}) {
        signals.add(number);
    }
    for (const int number : signals_of_other_servers()) {
        signals.add(number);
    }
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

void Server::Impl::accept_clients() {
    for (const proxy::WorkerHandle& worker : shared.workers) {
        worker.post_listen();
    }
    admin_listeners->use(deployment->admin_listeners(), config().admin.allow);
}

void Server::Impl::start_checks() {
    checker->use(deployment->snapshot());
    const base::Duration limit = first_round_limit(config());
    checker->when_first_round_done(
        [this] { become_ready(); },
        lineage.predecessor ? std::min(limit, kLongestFirstRound) : limit);
}

void Server::Impl::become_ready() {
    if (phase != Phase::starting) {
        return;
    }
    if (lineage.predecessor) {
        try {
            take_over();
        } catch (const std::exception& error) {
            give_up_start(error.what());
            return;
        }
    }
    phase = Phase::serving;
    report_groups(base::Clock::now());
    const ServerCount servers = count_servers(*deployment->snapshot(), *board);
    const std::string admin = ListenerTable::describe(deployment->admin_listeners());
    spdlog::log(servers.up < servers.all ? spdlog::level::warn : spdlog::level::info,
                "ready: s3gate " S3GATE_VERSION
                ", {} worker{}, {} connections, {} of {} server{} up, listening on {}{}{}",
                worker_count, worker_count == 1 ? "" : "s",
                deployment->publication().limits.connections, servers.up, servers.all,
                servers.all == 1 ? "" : "s", ListenerTable::describe(deployment->publication()),
                admin.empty() ? "" : ", admin on ", admin);
    if (lineage.predecessor) {
        lineage.predecessor->tell_serving(deployment->unused_sockets());
        lineage.predecessor.reset();
    }
    if (is_main) {
        tell_service_manager();
    }
}

// This process serves, and is the service.
void Server::Impl::tell_service_manager() {
    call(hooks.ready);
    deployment->keep_sockets();
}

}  // namespace s3gate::control
