// The generic cell rate algorithm: a token bucket in one number, the theoretical arrival time of
// the next request. A request is admitted if that time is at most the burst ahead of now. Pure; a
// shared number is changed by compare-and-swap.
#pragma once

#include <cstdint>
#include <optional>

namespace s3gate::policy {

// Times in nanoseconds of one clock. `interval` 0 = no limit.
struct RateRule {
    std::uint64_t interval = 0;  // time between two requests at the rate
    std::uint64_t burst = 1;     // capacity of the bucket in requests, at least 1
};

// At most `requests` in each `period`, `burst` of them at once. `requests` and `period` must not be
// 0.
constexpr RateRule rate_rule(std::uint64_t requests, std::uint64_t period, std::uint64_t burst) {
    const std::uint64_t interval = period / requests;
    return {interval > 0 ? interval : 1, burst};
}

// The new `arrival` for a request at `now`; nullopt if the request is too early. An `arrival` of 0
// is a full bucket.
constexpr std::optional<std::uint64_t> admit(std::uint64_t arrival, const RateRule& rule,
                                             std::uint64_t now) {
    const std::uint64_t next = (arrival > now ? arrival : now) + rule.interval;
    if (next - now > rule.interval * rule.burst) {
        return std::nullopt;
    }
    return next;
}

// True if the bucket is full, so it may be forgotten.
constexpr bool is_full(std::uint64_t arrival, std::uint64_t now) {
    return arrival <= now;
}

}  // namespace s3gate::policy
