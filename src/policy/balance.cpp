#include "s3gate/policy/balance.hpp"

#include <algorithm>
#include <cstddef>

namespace s3gate::policy {

namespace {

// With more candidates a full scan costs more than it gains over two random choices.
constexpr std::size_t kMaxFullScan = 16;

// One round of nginx's smooth weighted round robin over `count` candidates. `at(i)` returns the
// i-th, or null to exclude it.
template <class At>
std::optional<std::uint32_t> smooth_pick(std::size_t count, std::span<SmoothWeight> state,
                                         const At& at) {
    std::int64_t total = 0;
    const Candidate* best = nullptr;
    for (std::size_t i = 0; i < count; ++i) {
        const Candidate* const candidate = at(i);
        if (candidate == nullptr) {
            continue;
        }
        state[candidate->peer].current += candidate->weight;
        total += candidate->weight;
        if (best == nullptr || state[candidate->peer].current > state[best->peer].current) {
            best = candidate;
        }
    }
    if (best == nullptr) {
        return std::nullopt;
    }
    state[best->peer].current -= total;
    return best->peer;
}

// Compares in_flight / weight without division.
bool is_less_loaded(const Candidate& a, const Candidate& b) {
    return a.in_flight * b.weight < b.in_flight * a.weight;
}

bool is_as_loaded(const Candidate& a, const Candidate& b) {
    return a.in_flight * b.weight == b.in_flight * a.weight;
}

// The least loaded of `count` candidates; smooth round robin breaks ties.
template <class At>
std::optional<std::uint32_t> least_loaded(std::size_t count, std::span<SmoothWeight> state,
                                          const At& at) {
    const Candidate* best = at(0);
    bool tied = false;
    for (std::size_t i = 1; i < count; ++i) {
        const Candidate* const candidate = at(i);
        if (is_less_loaded(*candidate, *best)) {
            best = candidate;
            tied = false;
        } else if (is_as_loaded(*candidate, *best)) {
            tied = true;
        }
    }
    if (!tied) {
        return best->peer;  // the weights change only if they decide, as in nginx
    }
    return smooth_pick(count, state, [&](std::size_t i) {
        const Candidate* const candidate = at(i);
        return is_as_loaded(*candidate, *best) ? candidate : nullptr;
    });
}

// Maps 32 random bits to 0…count-1 without a division.
std::size_t scale(std::uint64_t bits32, std::size_t count) {
    return static_cast<std::size_t>((bits32 * count) >> 32);
}

}  // namespace

unsigned slow_start_share(base::Duration back_for, base::Duration slow_start) {
    if (back_for >= slow_start) {
        return kFullShare;
    }
    const auto share = back_for * kFullShare / slow_start;
    return std::max(static_cast<unsigned>(std::max<base::Duration::rep>(share, 0)), kLeastShare);
}

std::optional<std::uint32_t> pick_round_robin(std::span<const Candidate> candidates,
                                              std::span<SmoothWeight> state) {
    return smooth_pick(candidates.size(), state, [&](std::size_t i) { return &candidates[i]; });
}

std::optional<std::uint32_t> pick_least_conn(std::span<const Candidate> candidates,
                                             std::span<SmoothWeight> state, std::uint64_t random) {
    const std::size_t count = candidates.size();
    if (count == 0) {
        return std::nullopt;
    }
    const std::uint64_t low = random & 0xffff'ffff;
    const std::uint64_t high = random >> 32;
    if (count <= kMaxFullScan) {
        // Workers begin with equal weights; the random start keeps them from choosing alike.
        const std::size_t start = scale(low, count);
        return least_loaded(count, state, [&](std::size_t i) {
            const std::size_t at = start + i;
            return &candidates[at < count ? at : at - count];
        });
    }
    const std::size_t first = scale(low, count);
    const std::size_t step = 1 + scale(high, count - 1);  // never 0 or count, so the two differ
    const std::size_t second = first + step < count ? first + step : first + step - count;
    return least_loaded(2, state,
                        [&](std::size_t i) { return &candidates[i == 0 ? first : second]; });
}

}  // namespace s3gate::policy
