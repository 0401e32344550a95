#include "backend_choice.hpp"

#include <algorithm>

#include "s3gate/state/seen_keys.hpp"

namespace s3gate::proxy {

using policy::Selected;

bool GroupNow::is_at_home(const state::Peer& peer) const {
    const std::optional<std::uint32_t> key = request_->key().place();
    return key && (board().has_seen(group_->cell, *key, peer.server_hash) ||
                   !policy::find_argument(request_->meaning().query, "uploadid").empty());
}

Pick BackendChoice::pick(policy::Sent sent) {
    for (;;) {
        const Selected selected = selection_.select(sent);
        if (selected.result != Selected::Result::found) {
            return selected.result == Selected::Result::full ? Pick::full : Pick::none;
        }
        const state::GroupServer& server = group_.servers[group_.peers[selected.address].server];
        if (server.max_connections > 0) {
            const auto most = static_cast<std::int32_t>(server.max_connections);
            if (!worker_.shared.board->try_occupy(server.room.index, most)) {
                continue;  // another request took the room first
            }
            room_ = ServerRoom(worker_, group_, server);
        }
        if (claim(selected.address)) {
            return Pick::found;
        }
        room_.release();
    }
}

Pick BackendChoice::pick_anew(policy::Sent sent) {
    selection_.restart_walk();
    return pick(sent);
}

bool BackendChoice::take_room(std::uint32_t cell, policy::Sent sent) {
    const auto server =
        std::ranges::find_if(group_.servers, [&](const state::GroupServer& candidate) {
            return candidate.max_connections > 0 && candidate.room.index == cell;
        });
    if (server == group_.servers.end()) {
        return false;
    }
    const auto index = static_cast<std::uint32_t>(server - group_.servers.begin());
    const auto address = selection_.select_at(index, sent);
    if (!address || !claim(*address)) {
        return false;
    }
    room_ = ServerRoom(worker_, group_, *server);
    return true;
}

// Claims the address for this attempt. False if its passive mark is due for a trial and another
// request became the trial; the mark stays for all others.
inline bool BackendChoice::claim(std::uint32_t address) {
    state::Board& board = *worker_.shared.board;
    const state::Peer& peer = group_.peers[address];
    const std::uint32_t slot = peer.slot;
    const policy::PassiveRule& rule = group_.servers[peer.server].passive;
    const policy::PassiveState state = board.passive(slot);
    const std::uint64_t now = worker_.reactor.now_ms();
    if (state.bits != 0 && policy::verdict(state, rule, now) == policy::PassiveVerdict::trial &&
        !board.replace_passive(slot, state, policy::after_trial_pick(state, rule, now))) {
        return false;
    }
    if (key_) {
        seen_keys_->note(*key_, peer.server_hash);
    }
    selection_.note_tried(address);
    address_ = address;
    return true;
}

void BackendChoice::note_failure() {
    const policy::PassiveRule& rule = group_.servers[peer().server].passive;
    if (rule.max_fails > 0) {
        log_mark(state::count_failure(*worker_.shared.board, group_.peers, peer().slot, rule,
                                      worker_.reactor.now_ms()));
    }
}

void BackendChoice::note_success() {
    // Also of a server that is not marked any more: a mark may be there from before a reload.
    log_mark(state::count_success(*worker_.shared.board, peer().slot));
}

void BackendChoice::log_mark(state::MarkChange change) {
    if (change != state::MarkChange::none) {
        worker_.note_mark(group_, peer(), change == state::MarkChange::set);
    }
}

}  // namespace s3gate::proxy
