#include "reloader.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/algorithm/string/join.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <exception>
#include <iterator>
#include <set>
#include <stdexcept>
#include <utility>

#include "in_background.hpp"
#include "s3gate/config/difference.hpp"
#include "s3gate/config/load.hpp"

namespace s3gate::control {
namespace {

namespace asio = boost::asio;

// The same limit as at a start.
constexpr base::Duration kNamesLimit = std::chrono::seconds{5};
constexpr base::Duration kUndoAgain = std::chrono::seconds{5};

// A worker takes a message within one round of its loop, which is below a millisecond. Whoever is
// told of a reload then meets the new configuration.
constexpr base::Duration kTakeOverPoll{1};
constexpr base::Duration kLongestTakeOver = std::chrono::seconds{1};

std::string seconds_of(base::Duration duration) {
    return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(duration).count());
}

// What a running process cannot change: the new value holds after an upgrade or a restart.
std::vector<config::Problem> fixed_keys(const config::Config& present, const config::Config& next) {
    std::vector<config::Problem> warnings;
    for (const config::KeyChange& change : config::changed_main_keys(present, next)) {
        if (change.needs_restart) {
            const bool is_user = change.key == "user";
            warnings.push_back({is_user ? next.user_where : config::Location{next.file, 0},
                                change.key,
                                is_user ? "does not change in a running process; restart it"
                                        : "does not change in a running process; `s3gate ctl "
                                          "upgrade` starts one with it"});
        }
    }
    return warnings;
}

CommandOutcome refusal(std::string message) {
    return {.is_done = false, .message = std::move(message)};
}

void log_outcome(const CommandOutcome& outcome) {
    for (const config::Problem& warning : outcome.warnings) {
        spdlog::warn("{}", warning.to_string());
    }
    for (const config::Problem& problem : outcome.problems) {
        spdlog::error("{}", problem.to_string());
    }
    spdlog::log(outcome.is_done ? spdlog::level::info : spdlog::level::err, "{}", outcome.message);
}

}  // namespace

// The right to reload. One coroutine has it at a time; the others wait for it.
class Reloader::Turn {
  public:
    explicit Turn(const Reloader& reloader, std::string_view task = "reload")
        : turns_(reloader.turns_) {
        turns_->is_taken = true;
        turns_->task = task;
    }
    ~Turn() {
        turns_->is_taken = false;
        turns_->ended.cancel();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

  private:
    std::shared_ptr<Turns> turns_;
};

Reloader::Draft Reloader::read_draft(const std::string& file,
                                     const std::shared_ptr<const state::Snapshot>& before) {
    config::LoadResult read = config::load(file, config::process_environment());
    Draft draft;
    if (read.ok()) {
        draft = draft_of(std::make_shared<const config::Config>(std::move(read.config)), before);
    }
    draft.problems = std::move(read.problems);
    std::ranges::move(read.warnings, std::back_inserter(draft.warnings));
    return draft;
}

Reloader::Draft Reloader::draft_of(std::shared_ptr<const config::Config> config,
                                   const std::shared_ptr<const state::Snapshot>& before,
                                   const ReplacedLogs& kept) {
    Draft draft;
    draft.operators = Operators(config->admin.operators);
    for (const std::string& problem : draft.operators.problems()) {
        draft.warnings.push_back({{config->file, 0}, "admin.operators", problem});
    }
    draft.parts = build_parts(std::move(config), before, kept);
    return draft;
}

Reloader::Reloader(const Parts& parts)
    : parts_(parts),
      turns_(std::make_shared<Turns>(parts.context)),
      trial_end_(parts.context),
      first_(parts.deployment.snapshot()->config) {}

std::optional<base::TimePoint> Reloader::confirm_until() const {
    return trial_ ? std::optional(trial_->end) : std::nullopt;
}

asio::awaitable<CommandOutcome> Reloader::reload(std::optional<base::Duration> confirm) {
    if (turns_->waiting >= kMostWaiting) {
        CommandOutcome outcome = refusal("reload refused: " + std::to_string(kMostWaiting) +
                                         " others wait already, and read the files after this one");
        log_outcome(outcome);
        co_return outcome;
    }
    co_await wait_for_turn();
    const Turn turn(*this);
    CommandOutcome outcome;
    try {
        outcome = co_await read_and_use(confirm);
        if (outcome.is_done) {
            co_await wait_for_workers();
        }
    } catch (const std::exception& error) {
        outcome = refusal(std::string("reload failed: ") + error.what());
    }
    log_outcome(outcome);
    if (outcome.is_done) {  // the name service has logged these
        const config::Config& config = parts_.deployment.config();
        for (const std::string& text : parts_.names.unresolved(config)) {
            outcome.warnings.push_back({{config.file, 0}, {}, text});
        }
    }
    co_return outcome;
}

asio::awaitable<CommandOutcome> Reloader::exclusively(
    std::string_view task, std::function<asio::awaitable<CommandOutcome>()> work) {
    if (turns_->waiting >= kMostWaiting) {
        CommandOutcome outcome =
            refusal(std::string(task) + " refused: " + std::to_string(kMostWaiting) +
                    " others wait already");
        log_outcome(outcome);
        co_return outcome;
    }
    co_await wait_for_turn();
    const Turn turn(*this, task);
    co_return co_await work();
}

std::vector<std::string> Reloader::pending_restart() const {
    std::vector<std::string> keys;
    for (const config::Problem& key : fixed_keys(*first_, parts_.deployment.config())) {
        keys.push_back(key.key);
    }
    return keys;
}

asio::awaitable<void> Reloader::wait_for_workers() {
    const base::TimePoint end = base::Clock::now() + kLongestTakeOver;
    Timer pause(parts_.context);
    while (!parts_.deployment.is_taken_over() && base::Clock::now() < end) {
        pause.expires_after(kTakeOverPoll);
        co_await pause.async_wait(asio::use_awaitable);
    }
}

asio::awaitable<void> Reloader::wait_for_turn() {
    const std::shared_ptr<Turns> turns = turns_;
    ++turns->waiting;
    while (turns->is_taken) {
        co_await turns->ended.async_wait(asio::as_tuple(asio::use_awaitable));
    }
    --turns->waiting;
}

asio::awaitable<CommandOutcome> Reloader::read_and_use(std::optional<base::Duration> confirm) {
    if (trial_) {
        co_return refusal("reload refused: an earlier one waits to be confirmed");
    }
    if (const std::string obstacle = parts_.obstacle(); !obstacle.empty()) {
        co_return refusal("reload refused: " + obstacle);
    }
    // Named: GCC 12 destroys a temporary with captures twice within co_await (PR 99576).
    const auto read = [file = parts_.deployment.config().file,
                       before = parts_.deployment.snapshot()] { return read_draft(file, before); };
    Draft draft = co_await in_background(read);
    if (!draft.parts.config) {
        CommandOutcome outcome =
            refusal("reload refused: the configuration that serves stays as it is");
        outcome.problems = draft.problems;
        outcome.warnings = draft.warnings;
        co_return outcome;
    }
    co_await know_names(*draft.parts.config);
    if (const std::string obstacle = parts_.obstacle(); !obstacle.empty()) {
        co_return refusal("reload refused: " + obstacle);
    }
    co_return use(std::move(draft), parts_.names.addresses(), confirm);
}

// Looks up the new names. A name that does not resolve is no reason to refuse: its servers are down
// until it does.
asio::awaitable<void> Reloader::know_names(const config::Config& config) {
    std::set<std::string> unknown;
    for (const std::string& host : host_names(config)) {
        if (!parts_.names.addresses().contains(host)) {
            unknown.insert(host);
        }
    }
    if (!unknown.empty()) {
        co_await parts_.names.known(unknown, kNamesLimit);
    }
}

std::string Reloader::publish(Provision provision, Operators operators, Leavers leavers) {
    parts_.deployment.publish(std::move(provision), leavers, parts_.workers, parts_.checker);
    parts_.names.use(parts_.deployment.config(),
                     leavers == Leavers::keep ? Unused::keep : Unused::forget);
    return parts_.published(std::move(operators));
}

CommandOutcome Reloader::use(Draft draft, const state::Resolution& resolution,
                             std::optional<base::Duration> confirm) {
    const std::shared_ptr<const config::Config> config = draft.parts.config;
    const auto finding = [&](const std::string& text) {
        return config::Problem{{config->file, 0}, {}, text};
    };
    Provision provision = parts_.deployment.provision(std::move(draft.parts), resolution);
    CommandOutcome outcome;
    outcome.warnings = std::move(draft.warnings);
    std::ranges::transform(provision.findings.warnings, std::back_inserter(outcome.warnings),
                           finding);
    if (!provision.findings.problems.empty()) {
        outcome.is_done = false;
        outcome.message = "reload refused: the configuration that serves stays as it is";
        std::ranges::transform(provision.findings.problems, std::back_inserter(outcome.problems),
                               finding);
        parts_.names.forget_unused();
        return outcome;
    }
    std::ranges::move(fixed_keys(*first_, *config), std::back_inserter(outcome.warnings));
    std::shared_ptr<const config::Config> before = parts_.deployment.snapshot()->config;
    if (confirm) {
        parts_.overrides.begin_trial();
    }
    if (const std::string warning = publish(std::move(provision), std::move(draft.operators),
                                            confirm ? Leavers::keep : Leavers::close);
        !warning.empty()) {
        outcome.warnings.push_back(finding(warning));
    }
    is_undone_ = false;
    outcome.message = "reloaded: generation " + std::to_string(parts_.deployment.number());
    if (confirm) {
        begin_trial(std::move(before), *confirm);
        outcome.message += "; undone in " + seconds_of(*confirm) + " s unless confirmed";
    }
    return outcome;
}

void Reloader::begin_trial(std::shared_ptr<const config::Config> before, base::Duration limit) {
    trial_ = Trial{std::move(before), limit, base::Clock::now() + limit};
    await_trial_end();
}

void Reloader::await_trial_end() {
    trial_end_.expires_at(trial_->end);
    trial_end_.async_wait([this](const auto& error) {
        if (!error) {
            asio::co_spawn(parts_.context, end_trial(), asio::detached);
        }
    });
}

CommandOutcome Reloader::confirm() {
    if (!trial_) {
        return refusal("there is no reload to confirm");
    }
    // The workers may be closing the sockets that a confirmation closes.
    if (const std::string obstacle = parts_.obstacle(); !obstacle.empty()) {
        return refusal("confirm refused: " + obstacle);
    }
    trial_end_.cancel();
    trial_.reset();
    parts_.overrides.end_trial();
    parts_.deployment.close_leavers(parts_.workers);
    parts_.names.forget_unused();
    return {.message = "confirmed: generation " + std::to_string(parts_.deployment.number())};
}

// For a reload without a confirmation. A host that lacks threads or memory for a moment must not
// turn the trial into a configuration that stays.
asio::awaitable<void> Reloader::end_trial() {
    co_await wait_for_turn();
    const Turn turn(*this);
    if (!trial_ || base::Clock::now() < trial_->end) {
        co_return;  // confirmed at the last moment
    }
    Trial trial = *std::exchange(trial_, std::nullopt);
    std::string failure;
    try {
        co_await undo(trial);
    } catch (const std::exception& error) {
        failure = error.what();
    }
    if (!failure.empty()) {
        spdlog::error("not confirmed, and not undone: {}; this is tried again in {} s", failure,
                      seconds_of(kUndoAgain));
        trial.end = base::Clock::now() + kUndoAgain;
        trial_ = std::move(trial);
        await_trial_end();
    }
}

// The configuration before is provisioned again, with the logs that it had open: a folder may be
// missing for a moment, or closed to a process that gave up root.
asio::awaitable<void> Reloader::undo(const Trial& trial) {
    // Named: GCC 12 destroys a temporary with captures twice within co_await (PR 99576).
    const auto prepare = [config = trial.before, before = parts_.deployment.snapshot(),
                          kept = parts_.deployment.kept_logs()] {
        return draft_of(config, before, kept);
    };
    Draft draft = co_await in_background(prepare);
    co_await know_names(*trial.before);
    if (const std::string obstacle = parts_.obstacle(); !obstacle.empty()) {
        spdlog::warn("not confirmed, but not undone: {}", obstacle);
        co_return;
    }
    Provision provision =
        parts_.deployment.provision(std::move(draft.parts), parts_.names.addresses());
    if (!provision.findings.problems.empty()) {
        throw std::runtime_error(boost::algorithm::join(provision.findings.problems, "; "));
    }
    parts_.overrides.undo_trial();
    if (const std::string warning =
            publish(std::move(provision), std::move(draft.operators), Leavers::close);
        !warning.empty()) {
        spdlog::warn("{}", warning);
    }
    is_undone_ = true;
    spdlog::warn(
        "not confirmed within {} s: the configuration before serves again as generation {}; "
        "what is on the disk does not serve",
        seconds_of(trial.limit), parts_.deployment.number());
}

}  // namespace s3gate::control
