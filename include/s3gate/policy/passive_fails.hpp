// Passive failure marks: max_fails within fail_timeout, then one trial request. The value fits in
// 64 bits, so all workers share it by compare-and-swap. Times are milliseconds of the monotonic
// clock since the process began.
#pragma once

#include <cstdint>

namespace s3gate::policy {

struct PassiveRule {
    unsigned max_fails = 3;  // 1…255; 0 = never marks
    std::uint64_t fail_timeout_ms = 30000;
};

struct PassiveState {
    std::uint64_t bits = 0;  // 0 = no failures
    bool operator==(const PassiveState&) const = default;
};

// Whether a selection may use a backend.
enum class PassiveVerdict {
    usable,
    trial,  // the mark's time is over and this one request may try; store after_trial_pick() so
            // that others wait
    marked,
};

PassiveVerdict verdict(PassiveState state, const PassiveRule& rule, std::uint64_t now_ms);

// State after a selection got `trial`: other requests see `marked` for another fail_timeout.
PassiveState after_trial_pick(PassiveState state, const PassiveRule& rule, std::uint64_t now_ms);

// State after a failure that counts. Failures older than fail_timeout are forgotten. If `may_mark`
// is false (a third of the group is marked), the failure counts without a mark.
PassiveState after_failure(PassiveState state, const PassiveRule& rule, std::uint64_t now_ms,
                           bool may_mark);

// State after a successful request: no failures, no mark.
PassiveState after_success(PassiveState state);

// The same failures without the mark: another backend took the last place of the marked third
// meanwhile.
PassiveState without_mark(PassiveState state);

// True while the mark lasts, also during its trial.
bool is_marked(PassiveState state);

// What a state says, for another process.
struct PassiveFacts {
    unsigned fails = 0;  // at most 255
    bool is_marked = false;
    std::uint64_t since_ms = 0;  // of the last failure, or of the begin of a trial
};
PassiveFacts facts_of(PassiveState state);
PassiveState state_of(const PassiveFacts& facts);

}  // namespace s3gate::policy
