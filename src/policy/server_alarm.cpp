#include "s3gate/policy/server_alarm.hpp"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

namespace s3gate::policy {
namespace {

template <class Change>
void change(AttemptSums& sums, const AttemptSums& by, const Change& change_one) {
    change_one(sums.answers, by.answers);
    change_one(sums.errors, by.errors);
    change_one(sums.broken, by.broken);
    change_one(sums.load, by.load);
    for (std::size_t i = 0; i < sums.heads.size(); ++i) {
        change_one(sums.heads[i], by.heads[i]);
    }
}

AttemptSums difference(AttemptSums more, const AttemptSums& less) {
    more -= less;
    return more;
}

// The first bound below or at which half of the answers are; past the end of the bounds for the
// last place.
std::size_t median_of(const AttemptSums& sums, std::uint64_t all) {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < sums.heads.size(); ++i) {
        sum += sums.heads[i];
        if (2 * sum >= all) {
            return i;
        }
    }
    return sums.heads.size();
}

std::uint64_t heads_of(const AttemptSums& sums) {
    return std::accumulate(sums.heads.begin(), sums.heads.end(), std::uint64_t{0});
}

AlarmShare share_of(AlarmKind kind, const AttemptSums& sums, std::uint64_t slow_ms) {
    switch (kind) {
        case AlarmKind::errors:
            return {sums.errors, sums.answers};
        case AlarmKind::broken:
            return {sums.broken, sums.answers + sums.broken};
        case AlarmKind::load:
            return {sums.load, sums.answers};
        case AlarmKind::slow:
            break;
    }
    AlarmShare out{0, heads_of(sums)};
    for (std::size_t i = 0; i < AttemptSums::kHeadMilliseconds.size() && slow_ms > 0; ++i) {
        out.bad += AttemptSums::kHeadMilliseconds[i] >= slow_ms ? sums.heads[i + 1] : 0;
    }
    return out;
}

bool is_large_alone(const AlarmShare& share) {
    return share.bad >= kLeastBad && share.bad * kAlonePart >= share.all;
}

// Half of what raises an alarm.
bool is_calm(const AlarmShare& share) {
    return share.bad * 2 * kLeastOnePart < share.all || share.bad == 0;
}

}  // namespace

AttemptSums& AttemptSums::operator+=(const AttemptSums& more) {
    change(*this, more, [](std::uint64_t& value, std::uint64_t by) { value += by; });
    return *this;
}

// What is summed up while it is counted may be off for a moment; it must not become a huge number.
AttemptSums& AttemptSums::operator-=(const AttemptSums& less) {
    change(*this, less,
           [](std::uint64_t& value, std::uint64_t by) { value -= std::min(value, by); });
    return *this;
}

bool is_out_of_line(const AlarmShare& own, const AlarmShare& others) {
    if (own.bad < kLeastBad || own.bad * kLeastOnePart < own.all) {
        return false;
    }
    const bool is_worse =
        others.all == 0 || own.bad * others.all > kTimesOthers * others.bad * own.all;
    return is_worse && (others.all >= kLeastOthers || is_large_alone(own));
}

std::uint64_t slow_from(const AttemptSums& others) {
    const std::uint64_t all = heads_of(others);
    const auto& bounds = AttemptSums::kHeadMilliseconds;
    const std::size_t median = median_of(others, all);
    if (all < kLeastOthers || median >= bounds.size()) {
        return 0;
    }
    const std::uint64_t least = std::max(kSlowMilliseconds, kTimesMedian * bounds[median]);
    const auto* const bound = std::ranges::lower_bound(bounds, least);
    return bound == bounds.end() ? 0 : *bound;
}

// A server that is new was not counted before it existed.
GroupAlarms::Tracks GroupAlarms::move_window(std::span<const Server> servers) {
    Tracks present;
    place_ = (place_ + 1) % (kWindow + 1);
    for (const Server& server : servers) {
        auto known = tracks_.extract(server.id);
        Track& track = present[server.id];
        if (known) {
            track = known.mapped();
        }
        const std::size_t before = (place_ + kWindow) % (kWindow + 1);
        track.last_second = difference(server.counted, track.counted[before]);
        track.window = difference(server.counted, track.counted[(place_ + 1) % (kWindow + 1)]);
        track.counted[place_] = server.counted;
    }
    return std::exchange(tracks_, std::move(present));
}

void GroupAlarms::end(const States& states, std::uint64_t now, std::vector<AlarmEvent>& events) {
    for (const State& state : states) {
        if (state.is_on && state.is_told) {
            events.push_back({state.alarm, true, now - state.alarm.began, true});
        }
    }
}

std::vector<AlarmEvent> GroupAlarms::end(std::uint64_t now) const {
    std::vector<AlarmEvent> events;
    end(of_group_, now, events);
    for (const auto& [id, track] : tracks_) {
        end(track.states, now, events);
    }
    return events;
}

void GroupAlarms::resume(const Alarm& alarm, std::uint64_t now) {
    States& states = alarm.is_of_group ? of_group_ : tracks_[alarm.server].states;
    State& state = states[static_cast<std::size_t>(alarm.kind)];
    state.is_on = true;
    state.is_told = true;
    state.was_told = true;
    state.told_at = now;
    state.alarm = alarm;
}

void GroupAlarms::step(State& state, bool is_bad, bool is_calm, const AlarmShare& second,
                       const Alarm& found, std::uint64_t now, std::vector<AlarmEvent>& events) {
    if (!state.is_on && !is_bad) {
        return;
    }
    if (!state.is_on) {
        state.is_on = true;
        state.is_told = false;
        state.calm = 0;
        state.alarm = found;
        state.alarm.began = now;
        state.alarm.since = found.window;
    } else {
        const Alarm before = std::exchange(state.alarm, found);
        state.alarm.began = before.began;
        state.alarm.since = {before.since.bad + second.bad, before.since.all + second.all};
        if (!is_bad) {  // with the numbers that raised it
            state.alarm.others = before.others;
            state.alarm.slow_ms = before.slow_ms;
            state.alarm.median_ms = before.median_ms;
        }
        state.calm = is_calm ? state.calm + 1 : 0;
    }
    if (state.calm >= kCalm) {
        state.is_on = false;
        if (state.is_told) {
            events.push_back({state.alarm, true, now - state.alarm.began});
        }
        return;
    }
    const bool may_tell = !state.was_told || now - state.told_at >= kQuiet;
    if (!state.is_told && is_bad && may_tell) {
        state.is_told = true;
        state.was_told = true;
        state.told_at = now;
        events.push_back({state.alarm, false, 0});
    }
}

void GroupAlarms::judge_server(AlarmKind kind, std::uint64_t id, Track& track,
                               const AttemptSums& all, std::uint64_t now,
                               std::vector<AlarmEvent>& events) {
    State& state = track.states[static_cast<std::size_t>(kind)];
    const AttemptSums others = difference(all, track.window);
    Alarm found{.kind = kind, .server = id};
    if (kind == AlarmKind::slow) {
        found.slow_ms = slow_from(others);
        const std::size_t median = median_of(others, heads_of(others));
        found.median_ms = found.slow_ms == 0 ? 0 : AttemptSums::kHeadMilliseconds[median];
    }
    // Without others to compare with, what was slow before is slow still.
    const std::uint64_t slow_ms =
        found.slow_ms == 0 && state.is_on ? state.alarm.slow_ms : found.slow_ms;
    found.window = share_of(kind, track.window, slow_ms);
    found.others = share_of(kind, others, slow_ms);
    const bool is_comparable = kind != AlarmKind::slow || found.slow_ms > 0;
    step(state, is_comparable && is_out_of_line(found.window, found.others), is_calm(found.window),
         share_of(kind, track.last_second, slow_ms), found, now, events);
}

// Of the servers that are not out of line themselves. Whether a whole group is slow depends on what
// it is asked for.
void GroupAlarms::judge_group(AlarmKind kind, std::uint64_t now, std::vector<AlarmEvent>& events) {
    Alarm found{.kind = kind, .is_of_group = true};
    AlarmShare second;
    for (const auto& [id, track] : tracks_) {
        if (track.states[static_cast<std::size_t>(kind)].is_on) {
            continue;
        }
        const AlarmShare share = share_of(kind, track.window, 0);
        const AlarmShare last = share_of(kind, track.last_second, 0);
        found.window = {found.window.bad + share.bad, found.window.all + share.all};
        second = {second.bad + last.bad, second.all + last.all};
    }
    step(of_group_[static_cast<std::size_t>(kind)], is_large_alone(found.window),
         is_calm(found.window), second, found, now, events);
}

std::vector<AlarmEvent> GroupAlarms::tick(std::span<const Server> servers, std::uint64_t now) {
    std::vector<AlarmEvent> events;
    for (const auto& [id, track] : move_window(servers)) {
        end(track.states, now, events);
    }
    AttemptSums all;
    for (const auto& [id, track] : tracks_) {
        all += track.window;
    }
    for (std::size_t i = 0; i < kAlarmKinds; ++i) {
        const auto kind = static_cast<AlarmKind>(i);
        for (auto& [id, track] : tracks_) {
            judge_server(kind, id, track, all, now, events);
        }
        if (kind != AlarmKind::slow) {
            judge_group(kind, now, events);
        }
    }
    return events;
}

std::vector<std::pair<std::uint64_t, AlarmShare>> GroupAlarms::worst(AlarmKind kind,
                                                                     std::size_t most) const {
    std::vector<std::pair<std::uint64_t, AlarmShare>> out;
    for (const auto& [id, track] : tracks_) {
        if (const AlarmShare share = share_of(kind, track.window, 0); share.bad > 0) {
            out.emplace_back(id, share);
        }
    }
    std::ranges::stable_sort(out, std::greater{}, [](const auto& item) { return item.second.bad; });
    out.resize(std::min(out.size(), most));
    return out;
}

template <class Take>
void GroupAlarms::for_each_state(const Take& take) const {
    std::ranges::for_each(of_group_, take);
    for (const auto& [id, track] : tracks_) {
        std::ranges::for_each(track.states, take);
    }
}

std::vector<Alarm> GroupAlarms::alarms() const {
    std::vector<Alarm> out;
    for_each_state([&out](const State& state) {
        if (state.is_on) {
            out.push_back(state.alarm);
        }
    });
    return out;
}

std::vector<Alarm> GroupAlarms::told() const {
    std::vector<Alarm> out;
    for_each_state([&out](const State& state) {
        if (state.is_on && state.is_told) {
            out.push_back(state.alarm);
        }
    });
    return out;
}

}  // namespace s3gate::policy
