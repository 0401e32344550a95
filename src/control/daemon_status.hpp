// Gathers the facts for /status and /healthz at each request, and holds the switch for standby,
// which takes the host out of service without a stop. Owned by the control loop. Control thread
// only.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/json/object.hpp>
#include <memory>
#include <vector>

#include "alarm_watch.hpp"
#include "commands.hpp"
#include "daemon_health.hpp"
#include "deployment.hpp"
#include "log_level.hpp"
#include "metrics_text.hpp"
#include "old_processes.hpp"
#include "overrides.hpp"
#include "reloader.hpp"
#include "s3gate/base/clock.hpp"
#include "s3gate/proxy/worker_handle.hpp"
#include "s3gate/state/board.hpp"
#include "server_orders.hpp"
#include "status_json.hpp"
#include "timer.hpp"

namespace s3gate::control {

class DaemonStatus {
  public:
    // The sources of the facts. They must outlive the object.
    struct Sources {
        const Phase& phase;
        const Deployment& deployment;
        const Reloader& reloader;
        const NameService& names;
        const state::Board& board;
        const std::vector<proxy::WorkerHandle>& workers;
        const OldProcesses& old_processes;
        const LogLevelSwitch& log_level;
        const AlarmWatch& alarms;
        const Overrides& overrides;
        const ServerOrders& orders;
    };

    // Begins to call LifeSigns::look() regularly.
    DaemonStatus(boost::asio::io_context& context, const Sources& sources);

    // As in Commands.
    CommandOutcome standby();
    CommandOutcome active();
    bool is_on_standby() const { return is_on_standby_; }
    boost::json::object status() const;
    HealthVerdict health(HealthQuestion question) const;
    // `board` is the one of the sources.
    MetricsFacts metrics(std::shared_ptr<const state::Board> board) const;

  private:
    void await_look();
    GenerationFacts generation() const;
    const std::string& ring_digest() const;

    // Rings take a while to build, so the digest is kept.
    struct Digest {
        std::shared_ptr<const config::Config> config;
        std::uint64_t overrides = 0;  // their version
        std::string text;
    };

    Sources sources_;
    mutable Digest digest_;
    base::TimePoint started_at_ = base::Clock::now();
    bool is_on_standby_ = false;
    const std::shared_ptr<const ProcessSelf> process_ = std::make_shared<ProcessSelf>();
    LifeSigns life_signs_;
    Timer look_;
};

}  // namespace s3gate::control
