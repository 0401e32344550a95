#include "alarm_watch.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <utility>

#include "s3gate/state/figures.hpp"

namespace s3gate::control {
namespace {

using policy::Alarm;
using policy::AlarmKind;
using policy::AlarmShare;
using policy::AttemptClass;

constexpr std::uint64_t kMinute = 60;
// Of a group that is bad as a whole.
constexpr std::size_t kMostNames = 5;

std::uint64_t seconds_of(base::TimePoint now) {
    const auto since = std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch());
    return static_cast<std::uint64_t>(since.count());
}

std::uint64_t id_of(state::CellId cell) {
    return std::uint64_t{cell.epoch} << 32 | cell.index;
}

policy::AttemptSums sums_of(const state::ServerTotals& totals) {
    const auto attempts = [&](AttemptClass of) {
        return totals.attempts[static_cast<std::size_t>(of)];
    };
    policy::AttemptSums out;
    for (const AttemptClass answer :
         {AttemptClass::informational, AttemptClass::success, AttemptClass::redirection,
          AttemptClass::client_error, AttemptClass::server_error}) {
        out.answers += attempts(answer);
    }
    const std::uint64_t errors = attempts(AttemptClass::server_error);
    out.errors = errors - std::min(errors, totals.load[0]);
    out.broken = attempts(AttemptClass::broken) + attempts(AttemptClass::unsent);
    out.load = totals.load[0] + totals.load[1];
    out.heads = totals.head.buckets;
    return out;
}

std::string_view word_of(AlarmKind kind) {
    constexpr std::array<std::string_view, policy::kAlarmKinds> kWords{"errors", "broken", "slow",
                                                                       "load"};
    return kWords[static_cast<std::size_t>(kind)];
}

std::string numbers_of(const AlarmShare& share) {
    return std::to_string(share.bad) + " of " + std::to_string(share.all);
}

std::string time_of(std::uint64_t seconds) {
    return seconds < kMinute ? std::to_string(seconds) + " s"
                             : std::to_string(seconds / kMinute) + " min";
}

// What the server or the group does.
std::string deed_of(const Alarm& alarm) {
    const std::string numbers = numbers_of(alarm.window);
    const std::string window = " in " + std::to_string(policy::GroupAlarms::kWindow) + " s";
    switch (alarm.kind) {
        case AlarmKind::errors:
            return "answers 5xx: " + numbers + window;
        case AlarmKind::broken:
            return "fails: " + numbers + " attempts broke or found no connection" + window;
        case AlarmKind::slow:
            return "is slow: " + numbers + " answers took longer than " +
                   std::to_string(alarm.slow_ms) + " ms" + window;
        case AlarmKind::load:
            break;
    }
    return "is busy: " + numbers + " answers refuse for load" + window;
}

std::string end_of(const policy::AlarmEvent& event) {
    constexpr std::array<std::string_view, policy::kAlarmKinds> kWhat{
        "5xx answers", "failed attempts", "slow answers", "refusals for load"};
    const std::string what(kWhat[static_cast<std::size_t>(event.alarm.kind)]);
    return (event.is_gone ? "not watched for " + what + " any more" : what + " are over") +
           " after " + time_of(event.lasted) + ": " + numbers_of(event.alarm.since) +
           (event.alarm.kind == AlarmKind::broken ? " attempts" : " answers");
}

// A server can have an alarm of each kind.
std::string subject_of(const std::string& who, AlarmKind kind) {
    return who + " (" + std::string(word_of(kind)) + ")";
}

spdlog::level::level_enum level_of(AlarmKind kind) {
    return kind == AlarmKind::load ? spdlog::level::info : spdlog::level::warn;
}

std::optional<AlarmKind> kind_of(std::string_view word) {
    for (std::size_t i = 0; i < policy::kAlarmKinds; ++i) {
        if (word_of(static_cast<AlarmKind>(i)) == word) {
            return static_cast<AlarmKind>(i);
        }
    }
    return std::nullopt;
}

}  // namespace

void AlarmWatch::look(const state::Snapshot& snapshot, const state::Board& board,
                      base::TimePoint now) {
    std::map<state::CellId, Group> present;
    const std::uint64_t second = seconds_of(now);
    for (const state::Group& group : state::groups_of(snapshot)) {
        if (!snapshot.config->log.alarms || present.contains(group.id())) {
            continue;
        }
        auto known = groups_.extract(group.id());
        Group& watched = present[group.id()];
        if (known) {
            watched = std::move(known.mapped());
        }
        watched.name = group.name;
        watched.place = present.size();
        std::map<std::uint64_t, Server> servers;
        std::vector<policy::GroupAlarms::Server> counted;
        for (const state::GroupServer& server : group.servers) {
            const std::uint64_t id = id_of(server.figures);
            servers.emplace(
                id, Server{server.config->text, state::label_of(group.name, *server.config, {})});
            counted.push_back({id, sums_of(state::server_totals(board, server.figures.index))});
        }
        watched.servers.insert(servers.begin(), servers.end());  // those that are gone have a line
        for (const policy::AlarmEvent& event : watched.alarms.tick(counted, second)) {
            tell(watched, event, now);
        }
        watched.servers = std::move(servers);
    }
    for (const auto& [cell, group] : groups_) {
        for (const policy::AlarmEvent& event : group.alarms.end(second)) {
            tell(group, event, now);
        }
    }
    groups_ = std::move(present);
}

std::string AlarmWatch::who(const Group& group, const Alarm& alarm) {
    return alarm.is_of_group ? "Group " + group.name : group.servers.at(alarm.server).label;
}

std::string AlarmWatch::text_of(const Group& group, const Alarm& alarm) const {
    if (alarm.is_of_group) {
        std::string names;
        for (const auto& [id, share] : group.alarms.worst(alarm.kind, kMostNames)) {
            names +=
                (names.empty() ? ": " : ", ") + group.servers.at(id).text + " " + numbers_of(share);
        }
        return who(group, alarm) + " " + deed_of(alarm) + names;
    }
    std::string others;
    if (alarm.others.all > 0) {
        others = " (others " + numbers_of(alarm.others) +
                 (alarm.kind == AlarmKind::slow
                      ? ", half of theirs within " + std::to_string(alarm.median_ms) + " ms)"
                      : ")");
    }
    return who(group, alarm) + " " + deed_of(alarm) + others;
}

void AlarmWatch::tell(const Group& group, const policy::AlarmEvent& event, base::TimePoint now) {
    const Alarm& alarm = event.alarm;
    lines_.note(
        {.topic = Topic::alarms,
         .subject = subject_of(who(group, alarm), alarm.kind),
         .is_end = event.is_over,
         .level = event.is_over ? spdlog::level::info : level_of(alarm.kind),
         .text = event.is_over ? who(group, alarm) + ": " + end_of(event) : text_of(group, alarm)},
        now);
}

std::vector<HandOver::Alarm> AlarmWatch::hand_over() const {
    std::vector<HandOver::Alarm> out;
    for (const auto& [cell, group] : groups_) {
        for (const Alarm& alarm : group.alarms.told()) {
            out.push_back({.group = group.name,
                           .server = alarm.is_of_group ? "" : group.servers.at(alarm.server).text,
                           .kind = std::string(word_of(alarm.kind)),
                           .began = alarm.began,
                           .since = alarm.since,
                           .text = text_of(group, alarm)});
        }
    }
    return out;
}

void AlarmWatch::resume(const std::vector<HandOver::Alarm>& alarms, const state::Snapshot& snapshot,
                        base::TimePoint now) {
    if (!snapshot.config->log.alarms) {
        return;
    }
    for (const HandOver::Alarm& before : alarms) {
        for (const state::Group& group : state::groups_of(snapshot)) {
            if (group.name == before.group) {
                resume(before, group, now);
                break;
            }
        }
    }
}

void AlarmWatch::resume(const HandOver::Alarm& before, const state::Group& group,
                        base::TimePoint now) {
    const auto kind = kind_of(before.kind);
    const auto server = std::ranges::find_if(
        group.servers, [&](const auto& item) { return item.config->text == before.server; });
    const bool is_of_group = before.server.empty();
    if (!kind || (!is_of_group && server == group.servers.end())) {
        return;
    }
    const std::uint64_t second = seconds_of(now);
    Group& watched = groups_[group.id()];
    watched.name = group.name;
    Alarm alarm{.kind = *kind,
                .is_of_group = is_of_group,
                .began = std::min(before.began, second),
                .since = before.since};
    if (!is_of_group) {
        alarm.server = id_of(server->figures);
        watched.servers.emplace(
            alarm.server, Server{before.server, state::label_of(group.name, *server->config, {})});
    }
    watched.alarms.resume(alarm, second);
    lines_.note({.topic = Topic::alarms,
                 .subject = subject_of(who(watched, alarm), *kind),
                 .level = level_of(*kind),
                 .text = before.text + ", as the process before told " +
                         time_of(second - alarm.began) + " ago"},
                now);
}

std::vector<AlarmStatus> AlarmWatch::alarms(base::TimePoint now) const {
    std::vector<const Group*> groups;
    for (const auto& [cell, group] : groups_) {
        groups.push_back(&group);
    }
    std::ranges::sort(groups, {}, &Group::place);
    std::vector<AlarmStatus> out;
    for (const Group* const group : groups) {
        for (const Alarm& alarm : group->alarms.alarms()) {
            out.push_back(
                {.group = group->name,
                 .server = alarm.is_of_group ? std::string() : group->servers.at(alarm.server).text,
                 .kind = word_of(alarm.kind),
                 .text = text_of(*group, alarm),
                 .since = seconds_of(now) - alarm.began,
                 .alarm = alarm});
        }
    }
    return out;
}

}  // namespace s3gate::control
