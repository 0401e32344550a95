// The JSON of /status, as a function of facts. Control thread only.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "alarm_watch.hpp"
#include "commands.hpp"
#include "daemon_health.hpp"
#include "name_service.hpp"
#include "old_processes.hpp"
#include "s3gate/base/clock.hpp"
#include "s3gate/state/board.hpp"
#include "s3gate/state/cluster_status.hpp"

namespace s3gate::control {

// The configuration in use. Its number grows with every reload that was used.
struct GenerationFacts {
    std::uint64_t number = 1;
    std::chrono::system_clock::time_point loaded_at{};
    std::int64_t old_users = 0;  // requests, tunnels and idle clients that use one of those
    std::size_t old_in_use = 0;  // earlier generations that are still in use
    // True if the files hold another configuration by now, as after a reload that was not
    // confirmed.
    bool differs_from_disk = false;
    std::optional<base::Duration> confirm_in = {};  // time left to confirm a reload
    bool is_reloading = false;
    bool is_upgrading = false;
    std::vector<std::string> pending_restart = {};  // keys whose values hold after a restart only
    std::string addresses_problem = {};  // why new addresses of names are not used; may be empty
};

struct DaemonFacts {
    Phase phase = Phase::starting;
    bool is_on_standby = false;
    HealthVerdict health = {};
    std::string config_file = {};
    GenerationFacts generation = {};
    std::string ring_digest = {};       // with the commands for servers
    boost::json::array overrides = {};  // as ServerOrders::to_json() lists them
    std::vector<NameStatus> names = {};
    std::vector<OldProcessReport> old_processes = {};
    boost::json::object log_level = {};  // as LogLevelSwitch::status() has it
    std::vector<AlarmStatus> alarms = {};
    base::Duration uptime{};
    std::chrono::system_clock::time_point now{};
};

// "2026-01-31T12:00:00Z"
std::string iso_time(std::chrono::system_clock::time_point at);

// All counters of the process by name.
boost::json::object counters_of(const state::Board& board);

// docs/operations.md, "Command socket", names the keys.
boost::json::object status_of(const DaemonFacts& facts, const state::ClusterStatus& cluster,
                              const state::Board& board);

}  // namespace s3gate::control
