// Selection among candidates without a ring: smooth weighted round robin and least connections. The
// caller owns the state (one per worker, no locks) and passes only candidates that are usable.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace s3gate::policy {

// Smooth weighted round robin of nginx: one per peer, zero at the beginning.
struct SmoothWeight {
    std::int64_t current = 0;
};

struct Candidate {
    std::uint32_t peer =
        0;  // caller's index, returned by the pickers; also the index into the SmoothWeight span
    unsigned weight = 1;
    std::int64_t in_flight = 0;  // requests and tunnels in progress on all workers
};

// Picks by smooth weighted round robin among `candidates`; nullopt when there is none.
std::optional<std::uint32_t> pick_round_robin(std::span<const Candidate> candidates,
                                              std::span<SmoothWeight> state);

// Least in_flight/weight (compared by cross-multiplication); ties by smooth weighted round robin
// among the tied. Up to 16 candidates a full scan from a random start, above that the better of two
// random ones. `random` is any 64 random bits.
std::optional<std::uint32_t> pick_least_conn(std::span<const Candidate> candidates,
                                             std::span<SmoothWeight> state, std::uint64_t random);

}  // namespace s3gate::policy
