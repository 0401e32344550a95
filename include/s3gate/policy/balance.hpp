// Selection among candidates without a ring: smooth weighted round robin and least connections. The
// caller owns the state (one per worker, no locks) and passes only usable candidates.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "s3gate/base/clock.hpp"

namespace s3gate::policy {

// State of nginx's smooth weighted round robin, one per peer, initially zero.
struct SmoothWeight {
    std::int64_t current = 0;
};

// Shares of a server's weight, in thousandths.
inline constexpr unsigned kFullShare = 1000;
inline constexpr unsigned kLeastShare = 10;  // so that no server starves

// The share of a server to which requests have gone again for `back_for`. It grows evenly with
// time, up to the whole weight after `slow_start`. Servers that came back together have equal
// shares.
unsigned slow_start_share(base::Duration back_for, base::Duration slow_start);

struct Candidate {
    std::uint32_t peer =
        0;  // caller's index, the result of the pickers; also the index into the SmoothWeight span
    unsigned weight = 1;
    std::int64_t in_flight = 0;  // requests and tunnels in progress on all workers
};

// Picks by smooth weighted round robin; nullopt without candidates.
std::optional<std::uint32_t> pick_round_robin(std::span<const Candidate> candidates,
                                              std::span<SmoothWeight> state);

// Picks the least in_flight/weight (compared by cross-multiplication); smooth weighted round robin
// breaks ties. Up to 16 candidates are scanned from a random start; of more, the better of two
// random ones is picked. `random` is any 64 random bits.
std::optional<std::uint32_t> pick_least_conn(std::span<const Candidate> candidates,
                                             std::span<SmoothWeight> state, std::uint64_t random);

}  // namespace s3gate::policy
