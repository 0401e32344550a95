// Chooses the backend of each attempt: policy/selection over a group as its worker sees it. It also
// claims what only one request may have: room at a server, and the trial of a marked backend. One
// object per request, for all its attempts. On its worker's thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "holds.hpp"
#include "request.hpp"
#include "s3gate/policy/selection.hpp"
#include "s3gate/state/passive_marks.hpp"
#include "s3gate/state/snapshot.hpp"
#include "worker.hpp"

namespace s3gate::proxy {

// A group as a worker sees it: configuration, board, clock. See policy::SelectableGroup.
class GroupNow {
  public:
    // `request` has its key.
    GroupNow(Worker& worker, const state::Group& group, GroupState& state, const Request& request)
        : worker_(&worker), group_(&group), state_(&state), request_(&request) {}

    config::BalanceMethod method() const { return group_->balance->method; }
    config::AllDown when_all_down() const { return group_->when_all_down; }
    const policy::KetamaRing& ring() const { return group_->ring; }
    std::size_t address_count() const { return group_->peers.size(); }
    auto addresses_of(std::uint32_t server) const { return group_->servers[server].peers(); }
    std::uint32_t server_of(std::uint32_t address) const { return group_->peers[address].server; }
    unsigned weight_of(std::uint32_t server) const {
        return group_->servers[server].config->weight;
    }
    bool is_backup(std::uint32_t server) const { return group_->servers[server].config->backup; }
    bool is_out(std::uint32_t address) const {
        const state::Peer& peer = group_->peers[address];
        const state::Override command = board().override_of(peer.slot);
        return peer.is_out || (command != state::Override::none &&
                               !(command == state::Override::keeps_sessions && is_at_home(peer)));
    }

    bool is_well(std::uint32_t address) const {
        const state::Peer& peer = group_->peers[address];
        const policy::PassiveRule& rule = group_->servers[peer.server].passive;
        return board().is_up(peer.slot) &&
               policy::verdict(board().passive(peer.slot), rule, worker_->reactor.now_ms()) !=
                   policy::PassiveVerdict::marked;
    }
    bool may_be_recovering(std::uint32_t address) const {
        const std::uint32_t slot = group_->peers[address].slot;
        return board().is_up(slot) || board().is_recovering(slot);
    }
    bool has_room(std::uint32_t server) const {
        const auto most = static_cast<std::int32_t>(group_->servers[server].max_connections);
        return most == 0 || board().occupied(group_->servers[server].room.index) < most;
    }
    std::int64_t in_flight(std::uint32_t address) const {
        return board().in_flight(group_->peers[address].slot);
    }
    unsigned share_of(std::uint32_t address) const {
        const base::Duration slow_start = group_->backends->slow_start;
        const std::uint64_t since = slow_start == base::Duration::zero()
                                        ? 0
                                        : board().back_since(group_->peers[address].slot);
        return since == 0 ? policy::kFullShare
                          : policy::slow_start_share(
                                base::Duration(worker_->reactor.now_ms() - since), slow_start);
    }
    std::span<policy::SmoothWeight> weights() const { return state_->weights; }
    std::uint64_t random() const { return worker_->next_random(); }

  private:
    const state::Board& board() const { return *worker_->shared.board; }
    // True if the request belongs to a session that is present at the server, or to an upload,
    // whose parts must not be spread.
    bool is_at_home(const state::Peer& peer) const;

    Worker* worker_;
    const state::Group* group_;
    GroupState* state_;
    const Request* request_;
};

// The result of a choice.
enum class Pick : std::uint8_t {
    found,      // chosen and marked as tried; room at its server is held
    full,       // usable servers exist, but none has room
    none,       // no usable server exists
    gone,       // during the wait the client left or a stop came
    timed_out,  // no room in time
    overflow,   // too many requests wait already
};

class BackendChoice {
  public:
    // `request` has its key. `memory` as in policy::Selection. The generation of `group` is
    // borrowed.
    BackendChoice(Worker& worker, const state::Group& group, GroupState& state,
                  const Request& request, policy::SelectionMemory& memory)
        : worker_(worker),
          group_(group),
          key_(request.key().place()),
          seen_keys_(state.seen_keys),
          selection_({worker, group, state, request}, key_, memory) {}

    // Chooses the backend of the next attempt: found, full or none. Room of an earlier attempt must
    // have been released.
    Pick pick(policy::Sent sent);
    // The same for a request that waited; starts again at its key's own server.
    Pick pick_anew(policy::Sent sent);
    // Offers room with that cell, which is held already. True if this request takes it and so has
    // chosen its backend.
    bool take_room(std::uint32_t cell, policy::Sent sent);

    // The chosen backend.
    const state::Peer& peer() const { return group_.peers[address_]; }
    ServerRoom& room() { return room_; }

    bool has_left(policy::Sent sent) const { return selection_.has_left(sent); }
    bool has_left_with_room(policy::Sent sent) const { return selection_.has_left_with_room(sent); }
    void admit_recovering() { selection_.admit_recovering(); }

    // Report the attempt's result for the backend's passive mark.
    void note_failure();
    void note_success();

  private:
    void log_mark(state::MarkChange change);
    bool claim(std::uint32_t address);

    Worker& worker_;
    const state::Group& group_;
    const std::optional<std::uint32_t> key_;
    state::SeenKeys* const seen_keys_;
    policy::Selection<GroupNow> selection_;
    std::uint32_t address_ = 0;
    ServerRoom room_;
};

}  // namespace s3gate::proxy
