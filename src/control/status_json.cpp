#include "status_json.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <ctime>
#include <utility>

#include "s3gate/control/findings_json.hpp"
#include "s3gate/state/counters.hpp"

namespace s3gate::control {
namespace {

namespace json = boost::json;

// Whole seconds are exact enough.
std::int64_t seconds_of(base::Duration duration) {
    return std::chrono::duration_cast<std::chrono::seconds>(duration).count();
}

const char* name_of(Phase phase, bool is_on_standby) {
    switch (phase) {
        case Phase::starting:
            return "starting";
        case Phase::serving:
            return is_on_standby ? "standby" : "serving";
        case Phase::handed_over:
            return "handed over";
        case Phase::leaving:
            return "leaving";
        case Phase::draining:
            return "draining";
        case Phase::stopping:
            return "stopping";
    }
    return "";
}

json::object json_of(const state::AddressStatus& address) {
    json::object out;
    out["address"] = address.address;
    out["usable"] = address.is_usable;
    out["up"] = address.is_up;
    out["recovering"] = address.is_recovering;
    out["marked"] = address.is_marked;
    out["in_flight"] = address.in_flight;
    return out;
}

json::object json_of(const state::ServerStatus& server) {
    json::array addresses;
    for (const state::AddressStatus& address : server.addresses) {
        addresses.push_back(json_of(address));
    }
    json::object out;
    out["server"] = json_text(server.text);
    out["usable"] = server.is_usable();
    out["weight"] = server.weight;
    out["backup"] = server.is_backup;
    out["down"] = server.is_down;
    out["drained"] = server.is_drained;
    out["override"] = server.override == state::Override::none
                          ? json::value()
                          : json::value(word_of(server.override));
    out["max_connections"] = server.max_connections;
    out["occupied"] = server.occupied;
    out["addresses"] = std::move(addresses);
    return out;
}

json::object json_of(const state::GroupStatus& group) {
    json::array servers;
    for (const state::ServerStatus& server : group.servers) {
        servers.push_back(json_of(server));
    }
    json::object out;
    out["name"] = json_text(group.name);
    out["checks"] = group.has_checks;
    out["requests"] = group.requests;
    out["waiting"] = group.waiting;
    out["servers"] = std::move(servers);
    return out;
}

json::array json_of(const state::ClusterStatus& cluster) {
    json::array out;
    for (const state::SiteStatus& site : cluster.sites) {
        json::array groups;
        for (const state::GroupStatus& group : site.groups) {
            groups.push_back(json_of(group));
        }
        json::object one;
        one["name"] = json_text(site.name);
        one["connections"] = site.connections;
        one["groups"] = std::move(groups);
        out.push_back(std::move(one));
    }
    return out;
}

json::object config_of(const DaemonFacts& facts) {
    const GenerationFacts& generation = facts.generation;
    const auto age = std::chrono::duration_cast<base::Duration>(facts.now - generation.loaded_at);
    json::object out;
    out["file"] = json_text(facts.config_file);
    out["generation"] = generation.number;
    out["loaded_at"] = iso_time(generation.loaded_at);
    out["age_seconds"] =
        std::max<std::int64_t>(seconds_of(age), 0);  // the wall clock may have been set back
    out["old_generations"] = generation.old_in_use;
    out["old_generation_users"] = generation.old_users;
    out["differs_from_disk"] = generation.differs_from_disk;
    out["confirm_within_seconds"] =
        generation.confirm_in ? json::value(seconds_of(*generation.confirm_in)) : json::value();
    out["reload_running"] = generation.is_reloading;
    out["upgrade_running"] = generation.is_upgrading;
    json::array keys;
    for (const std::string& key : generation.pending_restart) {
        keys.emplace_back(key);
    }
    out["pending_restart"] = std::move(keys);
    out["addresses_problem"] = json_text(generation.addresses_problem);
    out["ring_digest"] = json_text(facts.ring_digest);
    return out;
}

json::value seconds_or_null(const std::optional<base::Duration>& duration) {
    return duration ? json::value(seconds_of(*duration)) : json::value();
}

json::object json_of(const NameStatus& name) {
    json::array addresses;
    for (const base::IpAddress& address : name.addresses) {
        addresses.emplace_back(address.to_string());
    }
    json::object failures;
    for (std::size_t i = 0; i < policy::kLookupFailures; ++i) {
        failures[policy::word_of(static_cast<policy::LookupFailure>(i))] = name.failures[i];
    }
    json::object out;
    out["name"] = json_text(name.host);
    out["addresses"] = std::move(addresses);
    out["interval_seconds"] = seconds_or_null(name.interval);
    out["answer_age_seconds"] = seconds_or_null(name.answer_age);
    out["failing_for_seconds"] = seconds_or_null(name.failing_for);
    out["reason"] = json_text(name.failing_for ? name.reason : std::string());
    out["failures"] = std::move(failures);
    return out;
}

json::array names_of(const std::vector<NameStatus>& names) {
    json::array out;
    for (const NameStatus& name : names) {
        out.push_back(json_of(name));
    }
    return out;
}

std::int64_t requests_of(const state::ClusterStatus& cluster) {
    std::int64_t out = 0;
    for (const state::SiteStatus& site : cluster.sites) {
        for (const state::GroupStatus& group : site.groups) {
            out += group.requests;
        }
    }
    return out;
}

json::array json_of(const std::vector<OldProcessReport>& processes) {
    json::array out;
    for (const OldProcessReport& process : processes) {
        json::object one;
        one["pid"] = process.pid == 0 ? json::value() : json::value(process.pid);
        one["version"] = json_text(process.version);
        one["requests"] = process.requests;
        one["connections"] = process.connections;
        one["counters"] = process.counters;
        out.push_back(std::move(one));
    }
    return out;
}

json::object json_of(const policy::AlarmShare& share) {
    return {{"bad", share.bad}, {"all", share.all}};
}

json::array json_of(const std::vector<AlarmStatus>& alarms) {
    json::array out;
    for (const AlarmStatus& status : alarms) {
        json::object one;
        one["group"] = json_text(status.group);
        one["server"] =
            status.server.empty() ? json::value() : json::value(json_text(status.server));
        one["kind"] = status.kind;
        one["text"] = json_text(status.text);
        one["age_seconds"] = status.since;
        one["window"] = json_of(status.alarm.window);
        one["others"] = json_of(status.alarm.others);
        one["since"] = json_of(status.alarm.since);
        out.push_back(std::move(one));
    }
    return out;
}

json::array workers_of(const state::Board& board) {
    json::array out;
    for (std::size_t i = 0; i < board.worker_count(); ++i) {
        json::object worker;
        worker["connections"] = board.counters(i).connections.load(std::memory_order_relaxed);
        out.push_back(std::move(worker));
    }
    return out;
}

}  // namespace

std::string iso_time(std::chrono::system_clock::time_point at) {
    const std::time_t seconds = std::chrono::system_clock::to_time_t(at);
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    std::array<char, 32> text{};
    std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
    return text.data();
}

json::object counters_of(const state::Board& board) {
    json::object out;
    for (const state::WorkerCounterRow& row : state::kWorkerCounters) {
        out[row.text.name] = board.total(row.cell);
    }
    for (const state::ControlCounterRow& row : state::kControlCounters) {
        out[row.text.name] = (board.control().*row.cell).load(std::memory_order_relaxed);
    }
    return out;
}

json::object status_of(const DaemonFacts& facts, const state::ClusterStatus& cluster,
                       const state::Board& board) {
    json::object health;
    health["healthy"] = facts.health.is_healthy;
    health["reason"] = json_text(facts.health.reason);
    json::object out;
    out["version"] = S3GATE_VERSION;
    out["pid"] = ::getpid();
    out["phase"] = name_of(facts.phase, facts.is_on_standby);
    out["standby"] = facts.is_on_standby;
    out["uptime_seconds"] = seconds_of(facts.uptime);
    out["health"] = std::move(health);
    out["config"] = config_of(facts);
    out["requests"] = requests_of(cluster);
    out["connections"] = board.connections();
    out["workers"] = workers_of(board);
    out["old_processes"] = json_of(facts.old_processes);
    out["log_level"] = facts.log_level;
    out["alarms"] = json_of(facts.alarms);
    out["overrides"] = facts.overrides;
    out["names"] = names_of(facts.names);
    out["sites"] = json_of(cluster);
    out["counters"] = counters_of(board);
    return out;
}

}  // namespace s3gate::control
