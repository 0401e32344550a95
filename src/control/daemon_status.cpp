#include "daemon_status.hpp"

#include <boost/system/error_code.hpp>
#include <chrono>
#include <optional>
#include <utility>

#include "s3gate/policy/ring_digest.hpp"
#include "s3gate/state/cluster_status.hpp"

namespace s3gate::control {
namespace {

policy::ServerCommands commands_of(const Overrides& overrides) {
    policy::ServerCommands out;
    for (const auto& [server, record] : overrides.all()) {
        out[{server.group, server.server}] = word_of(record.command);
    }
    return out;
}

}  // namespace

DaemonStatus::DaemonStatus(boost::asio::io_context& context, const Sources& sources)
    : sources_(sources), life_signs_(sources.board, base::Clock::now()), look_(context) {
    await_look();
}

void DaemonStatus::await_look() {
    look_.expires_after(LifeSigns::kEvery);
    look_.async_wait([this](boost::system::error_code error) {
        if (!error) {
            life_signs_.look(base::Clock::now());
            await_look();
        }
    });
}

CommandOutcome DaemonStatus::standby() {
    const bool is_new = !std::exchange(is_on_standby_, true);
    return {.message =
                is_new ? "standby: /healthz answers 503" : "standby: /healthz answers 503 already"};
}

CommandOutcome DaemonStatus::active() {
    const bool is_new = std::exchange(is_on_standby_, false);
    return {.message = is_new ? "active: the standby is over" : "active: there was no standby"};
}

GenerationFacts DaemonStatus::generation() const {
    std::int64_t old_users = 0;
    for (std::size_t i = 0; i < sources_.board.worker_count(); ++i) {
        old_users +=
            sources_.board.counters(i).old_generation_users.load(std::memory_order_relaxed);
    }
    const auto confirm_until = sources_.reloader.confirm_until();
    return {
        .number = sources_.deployment.number(),
        .loaded_at = sources_.deployment.loaded_at(),
        .old_users = old_users,
        .old_in_use = sources_.deployment.old_generations(),
        .differs_from_disk = sources_.reloader.is_undone(),
        .confirm_in = confirm_until ? std::optional(std::chrono::duration_cast<base::Duration>(
                                          *confirm_until - base::Clock::now()))
                                    : std::nullopt,
        .is_reloading = sources_.reloader.running() == "reload",
        .is_upgrading = sources_.reloader.running() == "upgrade",
        .pending_restart = sources_.reloader.pending_restart(),
        .addresses_problem = sources_.deployment.addresses_problem(),
    };
}

const std::string& DaemonStatus::ring_digest() const {
    const auto& config = sources_.deployment.snapshot()->config;
    const std::uint64_t version = sources_.overrides.version();
    if (digest_.config != config || digest_.overrides != version) {
        digest_ = {config, version, policy::ring_digest(*config, commands_of(sources_.overrides))};
    }
    return digest_.text;
}

boost::json::object DaemonStatus::status() const {
    const DaemonFacts facts{
        .phase = sources_.phase,
        .is_on_standby = is_on_standby_,
        .health = health({}),
        .config_file = sources_.deployment.config().file,
        .generation = generation(),
        .ring_digest = ring_digest(),
        .overrides = sources_.orders.to_json(),
        .names = sources_.names.status(base::Clock::now()),
        .old_processes = sources_.old_processes.reports(),
        .log_level = sources_.log_level.status(),
        .alarms = sources_.alarms.alarms(base::Clock::now()),
        .uptime = std::chrono::duration_cast<base::Duration>(base::Clock::now() - started_at_),
        .now = std::chrono::system_clock::now(),
    };
    return status_of(facts,
                     state::cluster_status_of(*sources_.deployment.snapshot(), sources_.board),
                     sources_.board);
}

MetricsFacts DaemonStatus::metrics(std::shared_ptr<const state::Board> board) const {
    return {
        .snapshot = sources_.deployment.snapshot(),
        .board = std::move(board),
        .generation = generation(),
        .others = sources_.old_processes.figures(),
        .old_processes = static_cast<std::int64_t>(sources_.old_processes.size()),
        .alarms = sources_.alarms.alarms(base::Clock::now()),
        .commands = commands_of(sources_.overrides),
        .is_healthy = health({}).is_healthy,
        .is_on_standby = is_on_standby_,
        .process = process_,
    };
}

HealthVerdict DaemonStatus::health(HealthQuestion question) const {
    std::optional<state::ClusterStatus> cluster;
    if (question.is_strict) {
        cluster = state::cluster_status_of(*sources_.deployment.snapshot(), sources_.board);
    }
    const HealthFacts facts{
        .phase = sources_.phase,
        .is_on_standby = is_on_standby_,
        .silence = life_signs_.find_silence(sources_.workers, base::Clock::now()),
        .paused_listeners = sources_.board.paused_listeners(),
        .cluster = cluster ? &*cluster : nullptr,
    };
    return health_of(facts, question);
}

}  // namespace s3gate::control
