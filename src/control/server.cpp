#include "s3gate/control/server.hpp"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <string>
#include <utility>

#include "in_background.hpp"
#include "process_setup.hpp"
#include "s3gate/config/load.hpp"
#include "s3gate/observe/journal.hpp"
#include "server_impl.hpp"

namespace s3gate::control {

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
        use_inherited();
        build_services();
        first_operators = Operators(first_config->admin.operators);
        for (const std::string& problem : first_operators->problems()) {
            spdlog::warn("admin.operators: {}", problem);
        }
        if (!lineage.predecessor) {
            open_control_socket(*std::exchange(first_operators, std::nullopt));
        }
    } catch (const std::exception& error) {
        if (lineage.predecessor) {
            lineage.predecessor->tell_failure(error.what());
        }
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
    if (!lineage.predecessor) {
        accept_clients();
        deployment->keep_sockets();
    }
    start_checks();
    spawn(take_signals());
    spawn(keep_ticking());
    context.run();
    return end();
}

namespace {

// To an operator who connected before the successor had the command socket.
CommandOutcome ask_again() {
    return {.is_done = false,
            .message = "refused: this process has handed over to another one; ask again",
            .is_misdirected = true};
}

}  // namespace

asio::awaitable<CommandOutcome> Server::Impl::reload(std::optional<base::Duration> confirm) {
    reopen_logs();
    co_await wait_until_main();
    CommandOutcome outcome = co_await reloader->reload(confirm);
    outcome.is_misdirected = !outcome.is_done && phase == Phase::handed_over;
    co_return outcome;
}

CommandOutcome Server::Impl::confirm() {
    return reloader->confirm();
}

CommandOutcome Server::Impl::standby() {
    return phase == Phase::handed_over ? ask_again() : daemon_status->standby();
}

CommandOutcome Server::Impl::active() {
    return phase == Phase::handed_over ? ask_again() : daemon_status->active();
}

// A successor that starts has been told of the level already.
CommandOutcome Server::Impl::set_log_level(const LogLevelChange& change) {
    if (phase == Phase::handed_over) {
        return ask_again();
    }
    if (reloader->running() == "upgrade") {
        return {.is_done = false, .message = "log level refused: an upgrade is running; ask again"};
    }
    return log_level_switch->change(change);
}

boost::json::object Server::Impl::log_level() {
    return log_level_switch->status();
}

asio::awaitable<CommandOutcome> Server::Impl::order(ServerOrder order) {
    co_await wait_until_main();
    if (phase == Phase::handed_over) {
        co_return ask_again();
    }
    CommandOutcome outcome = co_await server_orders->carry_out(std::move(order));
    report_groups(base::Clock::now());
    co_return outcome;
}

boost::json::object Server::Impl::overrides() {
    boost::json::object out;
    out["overrides"] = server_orders->to_json();
    return out;
}

boost::json::object Server::Impl::status() {
    return daemon_status->status();
}

HealthVerdict Server::Impl::health(HealthQuestion question) {
    return daemon_status->health(question);
}

asio::awaitable<std::optional<std::string>> Server::Impl::metrics() {
    co_await wait_until_main();
    co_await wait_for_figures();
    if (phase == Phase::handed_over) {
        co_return std::nullopt;  // the successor's figures are missing here
    }
    co_return co_await metrics_page->text();
}

asio::awaitable<std::string> Server::Impl::configuration() {
    // Named: GCC 12 destroys a temporary with captures twice within co_await (PR 99576).
    const auto print = [config = deployment->snapshot()->config] { return config::dump(*config); };
    co_return co_await in_background(print);
}

asio::awaitable<std::string> Server::Impl::connections(proxy::ClientSurvey::Question question) {
    return client_surveys->ask(question);
}

Server::Server(std::shared_ptr<const config::Config> config, Hooks hooks, Sockets sockets,
               Lineage lineage)
    : impl_(std::make_unique<Impl>(std::move(config), hooks, std::move(sockets),
                                   std::move(lineage))) {}

Server::~Server() = default;

Server::Lineage Server::trace(std::vector<std::string> arguments) {
    std::optional<Predecessor> predecessor = Predecessor::detach();
    std::string program = absolute_program(arguments.front());
    return {std::move(program), std::move(arguments), std::move(predecessor)};
}

void Server::disarm_signals() {
    control::disarm_signals();
}

int Server::run() {
    return impl_->run();
}

}  // namespace s3gate::control
