// Passive marks of a group on the board, as several workers at once set and clear them, and what
// they, the checks and the configuration leave.
#pragma once

#include <cstdint>
#include <span>

#include "s3gate/policy/passive_fails.hpp"
#include "s3gate/state/board.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::state {

// True if requests go to this backend: up by the checks, not marked, not out by the configuration.
// A mark whose trial is due counts as standing: nobody knows how the trial ends.
bool is_usable(const Board& board, const Peer& peer);

enum class MarkChange : std::uint8_t { none, set, cleared };

// Counts a failure of the backend in cell `slot`, one of `group`. Never leaves more than a third of
// the group marked, but one may always be. Any worker.
MarkChange count_failure(Board& board, std::span<const Peer> group, std::uint32_t slot,
                         const policy::PassiveRule& rule, std::uint64_t now_ms);

// The backend answered: nothing is held against it any more. Any worker.
MarkChange count_success(Board& board, std::uint32_t slot);

}  // namespace s3gate::state
