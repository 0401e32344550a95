// Whether this host should get requests: the verdict of /healthz as a function of facts, and the
// life signs of the threads. Control thread only.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "commands.hpp"
#include "s3gate/base/clock.hpp"
#include "s3gate/proxy/worker_handle.hpp"
#include "s3gate/state/board.hpp"
#include "s3gate/state/cluster_status.hpp"

namespace s3gate::control {

enum class Phase : std::uint8_t {
    starting,  // until the first round of checks has ended
    serving,
    handed_over,  // a successor accepts the clients; those that are here are served
    leaving,      // for shutdown_delay: a virtual IP may go to the other host
    draining,
    stopping,  // open connections are cut
};

// Whether the threads move. The control loop looks at the workers about four times a second.
class LifeSigns {
  public:
    // A thread that has not moved for longer than this counts as hung.
    static constexpr base::Duration kPatience = std::chrono::seconds{1};
    static constexpr base::Duration kEvery{250};

    // `board` must outlive it.
    LifeSigns(const state::Board& board, base::TimePoint now);

    // Call it every kEvery. A late look says nothing about the workers: the whole process stood
    // still.
    void look(base::TimePoint now);
    // A sentence about the first thread that did not move within kPatience, the control loop before
    // the workers; empty if all moved. Workers that have finished do not count.
    std::string find_silence(const std::vector<proxy::WorkerHandle>& workers,
                             base::TimePoint now) const;

  private:
    struct Sign {
        std::uint64_t ticks = 0;
        base::TimePoint moved_at;
    };

    const state::Board& board_;
    base::TimePoint looked_at_;
    std::vector<Sign> signs_;  // by worker
};

struct HealthFacts {
    Phase phase = Phase::starting;
    bool is_on_standby = false;
    std::string silence = {};  // LifeSigns::find_silence()
    std::int64_t paused_listeners = 0;
    // Looked at for a strict question only.
    const state::ClusterStatus* cluster = nullptr;
};

HealthVerdict health_of(const HealthFacts& facts, HealthQuestion question);

}  // namespace s3gate::control
