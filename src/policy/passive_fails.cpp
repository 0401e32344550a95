#include "s3gate/policy/passive_fails.hpp"

#include <algorithm>

namespace s3gate::policy {

namespace {

// Bits 0-7: failures, at most 255. Bit 8: marked. Bits 9-63: time of the last failure, or of the
// trial's begin; milliseconds in 55 bits do not wrap in a million years.
constexpr std::uint64_t kFailsMask = 0xff;
constexpr std::uint64_t kMarkedBit = 0x100;
constexpr unsigned kTimeShift = 9;

// Each worker reads its own clock, so the state may be slightly later than `now_ms`. That counts as
// no time passed.
bool is_over(const PassiveFacts& fields, const PassiveRule& rule, std::uint64_t now_ms) {
    return now_ms > fields.since_ms && now_ms - fields.since_ms > rule.fail_timeout_ms;
}

}  // namespace

PassiveFacts facts_of(PassiveState state) {
    return {static_cast<unsigned>(state.bits & kFailsMask), (state.bits & kMarkedBit) != 0,
            state.bits >> kTimeShift};
}

PassiveState state_of(const PassiveFacts& facts) {
    return {std::min<std::uint64_t>(facts.fails, kFailsMask) | (facts.is_marked ? kMarkedBit : 0) |
            facts.since_ms << kTimeShift};
}

PassiveVerdict verdict(PassiveState state, const PassiveRule& rule, std::uint64_t now_ms) {
    const PassiveFacts fields = facts_of(state);
    // The mark may come from before a reload that disabled marks.
    if (!fields.is_marked || rule.max_fails == 0) {
        return PassiveVerdict::usable;
    }
    return is_over(fields, rule, now_ms) ? PassiveVerdict::trial : PassiveVerdict::marked;
}

PassiveState after_trial_pick(PassiveState state, const PassiveRule& /*rule*/,
                              std::uint64_t now_ms) {
    // If the trial never reports (its client left), the next one is due after another fail_timeout.
    PassiveFacts fields = facts_of(state);
    fields.since_ms = std::max(fields.since_ms, now_ms);
    return state_of(fields);
}

PassiveState after_failure(PassiveState state, const PassiveRule& rule, std::uint64_t now_ms,
                           bool may_mark) {
    if (rule.max_fails == 0) {
        return {};
    }
    PassiveFacts fields = facts_of(state);
    if (is_over(fields, rule, now_ms)) {
        fields.fails = 0;
    }
    fields.fails = std::min<unsigned>(fields.fails + 1, kFailsMask);
    fields.since_ms = std::max(fields.since_ms, now_ms);
    // A backend that is marked already stays marked regardless of `may_mark`: it is part of the
    // marked third.
    const std::uint64_t needed = std::min<std::uint64_t>(rule.max_fails, kFailsMask);
    fields.is_marked = fields.is_marked || (may_mark && fields.fails >= needed);
    return state_of(fields);
}

PassiveState after_success(PassiveState /*state*/) {
    return {};
}

PassiveState without_mark(PassiveState state) {
    return {state.bits & ~kMarkedBit};
}

bool is_marked(PassiveState state) {
    return facts_of(state).is_marked;
}

}  // namespace s3gate::policy
