// Passive marks of a group on the board. Several workers may set and clear marks at the same time.
#pragma once

#include <cstdint>
#include <span>

#include "s3gate/policy/passive_fails.hpp"
#include "s3gate/state/board.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::state {

// True if the configuration or a command of an operator takes the backend out. One that keeps its
// sessions is out too: it gets no other request.
inline bool is_out(const Board& board, const Peer& peer) {
    return peer.is_out || board.override_of(peer.slot) != Override::none;
}

// True if requests go to this backend: the checks see it up, it has no mark, and it is not out. A
// mark whose trial is due still counts: its outcome is open.
bool is_usable(const Board& board, const Peer& peer);

enum class MarkChange : std::uint8_t { none, set, cleared };

// Counts a failure of the backend in cell `slot`, one of `group`. At most a third of the group is
// marked; one mark is always allowed. Any worker.
MarkChange count_failure(Board& board, std::span<const Peer> group, std::uint32_t slot,
                         const policy::PassiveRule& rule, std::uint64_t now_ms);

// Records an answer of the backend: clears its failures and its mark. Any worker.
MarkChange count_success(Board& board, std::uint32_t slot);

}  // namespace s3gate::state
