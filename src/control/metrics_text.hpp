// The metrics of the daemon in the text format of Prometheus, as a function of facts and of the
// board (docs/metrics.md). Each family group has a function; a new metric is a family there.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "alarm_watch.hpp"
#include "process_figures.hpp"
#include "process_self.hpp"
#include "s3gate/policy/ring_digest.hpp"
#include "s3gate/state/board.hpp"
#include "s3gate/state/snapshot.hpp"
#include "status_json.hpp"

namespace s3gate::control {

// Kept from one rendering to the next.
struct RingDigest {
    std::shared_ptr<const config::Config> of;
    policy::ServerCommands commands;
    std::string text;
};

// What the control thread knows. The rest is read from the board.
struct MetricsFacts {
    std::shared_ptr<const state::Snapshot> snapshot;
    std::shared_ptr<const state::Board> board;
    GenerationFacts generation = {};
    ProcessFigures others = {};  // of earlier processes, see OldProcesses::figures()
    std::int64_t old_processes = 0;
    std::vector<AlarmStatus> alarms = {};
    policy::ServerCommands commands = {};  // of operators, which the ring digest has
    bool is_healthy = true;
    bool is_on_standby = false;
    std::shared_ptr<RingDigest> digest = std::make_shared<RingDigest>();
    std::shared_ptr<const ProcessSelf> process = std::make_shared<ProcessSelf>();
};

// Any thread: the facts own all that it reads.
std::string metrics_text(const MetricsFacts& facts);

inline constexpr const char* kMetricsType = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace s3gate::control
