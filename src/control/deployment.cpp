#include "deployment.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

#include "process_setup.hpp"
#include "s3gate/base/clock.hpp"
#include "s3gate/state/passive_marks.hpp"
#include "timer.hpp"

namespace s3gate::control {
namespace {

// Time between the last handshake that a leaving socket begins and its close, which resets the
// handshakes in progress. It covers the first repetition of a lost packet, after a second (RFC 6298
// §2.1), and a machine that is slow with its packets. No client waits for it.
constexpr base::Duration kLastHandshakes{1500};
// Descriptors that are no client's and no backend's: listeners, pipes, logs, health checks.
constexpr std::uint64_t kReservedDescriptors = 512;

// Clients that RLIMIT_NOFILE carries when each has one backend connection.
std::uint64_t carried_connections(std::uint64_t descriptors) {
    const std::uint64_t reserved = std::min(kReservedDescriptors, descriptors / 2);
    return std::max<std::uint64_t>((descriptors - reserved) / 2, 1);
}

std::vector<state::CellId> sorted_peers(const state::Snapshot& snapshot) {
    std::vector<state::CellId> peers;
    for (const state::Group& group : state::groups_of(snapshot)) {
        std::ranges::transform(group.peers, std::back_inserter(peers), &state::Peer::id);
    }
    std::ranges::sort(peers);
    return peers;
}

// The end of a writer waits up to a second for a target that takes nothing: only the thread may let
// go of the last pointer. Without a thread the writer stays for the next time.
void end_in_background(std::shared_ptr<observe::LogWriter>& writer) {
    const auto last = std::make_shared<std::shared_ptr<observe::LogWriter>>(std::move(writer));
    const SignalsBlocked blocked;
    try {
        std::thread([last] { last->reset(); }).detach();
    } catch (const std::system_error& error) {
        writer = std::move(*last);
        spdlog::debug("an old log stays open: {}", error.code().message());
    }
}

std::shared_ptr<observe::LogWriter> open_access_log(const std::string& target) {
    return std::make_shared<observe::LogWriter>(target);
}

}  // namespace

GenerationParts build_parts(std::shared_ptr<const config::Config> config,
                            const std::shared_ptr<const state::Snapshot>& before,
                            const ReplacedLogs& kept) {
    GenerationParts parts;
    parts.config = std::move(config);
    const config::Config& next = *parts.config;
    parts.rings = state::build_rings(next, before.get());
    const auto open_with = [&](const char* name, const std::string& target, const auto& open) {
        std::shared_ptr<observe::LogWriter> writer;
        try {
            prepare_log(next.user, target);
            writer = open(target);
        } catch (const std::system_error& error) {
            parts.problems.push_back(name + (" " + target) + ": " + error.code().message());
        }
        return writer;
    };
    if (before && before->config->log.target != next.log.target) {
        parts.log = kept.log ? kept.log : open_with("log", next.log.target, open_log_target);
    }
    if (!before || before->config->access_log.target != next.access_log.target) {
        parts.access_log = kept.access_log
                               ? kept.access_log
                               : open_with("access log", next.access_log.target, open_access_log);
    }
    return parts;
}

Deployment::Deployment(const Parts& parts)
    : parts_(parts), directory_(parts.board), listeners_(parts.workers, parts.store) {}

Provision Deployment::provision(GenerationParts parts, const state::Resolution& resolution) {
    const std::shared_ptr<const config::Config> config = std::move(parts.config);
    Provision made;
    made.findings.problems = std::move(parts.problems);
    try {
        made.snapshot =
            state::build_snapshot(config, resolution, directory_, std::move(parts.rings));
    } catch (const std::length_error& error) {
        made.findings.problems.emplace_back(error.what());
        return made;
    }
    made.log = std::move(parts.log);
    made.access_log = std::move(parts.access_log);
    if (!made.access_log && publication_) {
        made.access_log = publication_->access_log;
    }
    ListenerTable::Provided provided = listeners_.provide(*made.snapshot, made.findings);
    made.listening = std::move(provided.clients);
    made.admin = std::move(provided.admin);
    const std::uint64_t carried = carried_connections(parts_.descriptors);
    if (config->limits.connections > carried) {
        made.findings.warnings.push_back(
            "limits.connections is " + std::to_string(config->limits.connections) +
            ", but RLIMIT_NOFILE of " + std::to_string(parts_.descriptors) + " carries about " +
            std::to_string(carried));
    }
    return made;
}

proxy::WorkerLimits Deployment::limits_of(const config::Config& config) const {
    const std::uint64_t wanted = config.limits.connections;
    return {wanted == 0 ? carried_connections(parts_.descriptors) : wanted,
            std::max<std::size_t>(parts_.descriptors / 4 / parts_.workers, 1),
            config.limits.replay_memory / parts_.workers};
}

ReplacedLogs Deployment::take(Provision provision) {
    const config::Config& config = *provision.snapshot->config;
    const auto before = std::exchange(
        publication_, std::make_shared<const proxy::Publication>(proxy::Publication{
                          std::move(provision.snapshot), std::move(provision.listening),
                          std::move(provision.access_log), limits_of(config), ++published_}));
    admin_listeners_ = std::move(provision.admin);
    listeners_.use(published_listeners());
    parts_.pipes.set_limit(config.limits.pipes);
    ReplacedLogs replaced;
    replaced.log = parts_.log.use(config.log, std::move(provision.log));
    if (before && before->access_log != publication_->access_log) {
        replaced.access_log = before->access_log;
    }
    retire(replaced.log);
    retire(replaced.access_log);
    ++number_;
    addresses_problem_.clear();
    loaded_at_ = std::chrono::system_clock::now();
    return replaced;
}

ListenerTable::Listeners Deployment::published_listeners() const {
    ListenerTable::Listeners out = admin_listeners_;
    std::ranges::transform(publication_->listening, std::back_inserter(out),
                           &proxy::Listening::listener);
    return out;
}

void Deployment::begin(Provision provision) {
    take(std::move(provision));
}

void Deployment::publish(Provision provision, Leavers leavers,
                         const std::vector<proxy::WorkerHandle>& workers, HealthChecker& checker) {
    collect();  // a burst of reloads must not pile up generations and log writers
    const auto before = snapshot();
    kept_logs_ = take(std::move(provision));
    announce(workers, checker, *before);
    listeners_.keep();
    if (leavers == Leavers::close) {
        close_leavers(workers);
    }
}

bool Deployment::use_addresses(const state::Resolution& resolution,
                               const std::vector<proxy::WorkerHandle>& workers,
                               HealthChecker& checker) {
    collect();  // cells that nobody uses any more
    const auto before = snapshot();
    auto changed = std::make_shared<proxy::Publication>(*publication_);
    try {
        changed->snapshot =
            state::build_snapshot(before->config, resolution, directory_,
                                  state::build_rings(*before->config, before.get()));
    } catch (const std::length_error& error) {
        if (addresses_problem_.empty()) {
            spdlog::error("new addresses are not used, the next look-up tries again: {}",
                          error.what());
        }
        addresses_problem_ = error.what();
        return false;
    }
    changed->number = ++published_;
    publication_ = std::move(changed);
    addresses_problem_.clear();
    announce(workers, checker, *before);
    return true;
}

void Deployment::announce(const std::vector<proxy::WorkerHandle>& workers, HealthChecker& checker,
                          const state::Snapshot& before) {
    if (parts_.on_snapshot) {
        parts_.on_snapshot(*snapshot());
    }
    hold_back_new_peers(before, checker);
    for (const proxy::WorkerHandle& worker : workers) {
        worker.post_publication(publication_);
    }
    for (const proxy::WorkerHandle& worker : workers) {
        worker.post_listen();
    }
    checker.use(snapshot());
}

// A server that joins a group in service gets no request before its first check passed, if others
// are usable: it may still be starting. A later generation without others lets it in. Where there
// are no checks, the checker lets it in at once.
void Deployment::hold_back_new_peers(const state::Snapshot& before, const HealthChecker& checker) {
    const std::vector<state::CellId> known = sorted_peers(before);
    const auto is_known = [&](const state::Peer& peer) {
        return std::ranges::binary_search(known, peer.id());
    };
    for (const state::Group& group : state::groups_of(*snapshot())) {
        const bool has_others = std::ranges::any_of(group.peers, [&](const state::Peer& peer) {
            return is_known(peer) && state::is_usable(parts_.board, peer);
        });
        for (const state::Peer& peer : group.peers) {
            if (group.health->enabled && !is_known(peer)) {
                parts_.board.set_up(peer.slot, !has_others);
            } else if (!has_others && !checker.has_checked(peer.id())) {
                parts_.board.set_up(peer.slot, true);
            }
        }
    }
}

void Deployment::close_leavers(const std::vector<proxy::WorkerHandle>& workers) {
    kept_logs_ = {};
    close_later(listeners_.take_unused(published_listeners()), workers);
}

void Deployment::hand_over(const std::set<std::string>& unused,
                           const std::vector<proxy::WorkerHandle>& workers) {
    ListenerTable::Listeners leavers = listeners_.take_named(unused);
    const auto kept = std::make_shared<const ListenerTable::Listeners>(listeners_.take_all());
    for (const proxy::WorkerHandle& worker : workers) {
        worker.post_hand_over(kept);
    }
    handed_over_ = kept;
    admin_listeners_.clear();
    close(*kept);
    close_later(std::move(leavers), workers);
}

void Deployment::close_later(ListenerTable::Listeners leavers,
                             const std::vector<proxy::WorkerHandle>& workers) {
    if (leavers.empty()) {
        return;
    }
    for (const auto& listener : leavers) {
        listener->refuse_handshakes();
    }
    const auto timer = std::make_shared<Timer>(parts_.context, kLastHandshakes);
    timer->async_wait([this, timer, leavers = std::move(leavers), workers](const auto& error) {
        if (error) {
            return;
        }
        for (const proxy::WorkerHandle& worker : workers) {
            for (const auto& listener : leavers) {
                worker.post_close(listener);
            }
        }
        close(leavers);
    });
}

void Deployment::close(const ListenerTable::Listeners& listeners) const {
    for (const auto& listener : listeners) {
        if (parts_.on_close) {
            parts_.on_close(*listener);
        }
    }
}

void Deployment::refuse_clients() const {
    listeners_.refuse_handshakes();
}

bool Deployment::is_taken_over() const {
    for (std::size_t i = 0; i < parts_.workers; ++i) {
        const auto& taken = parts_.board.counters(i).publication;
        if (taken.load(std::memory_order_relaxed) < publication_->number) {
            return false;
        }
    }
    return true;
}

void Deployment::reopen_logs() {
    parts_.log.reopen();
    publication_->access_log->reopen();
    for (const auto& kept : {kept_logs_.log, kept_logs_.access_log}) {
        if (kept) {
            kept->reopen();
        }
    }
}

void Deployment::retire(std::shared_ptr<observe::LogWriter> writer) {
    if (writer && std::ranges::find(old_writers_, writer) == old_writers_.end()) {
        old_writers_.push_back(std::move(writer));
    }
}

void Deployment::collect() {
    directory_.collect();
    for (std::shared_ptr<observe::LogWriter>& writer : old_writers_) {
        if (writer.use_count() == 1) {
            // The destructor waits up to a second if the target takes nothing.
            end_in_background(writer);
        }
    }
    std::erase(old_writers_, nullptr);
}

void Deployment::end() {
    publication_.reset();
    kept_logs_ = {};
    old_writers_.clear();
}

}  // namespace s3gate::control
