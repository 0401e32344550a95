// What an upgrade is: the new process takes over, the old one serves the clients that it has
// (docs/architecture.md, "Upgrade").
#include <spdlog/spdlog.h>

#include <boost/asio/use_awaitable.hpp>
#include <boost/system/error_code.hpp>
#include <chrono>
#include <functional>
#include <string>
#include <utility>

#include "server_impl.hpp"

namespace s3gate::control {
namespace {

using boost::system::error_code;

// For clients that asked this process for something before its successor had the command socket.
constexpr base::Duration kLastAnswers = std::chrono::seconds{1};
constexpr base::Duration kLongestInauguration = std::chrono::seconds{2};
constexpr base::Duration kMainPoll{2};
// As kLastAnswers, where clients of the service wait for the end of this process.
constexpr base::Duration kHastyAnswers{100};

}  // namespace

// A reload under way ends first: the successor reads the configuration itself.
asio::awaitable<CommandOutcome> Server::Impl::upgrade() {
    // Named: GCC 12 destroys a temporary with captures twice within co_await (PR 99576).
    const std::function<asio::awaitable<CommandOutcome>()> work = [this] {
        return succession->upgrade();
    };
    co_await wait_until_main();
    CommandOutcome outcome = co_await reloader->exclusively("upgrade", work);
    if (is_answering) {
        end_command_socket_after(is_orphan ? kHastyAnswers : kLastAnswers);
    }
    // A successor may have taken the path of the command socket before it failed.
    if (!outcome.is_done && control_socket && !control_socket->is_in_place() &&
        obstacle_to_reload().empty()) {
        follow_configuration(Operators(config().admin.operators));
    }
    co_return outcome;
}

// The process before says so within milliseconds after this one has said that it serves.
asio::awaitable<void> Server::Impl::wait_until_main() {
    Timer pause(context);
    const base::TimePoint end = base::Clock::now() + kLongestInauguration;
    while (!is_main && phase == Phase::serving && base::Clock::now() < end) {
        pause.expires_after(kMainPoll);
        co_await pause.async_wait(asio::use_awaitable);
    }
}

// A scrape before that would see counters fall. Each says so within a second.
asio::awaitable<void> Server::Impl::wait_for_figures() {
    Timer pause(context);
    const base::TimePoint end = base::Clock::now() + kLongestInauguration;
    while (!succession->old_processes().have_told_figures() && phase == Phase::serving &&
           base::Clock::now() < end) {
        pause.expires_after(kMainPoll);
        co_await pause.async_wait(asio::use_awaitable);
    }
}

std::string Server::Impl::obstacle_to_upgrade() const {
    if (phase == Phase::starting) {
        return "this process does not serve yet";
    }
    return reloader->confirm_until() ? "a reload waits to be confirmed" : obstacle_to_reload();
}

// From here on both processes accept clients, until the one before is told. The command socket
// changes its owner first: whoever hears that this process serves finds it there. It may fail, and
// a new socket that listens must not: it has clients at once.
void Server::Impl::take_over() {
    open_control_socket(*std::exchange(first_operators, std::nullopt));
    deployment->listen();
    accept_clients();
}

void Server::Impl::give_up_start(const std::string& reason) {
    lineage.predecessor->tell_failure(reason);
    stop_now(reason.c_str());
}

void Server::Impl::become_main() {
    is_main = true;
    if (phase == Phase::serving) {
        tell_service_manager();
    } else if (phase != Phase::starting) {  // a signal came first
        call(hooks.stopping);
        deployment->keep_sockets();  // the names that the process before has kept
        deployment->release_sockets();
    }
}

// The other process has the listening sockets and the command socket. This one serves the clients
// that it has. What the service manager takes only from the main process comes first.
void Server::Impl::hand_over_to(int pid, const std::set<std::string>& unused) {
    deployment->hand_over(unused, shared.workers);
    if (hooks.succeeded != nullptr) {
        hooks.succeeded(hooks.context, pid);
    }
    is_main = false;
    phase = Phase::handed_over;
    is_answering = true;  // upgrade() ends it
    await_end();
}

void Server::Impl::end_command_socket_after(base::Duration delay) {
    old_end.expires_after(delay);
    old_end.async_wait([this](error_code error) {
        if (!error) {
            end_command_socket();
        }
    });
}

// Nobody asks this process any more.
void Server::Impl::end_command_socket() {
    control_socket.reset();
    is_answering = false;
    old_end.expires_after(config().upgrade_timeout);
    old_end.async_wait([this](error_code error) {
        if (!error) {
            stop_now("upgrade_timeout is over");
        }
    });
}

// What an operator commands for a server holds in the old processes too.
void Server::Impl::tell_old_processes(const ServerKey& server, state::Override command) {
    if (succession) {
        succession->old_processes().tell_all(std::string(link_command::kOrder) +
                                             text_of(server, command));
    }
}

void Server::Impl::on_link_command(std::string_view command) {
    if (command == link_command::kReopenLogs) {
        deployment->reopen_logs();
    } else if (command == link_command::kHurry) {
        spdlog::info("many upgrades: tunnels end now, requests go on");
        for (const proxy::WorkerHandle& worker : shared.workers) {
            worker.post_hurry();
        }
    } else if (command.starts_with(link_command::kOrder)) {
        if (const auto order = read_linked_order(command.substr(link_command::kOrder.size()))) {
            server_orders->follow(order->server, order->command);
        }
    } else if (command == link_command::kDrain) {
        is_dismissed = true;
        if (phase == Phase::handed_over) {
            is_drained_by_link = true;
            begin_drain();
        }
    } else if (command == link_command::kStop) {
        is_dismissed = true;
        stop_now("its successor stops");
    }
}

// systemd starts the service anew only when all its processes have ended, and new clients wait
// until then: those that are here cannot have shutdown_timeout. It may not have learnt of the
// successor before that ended. Then this process is the service to it, and has to fail for a
// restart. Without systemd nobody waits.
void Server::Impl::lose_successor() {
    if (is_dismissed || phase == Phase::stopping) {
        return;
    }
    is_orphan = lineage.read_unit != nullptr;
    spdlog::error("the process that took over from this one has crashed; {}",
                  is_orphan
                      ? "this one ends too, so that systemd can start the next one"
                      : "this one serves the clients that it has, and nobody accepts new ones");
    if (!is_orphan) {
        return;
    }
    if (is_answering) {
        end_command_socket_after(kHastyAnswers);
    }
    stop_now("the service has crashed");
}

}  // namespace s3gate::control
