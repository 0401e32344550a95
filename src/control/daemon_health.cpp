#include "daemon_health.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

namespace s3gate::control {
namespace {

std::string in_seconds(base::Duration duration) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.1f s",
                  std::chrono::duration<double>(duration).count());
    return text.data();
}

// The reason why requests should go to another host although this one works; empty if there is
// none.
std::string find_absence(const HealthFacts& facts) {
    switch (facts.phase) {
        case Phase::starting:
            return "starting: the first round of checks is not done";
        case Phase::serving:
        case Phase::handed_over:  // the host serves, by the successor
            return facts.is_on_standby ? "standby" : "";
        case Phase::leaving:
            return "stopping after shutdown_delay";
        case Phase::draining:
            return "draining";
        case Phase::stopping:
            return "stopping";
    }
    return {};
}

std::string find_unusable_group(const state::ClusterStatus& cluster) {
    for (const state::SiteStatus& site : cluster.sites) {
        for (const state::GroupStatus& group : site.groups) {
            if (!std::ranges::any_of(group.servers, &state::ServerStatus::is_usable)) {
                return "no server of " + std::string(group.name) + " is usable";
            }
        }
    }
    return {};
}

std::string find_illness(const HealthFacts& facts, HealthQuestion question) {
    if (const std::string absence = find_absence(facts); !question.is_live && !absence.empty()) {
        return absence;
    }
    if (!facts.silence.empty()) {
        return facts.silence;
    }
    if (facts.paused_listeners > 0) {
        return "listeners that do not accept for want of descriptors or memory: " +
               std::to_string(facts.paused_listeners);
    }
    return question.is_strict && facts.cluster != nullptr ? find_unusable_group(*facts.cluster)
                                                          : std::string();
}

}  // namespace

LifeSigns::LifeSigns(const state::Board& board, base::TimePoint now)
    : board_(board), looked_at_(now), signs_(board.worker_count(), {0, now}) {}

void LifeSigns::look(base::TimePoint now) {
    const bool is_late = now - std::exchange(looked_at_, now) > kPatience;
    for (std::size_t i = 0; i < signs_.size(); ++i) {
        const std::uint64_t ticks = board_.counters(i).ticks.load(std::memory_order_relaxed);
        if (std::exchange(signs_[i].ticks, ticks) != ticks || is_late) {
            signs_[i].moved_at = now;
        }
    }
}

std::string LifeSigns::find_silence(const std::vector<proxy::WorkerHandle>& workers,
                                    base::TimePoint now) const {
    const auto text_of = [&](const std::string& who, base::TimePoint since) {
        return who + " has not moved for " +
               in_seconds(std::chrono::duration_cast<base::Duration>(now - since));
    };
    if (now - looked_at_ > kPatience) {
        return text_of("the control loop", looked_at_);
    }
    for (std::size_t i = 0; i < signs_.size(); ++i) {
        const bool is_over = i < workers.size() && workers[i].is_finished();
        if (!is_over && now - signs_[i].moved_at > kPatience) {
            return text_of("worker " + std::to_string(i), signs_[i].moved_at);
        }
    }
    return {};
}

HealthVerdict health_of(const HealthFacts& facts, HealthQuestion question) {
    std::string illness = find_illness(facts, question);
    const bool is_healthy = illness.empty();
    return {.is_healthy = is_healthy, .reason = is_healthy ? "ok" : std::move(illness)};
}

}  // namespace s3gate::control
