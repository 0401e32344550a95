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
    leaving,  // for shutdown_delay: a virtual IP may go to the other host
    draining,
    stopping,  // open connections are cut
};

// Whether the threads move. The control loop looks at the workers about four times a second.
class LifeSigns {
  public:
    // A thread that has not moved for so long is not alive.
    static constexpr base::Duration kPatience = std::chrono::seconds{1};
    static constexpr base::Duration kEvery{250};

    // `board` must outlive it.
    LifeSigns(const state::Board& board, base::TimePoint now);

    // To be called every kEvery. A look that comes late says nothing of the workers: the process
    // stood still as a whole.
    void look(base::TimePoint now);
    // Empty where the control loop and every worker moved within kPatience, else who did not.
    // Workers that have finished owe nothing.
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
