// Passive failure marks (max_fails within fail_timeout, then one trial request), as a value that
// fits in 64 bits so that all workers can share it by compare-and-swap. Times are milliseconds of
// the monotonic clock since the process began.
#pragma once

#include <cstdint>

namespace s3gate::policy {

struct PassiveRule {
    unsigned max_fails = 3;  // 1…255; 0 = never marks
    std::uint64_t fail_timeout_ms = 30000;
};

struct PassiveState {
    std::uint64_t bits = 0;  // 0 = no failure known
    bool operator==(const PassiveState&) const = default;
};

// What a selection may do with a backend.
enum class PassiveVerdict {
    usable,
    trial,  // its time is over: this one request may try it; store after_pick() so that others wait
    marked,
};

PassiveVerdict verdict(PassiveState state, const PassiveRule& rule, std::uint64_t now_ms);

// State after a selection got `trial`: everybody else sees `marked` for another fail_timeout.
PassiveState after_trial_pick(PassiveState state, const PassiveRule& rule, std::uint64_t now_ms);

// State after a failure that counts. A failure older than fail_timeout no longer adds up.
// `may_mark` false (a third of the group is marked already) counts but does not mark.
PassiveState after_failure(PassiveState state, const PassiveRule& rule, std::uint64_t now_ms,
                           bool may_mark);

// State after a request ended well: failures forgotten, mark cleared.
PassiveState after_success(PassiveState state);

// The same failures, not marked: another backend took the last place of the marked third meanwhile.
PassiveState without_mark(PassiveState state);

// True while the mark stands (also during its trial).
bool is_marked(PassiveState state);

}  // namespace s3gate::policy
