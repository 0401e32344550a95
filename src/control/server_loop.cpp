// What the control loop does while the daemon runs: signals, and a look around every second.
// Checks, names, reloads and the command socket have parts of their own.
#include <spdlog/spdlog.h>

#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <csignal>
#include <string>
#include <utility>

#include "health_probe.hpp"
#include "process_setup.hpp"
#include "s3gate/observe/access_log.hpp"
#include "server_impl.hpp"

namespace s3gate::control {
namespace {

using std::chrono::seconds;

constexpr base::Duration kTick = seconds{1};

// The sender of these signals expects the behaviour of another server.
const char* refusal_of(int number) {
    switch (number) {
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

asio::awaitable<void> Server::Impl::take_signals() {
    for (;;) {
        on_signal(co_await signals.async_wait(asio::use_awaitable));
    }
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
            reopen_logs();
            break;
        case SIGUSR2:
            asio::co_spawn(context, upgrade(), asio::detached);
            break;
        default:
            spdlog::warn("{}", refusal_of(number));
            break;
    }
}

void Server::Impl::on_hangup() {
    spdlog::info("SIGHUP: reopening the logs, reading the configuration");
    reopen_logs();
    asio::co_spawn(context, reloader->reload(std::nullopt), asio::detached);
}

void Server::Impl::reopen_logs() {
    deployment->reopen_logs();
    succession->note_reopen();
    succession->old_processes().tell_all(link_command::kReopenLogs);
}

asio::awaitable<void> Server::Impl::keep_ticking() {
    Timer tick(context);
    for (;;) {
        const base::TimePoint due = base::Clock::now() + kTick;
        tick.expires_at(due);
        co_await tick.async_wait(asio::use_awaitable);
        on_tick(due);
    }
}

void Server::Impl::on_tick(base::TimePoint due) {
    const base::TimePoint now = base::Clock::now();
    if (now - due > kOwnStall) {
        checker->discard_running();
        state::bump(board->control().stalls);
        repeated.note({.topic = Topic::stalls,
                       .text = fmt::format(
                           "this process stood still for {} ms; checks in progress are discarded",
                           std::chrono::duration_cast<base::Duration>(now - due).count())},
                      now);
    }
    feed_watchdog();
    if (phase == Phase::leaving || phase == Phase::draining) {
        call(hooks.still_stopping);
    }
    clients->sweep(
        static_cast<std::uint64_t>(std::chrono::nanoseconds(now.time_since_epoch()).count()));
    deployment->collect();
    if (freed_generations.growth(deployment->freed_generations(), now) > 0) {
        release_free_memory();
    }
    mark_watch.look(*deployment->snapshot(), *board, now);
    report_groups(now);
    report_alarms(now);
    report_losses(now);
    repeated.tick(now);
    report_counters(counter_report->tick(now, *deployment->snapshot()));
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

void Server::Impl::report_alarms(base::TimePoint now) {
    // Without new clients an end would say nothing about a server; a successor has the alarms.
    if (phase == Phase::serving || phase == Phase::leaving) {
        alarm_watch.look(*deployment->snapshot(), *board, now);
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

std::string Server::Impl::obstacle_to_reload() const {
    if (phase == Phase::handed_over) {
        return "this process has handed over to another one; ask again";
    }
    if (phase != Phase::starting && phase != Phase::serving) {
        return "the daemon is stopping";
    }
    return is_main ? "" : "this process has not taken over yet";
}

}  // namespace s3gate::control
