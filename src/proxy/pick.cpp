// Which backend an attempt goes to: ring walk, least connections or round robin over those that are
// usable, and the passive marks that an attempt leaves behind.
#include <algorithm>
#include <utility>

#include "exchange.hpp"
#include "s3gate/proxy/passive_marks.hpp"

namespace s3gate::proxy {

inline bool Exchange::is_well(const Peer& peer) const {
    const Board& board = *worker_.shared.board;
    return board.is_up(peer.slot) &&
           policy::verdict(board.passive(peer.slot), group_->passive, worker_.reactor.now_ms()) !=
               policy::PassiveVerdict::marked;
}

bool Exchange::is_candidate(std::uint32_t index, bool ignore_health) {
    const Peer& peer = group_->peers[index];
    if (tried_[index] != 0 || peer.is_out) {
        return false;
    }
    if (ignore_health || is_well(peer)) {
        return true;
    }
    const Board& board = *worker_.shared.board;
    return takes_recovering_ && (board.is_up(peer.slot) || board.is_recovering(peer.slot));
}

bool Exchange::has_room(const GroupServer& server) const {
    const auto most = static_cast<std::int32_t>(server.max_connections);
    return most == 0 || worker_.shared.board->occupied(server.room) < most;
}

bool Exchange::is_open(std::uint32_t index, bool ignore_health) {
    return is_candidate(index, ignore_health) &&
           has_room(group_->servers[group_->peers[index].server]);
}

std::uint32_t Exchange::choose_address(const GroupServer& server, bool ignore_health) {
    if (server.peers().size() == 1) {
        return server.peers().front();
    }
    candidates_.clear();
    for (const std::uint32_t index : server.peers()) {
        if (is_candidate(index, ignore_health)) {
            candidates_.push_back({index, 1, 0});
        }
    }
    if (candidates_.size() == 1) {
        return candidates_.front().peer;
    }
    // None, where a check took the last of them down since the walk looked: the attempt tells.
    return policy::pick_round_robin(candidates_, group_state_->weights).value_or(server.peers().front());
}

bool Exchange::pick_among(bool ignore_health) {
    const config::BalanceMethod method = group_->balance->method;
    if (method == config::BalanceMethod::ketama && !key_.key.empty() && !group_->ring.empty()) {
        if (!walk_begun_) {
            walk_begun_ = true;
            walk_ = policy::start_walk(group_->ring, key_hash_);
        }
        const auto usable = [&](std::uint32_t server) {
            const GroupServer& candidate = group_->servers[server];
            return std::ranges::any_of(candidate.peers(), [&](std::uint32_t index) {
                return is_open(index, ignore_health);
            });
        };
        if (const auto server = policy::walk_to_usable(group_->ring, walk_, usable)) {
            peer_ = choose_address(group_->servers[*server], ignore_health);
            return true;
        }
    }
    // Primaries first; backups only when no primary is usable.
    for (const bool backups : {false, true}) {
        candidates_.clear();
        for (std::uint32_t index = 0; index < group_->peers.size(); ++index) {
            const Peer& peer = group_->peers[index];
            const config::Server& server = *group_->servers[peer.server].config;
            if (server.backup == backups && is_open(index, ignore_health)) {
                candidates_.push_back({index, server.weight,
                                       method == config::BalanceMethod::least_conn
                                           ? worker_.shared.board->in_flight(peer.slot)
                                           : 0});
            }
        }
        const auto picked =
            method == config::BalanceMethod::least_conn
                ? policy::pick_least_conn(candidates_, group_state_->weights, worker_.next_random())
                : policy::pick_round_robin(candidates_, group_state_->weights);
        if (picked) {
            peer_ = *picked;
            return true;
        }
    }
    return false;
}

// True when the checks and marks may be ignored: they leave nobody, or everybody they leave was
// tried without a byte sent.
bool Exchange::may_ignore_health() {
    if (group_->when_all_down != config::AllDown::try_anyway) {
        return false;
    }
    if (sent_attempts_ == 0) {
        return true;
    }
    return std::ranges::none_of(
        group_->peers, [this](const Peer& peer) { return !peer.is_out && is_well(peer); });
}

Exchange::Pick Exchange::pick_peer() {
    for (;;) {
        bool ignore_health = false;
        if (!has_candidate(false)) {
            // A check that fails everywhere at once must not take the storage offline
            // (docs/architecture.md).
            if (!may_ignore_health() || !has_candidate(true)) {
                return Pick::none;
            }
            ignore_health = true;
            walk_.tries = 0;
        }
        // Servers without room are passed over like unusable ones, but they are not unusable: their
        // health is not ignored for it.
        if (!pick_among(ignore_health)) {
            return Pick::full;
        }
        const std::uint32_t index = group_->peers[peer_].server;
        const GroupServer& server = group_->servers[index];
        const auto most = static_cast<std::int32_t>(server.max_connections);
        if (most > 0 && !worker_.shared.board->try_occupy(server.room, most)) {
            continue;  // another worker was faster
        }
        held_server_ = most > 0 ? index : kNoServer;
        if (claim_peer()) {
            return Pick::found;
        }
        release_slot();
    }
}

// Makes peer_ this attempt's. False if it has a passive mark whose time is over, and another
// request became its trial: everybody else goes on avoiding it.
bool Exchange::claim_peer() {
    Board& board = *worker_.shared.board;
    const std::uint32_t slot = group_->peers[peer_].slot;
    const policy::PassiveState state = board.passive(slot);
    const std::uint64_t now = worker_.reactor.now_ms();
    if (state.bits != 0 &&
        policy::verdict(state, group_->passive, now) == policy::PassiveVerdict::trial &&
        !board.replace_passive(slot, state, policy::after_trial_pick(state, group_->passive, now))) {
        return false;
    }
    tried_[peer_] = 1;
    return true;
}

bool Exchange::has_candidate(bool ignore_health) {
    for (std::uint32_t index = 0; index < group_->peers.size(); ++index) {
        if (is_candidate(index, ignore_health)) {
            return true;
        }
    }
    return false;
}

bool Exchange::has_open(bool ignore_health) {
    for (std::uint32_t index = 0; index < group_->peers.size(); ++index) {
        if (is_open(index, ignore_health)) {
            return true;
        }
    }
    return false;
}

void Exchange::note_passive(bool failed) {
    const config::Passive& rule = site_->config->passive;
    if (!rule.enabled) {
        return;
    }
    Board& board = *worker_.shared.board;
    const Peer& peer = group_->peers[peer_];
    const MarkChange change = failed ? count_failure(board, group_->peers, peer.slot, group_->passive,
                                                     worker_.reactor.now_ms())
                                     : count_success(board, peer.slot);
    if (change != MarkChange::none) {
        worker_.note_mark(*group_, peer, change == MarkChange::set);
    }
}

}  // namespace s3gate::proxy
