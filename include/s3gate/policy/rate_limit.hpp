// The generic cell rate algorithm: a token bucket in one number, the theoretical arrival time of
// the next request. A request is admitted when that lies no more than the burst ahead of now. Pure;
// who keeps the number shared changes it by compare-and-swap.
#pragma once

#include <cstdint>
#include <optional>

namespace s3gate::policy {

// Times in nanoseconds of one clock. `interval` 0 = no limit.
struct RateRule {
    std::uint64_t interval = 0;  // between two requests at the rate
    std::uint64_t burst = 1;     // requests that a full bucket holds, at least 1
};

// At most `requests` in each `period`, `burst` of them at once; neither may be 0.
constexpr RateRule rate_rule(std::uint64_t requests, std::uint64_t period, std::uint64_t burst) {
    const std::uint64_t interval = period / requests;
    return {interval > 0 ? interval : 1, burst};
}

// What `arrival` becomes when a request comes at `now`; nullopt if it comes too early. 0 is a full
// bucket.
constexpr std::optional<std::uint64_t> admit(std::uint64_t arrival, const RateRule& rule,
                                             std::uint64_t now) {
    const std::uint64_t next = (arrival > now ? arrival : now) + rule.interval;
    if (next - now > rule.interval * rule.burst) {
        return std::nullopt;
    }
    return next;
}

// True if the bucket is full: nothing is lost when it is forgotten.
constexpr bool is_full(std::uint64_t arrival, std::uint64_t now) {
    return arrival <= now;
}

}  // namespace s3gate::policy
