// The state of the running daemon, and its steps. They are in one file each: what a start is
// (server_start.cpp), what the control loop does (server_loop.cpp), what a stop is
// (server_stop.cpp), what an upgrade is (server_upgrade.cpp); server.cpp has the whole life in
// Server::Impl::run(). Control thread.
#pragma once

#include <spdlog/spdlog.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "admin_listeners.hpp"
#include "alarm_watch.hpp"
#include "client_surveys.hpp"
#include "commands.hpp"
#include "control_socket.hpp"
#include "counter_report.hpp"
#include "daemon_status.hpp"
#include "deployment.hpp"
#include "group_watch.hpp"
#include "growth_warning.hpp"
#include "hand_over.hpp"
#include "health_checker.hpp"
#include "log_level.hpp"
#include "mark_watch.hpp"
#include "metrics.hpp"
#include "name_service.hpp"
#include "operational_log.hpp"
#include "operators.hpp"
#include "overrides.hpp"
#include "reloader.hpp"
#include "repeated_lines.hpp"
#include "s3gate/base/clock.hpp"
#include "s3gate/control/server.hpp"
#include "s3gate/net/buffer_pool.hpp"
#include "s3gate/proxy/shared.hpp"
#include "s3gate/proxy/worker_handle.hpp"
#include "s3gate/proxy/worker_thread.hpp"
#include "s3gate/state/board.hpp"
#include "s3gate/state/client_table.hpp"
#include "s3gate/state/snapshot.hpp"
#include "server_orders.hpp"
#include "succession.hpp"
#include "timer.hpp"

namespace s3gate::control {

namespace asio = boost::asio;

struct Server::Impl final : Commands {
    Impl(std::shared_ptr<const config::Config> config_, Hooks hooks_, Sockets sockets_,
         Lineage lineage_)
        : first_config(std::move(config_)),
          hooks(hooks_),
          sockets(std::move(sockets_)),
          lineage(std::move(lineage_)),
          is_main(!lineage.predecessor) {}
    ~Impl() override;

    int run();

    // What operators ask for
    asio::awaitable<CommandOutcome> reload(std::optional<base::Duration> confirm) override;
    CommandOutcome confirm() override;
    asio::awaitable<CommandOutcome> upgrade() override;
    CommandOutcome standby() override;
    CommandOutcome active() override;
    CommandOutcome set_log_level(const LogLevelChange& change) override;
    asio::awaitable<CommandOutcome> order(ServerOrder order) override;
    RepeatedLines& lines() override { return repeated; }
    boost::json::object status() override;
    boost::json::object overrides() override;
    HealthVerdict health(HealthQuestion question) override;
    asio::awaitable<std::optional<std::string>> metrics() override;
    boost::json::object log_level() override;
    asio::awaitable<std::string> configuration() override;
    asio::awaitable<std::string> connections(proxy::ClientSurvey::Question question) override;

    // The start, in this order (server_start.cpp)
    void open_log();
    void build_deployment();
    Provision provision_start();
    void become_user();
    void build_shared();
    void use_inherited();
    void build_services();
    void open_control_socket(Operators operators);
    std::string follow_configuration(Operators operators);
    void start_workers();
    void accept_clients();
    void start_checks();
    void become_ready();
    void tell_service_manager();

    // The parts of an upgrade (server_upgrade.cpp). In the new process:
    void take_over();
    void become_main();
    void give_up_start(const std::string& reason);
    // In the old one:
    void hand_over_to(int pid, const std::set<std::string>& unused);
    void end_command_socket();
    void end_command_socket_after(base::Duration delay);
    void on_link_command(std::string_view command);
    void lose_successor();
    // In both:
    void tell_old_processes(const ServerKey& server, state::Override command);
    std::string obstacle_to_upgrade() const;
    asio::awaitable<void> wait_until_main();
    // Until the earlier processes have told what they counted.
    asio::awaitable<void> wait_for_figures();
    // False while another process accepts clients from the same sockets.
    bool has_own_sockets() const { return !lineage.predecessor && phase != Phase::handed_over; }

    // The control loop (server_loop.cpp)
    asio::awaitable<void> take_signals();
    void on_signal(int number);
    void on_hangup();
    void reopen_logs();
    asio::awaitable<void> keep_ticking();
    void on_tick(base::TimePoint due);
    void feed_watchdog();
    void report_groups(base::TimePoint now);
    void report_alarms(base::TimePoint now);
    void report_losses(base::TimePoint now);
    void report_counters(std::optional<CounterReport::Line> line) const;
    bool use_addresses(const state::Resolution& addresses);
    std::string obstacle_to_reload() const;

    // The stop (server_stop.cpp)
    void end_or_stop(const char* signal);
    void begin_leaving();
    void release_sockets();
    void begin_delay(base::Duration delay);
    void begin_drain();
    void stop_now(const char* why);
    void await_end();
    asio::awaitable<void> await_workers();
    int end();
    int report_end(const proxy::CutShort& cut) const;

    // Runs a part of the control loop. Its exception is a bug, and ends run().
    void spawn(asio::awaitable<void> part) {
        asio::co_spawn(context, std::move(part), [](const std::exception_ptr& error) {
            if (error) {
                std::rethrow_exception(error);
            }
        });
    }
    void call(void (*hook)(void*)) const {
        if (is_main && hook != nullptr) {
            hook(hooks.context);
        }
    }

    const config::Config& config() const { return deployment->config(); }

    std::shared_ptr<const config::Config> first_config;
    Hooks hooks;
    Sockets sockets;
    Lineage lineage;
    bool is_main;        // the service manager takes this process for the service
    HandOver inherited;  // from the process before; until it is used
    std::optional<pid_t> before;
    // Before all that its handlers and coroutines use: what is left of them ends with it.
    asio::io_context context{1};
    asio::signal_set signals{context};
    asio::posix::stream_descriptor fence{context};  // of sockets.store
    Timer fence_end{context};
    Timer delay_end{context};
    Timer drain_end{context};
    Timer old_end{context};  // after this process has handed over
    Phase phase = Phase::starting;

    std::unique_ptr<OperationalLog> log;
    RepeatedLines repeated{[](spdlog::level::level_enum level, const std::string& text) {
        spdlog::log(level, "{}", text);
    }};
    std::uint64_t descriptors = 0;
    std::size_t worker_count = 1;

    std::shared_ptr<state::Board> board;  // a rendering of metrics may outlive the loop
    std::unique_ptr<state::ClientTable> clients;
    std::unique_ptr<net::PipeBudget> pipes;
    std::unique_ptr<NameService> names;
    std::unique_ptr<Overrides> server_overrides;
    std::unique_ptr<Deployment> deployment;
    std::unique_ptr<HealthChecker> checker;
    std::unique_ptr<Reloader> reloader;
    proxy::Shared shared;
    std::vector<std::unique_ptr<proxy::WorkerThread>> workers;
    bool are_running = false;

    std::unique_ptr<LogLevelSwitch> log_level_switch;
    std::unique_ptr<ClientSurveys> client_surveys;
    std::unique_ptr<DaemonStatus> daemon_status;
    std::unique_ptr<Metrics> metrics_page;
    std::optional<Operators> first_operators;  // until the command socket is made
    std::unique_ptr<ControlSocket> control_socket;
    std::unique_ptr<AdminListeners> admin_listeners;
    std::unique_ptr<Succession> succession;
    std::unique_ptr<ServerOrders> server_orders;
    // Its successor has told it to drain; the service manager may send a signal for the same.
    bool is_drained_by_link = false;
    bool is_dismissed = false;  // it has told it to end, in whatever phase
    bool is_orphan = false;     // it has ended without that, and systemd starts the service anew
    // On the command socket, whose path belongs to the successor already.
    bool is_answering = false;
    bool awaits_end = false;

    std::vector<std::uint64_t> seen_ticks;  // of each worker, at the last control tick
    std::unique_ptr<CounterReport> counter_report;
    MarkWatch mark_watch{repeated};
    GroupWatch group_watch{repeated};
    AlarmWatch alarm_watch{repeated};
    GrowthWarning dropped_lines;
    GrowthWarning discarded_checks;
    GrowthWarning shared_entries;
    GrowthWarning freed_generations{std::chrono::seconds{10}};
};

}  // namespace s3gate::control
