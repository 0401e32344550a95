#include "s3gate/state/passive_marks.hpp"

#include <algorithm>
#include <cstddef>

namespace s3gate::state {
namespace {

// Bound on compare-and-swap attempts. A worker that loses this often leaves the change to the
// others.
constexpr int kTries = 8;

std::size_t marked_in(const Board& board, std::span<const Peer> group) {
    return static_cast<std::size_t>(std::ranges::count_if(
        group, [&](const Peer& peer) { return policy::is_marked(board.passive(peer.slot)); }));
}

}  // namespace

bool is_usable(const Board& board, const Peer& peer) {
    return !is_out(board, peer) && board.is_up(peer.slot) &&
           !policy::is_marked(board.passive(peer.slot));
}

MarkChange count_failure(Board& board, std::span<const Peer> group, std::uint32_t slot,
                         const policy::PassiveRule& rule, std::uint64_t now_ms) {
    const std::size_t most = std::max<std::size_t>(1, group.size() / 3);
    for (int i = 0; i < kTries; ++i) {
        const policy::PassiveState state = board.passive(slot);
        const bool was_marked = policy::is_marked(state);
        const policy::PassiveState wanted = policy::after_failure(
            state, rule, now_ms, was_marked || marked_in(board, group) < most);
        if (!board.replace_passive(slot, state, wanted)) {
            continue;
        }
        if (was_marked || !policy::is_marked(wanted)) {
            return MarkChange::none;
        }
        // Another worker may have taken the last place meanwhile. Both workers see that and both
        // withdraw; the next failure marks again.
        if (marked_in(board, group) > most &&
            board.replace_passive(slot, wanted, policy::without_mark(wanted))) {
            return MarkChange::none;
        }
        return MarkChange::set;
    }
    return MarkChange::none;
}

MarkChange count_success(Board& board, std::uint32_t slot) {
    for (int i = 0; i < kTries; ++i) {
        const policy::PassiveState state = board.passive(slot);
        if (state.bits == 0) {
            return MarkChange::none;
        }
        if (board.replace_passive(slot, state, policy::after_success(state))) {
            return policy::is_marked(state) ? MarkChange::cleared : MarkChange::none;
        }
    }
    return MarkChange::none;
}

}  // namespace s3gate::state
