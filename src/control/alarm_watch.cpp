#include "alarm_watch.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <chrono>
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

std::string text_of(const AlarmShare& share) {
    return std::to_string(share.bad) + " of " + std::to_string(share.all);
}

std::string time_of(std::uint64_t seconds) {
    return seconds < kMinute ? std::to_string(seconds) + " s"
                             : std::to_string(seconds / kMinute) + " min";
}

// What the server or the group does.
std::string deed_of(const Alarm& alarm) {
    const std::string numbers = text_of(alarm.window);
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
        "5xx answers are over", "failed attempts are over", "slow answers are over",
        "refusals for load are over"};
    return std::string(kWhat[static_cast<std::size_t>(event.alarm.kind)]) + " after " +
           time_of(event.lasted) + ": " + text_of(event.alarm.since) +
           (event.alarm.kind == AlarmKind::broken ? " attempts" : " answers");
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
        watched.config = snapshot.config;
        watched.place = present.size();
        watched.servers.clear();
        std::vector<policy::GroupAlarms::Server> counted;
        for (const state::GroupServer& server : group.servers) {
            const std::uint64_t id = id_of(server.figures);
            watched.servers.emplace(id, server.config);
            counted.push_back({id, sums_of(state::server_totals(board, server.figures.index))});
        }
        for (const policy::AlarmEvent& event : watched.alarms.tick(counted, second)) {
            tell(watched, event, second);
        }
    }
    groups_ = std::move(present);
    tell_left_out(second);
}

std::string AlarmWatch::text_of(const Group& group, const Alarm& alarm) const {
    if (alarm.is_of_group) {
        std::string names;
        for (const auto& [id, share] : group.alarms.worst(alarm.kind, kMostNames)) {
            names += (names.empty() ? ": " : ", ") + group.servers.at(id)->text + " " +
                     control::text_of(share);
        }
        return "Group " + group.name + " " + deed_of(alarm) + names;
    }
    std::string others;
    if (alarm.others.all > 0) {
        others = " (others " + control::text_of(alarm.others) +
                 (alarm.kind == AlarmKind::slow
                      ? ", half of theirs within " + std::to_string(alarm.median_ms) + " ms)"
                      : ")");
    }
    return state::label_of(group.name, *group.servers.at(alarm.server), {}) + " " + deed_of(alarm) +
           others;
}

void AlarmWatch::tell(const Group& group, const policy::AlarmEvent& event, std::uint64_t second) {
    Lines& lines = lines_[static_cast<std::size_t>(event.alarm.kind)];
    if (second - lines.since >= kMinute && lines.left_out == 0) {
        lines = {second, 0, 0};
    }
    if (lines.written >= kMostLines) {
        ++lines.left_out;
        return;
    }
    ++lines.written;
    if (event.is_over) {
        const std::string who =
            event.alarm.is_of_group
                ? "Group " + group.name
                : state::label_of(group.name, *group.servers.at(event.alarm.server), {});
        spdlog::info("{}: {}", who, end_of(event));
    } else if (event.alarm.kind == AlarmKind::load) {
        spdlog::info("{}", text_of(group, event.alarm));
    } else {
        spdlog::warn("{}", text_of(group, event.alarm));
    }
}

void AlarmWatch::tell_left_out(std::uint64_t second) {
    for (std::size_t i = 0; i < lines_.size(); ++i) {
        Lines& lines = lines_[i];
        if (lines.left_out > 0 && second - lines.since >= kMinute) {
            spdlog::warn(
                "{} more alarms of the kind \"{}\" began or ended; s3gate ctl status "
                "shows those that last",
                lines.left_out, word_of(static_cast<AlarmKind>(i)));
            lines = {second, 1, 0};
        }
    }
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
            out.push_back({.group = group->name,
                           .server = alarm.is_of_group ? std::string()
                                                       : group->servers.at(alarm.server)->text,
                           .kind = word_of(alarm.kind),
                           .text = text_of(*group, alarm),
                           .since = seconds_of(now) - alarm.began,
                           .alarm = alarm});
        }
    }
    return out;
}

}  // namespace s3gate::control
