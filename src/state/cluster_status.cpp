#include "s3gate/state/cluster_status.hpp"

#include "s3gate/state/board.hpp"
#include "s3gate/state/passive_marks.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::state {
namespace {

AddressStatus status_of(const Peer& peer, const Board& board) {
    return {
        .address = peer.address_text,
        .is_usable = is_usable(board, peer),
        .is_up = board.is_up(peer.slot),
        .is_recovering = board.is_recovering(peer.slot),
        .is_marked = policy::is_marked(board.passive(peer.slot)),
        .in_flight = board.in_flight(peer.slot),
    };
}

ServerStatus status_of(const Group& group, const GroupServer& server, const Board& board) {
    ServerStatus status{
        .text = server.config->text,
        .weight = server.config->weight,
        .is_backup = server.config->backup,
        .is_down = server.config->down,
        .is_drained = server.config->drained,
        .override = server.peer_count > 0 ? board.override_of(group.peers[server.first_peer].slot)
                                          : Override::none,
        .max_connections = server.max_connections,
        .occupied = server.max_connections > 0 ? board.occupied(server.room.index) : 0,
        .addresses = {},
    };
    for (const std::uint32_t index : server.peers()) {
        status.addresses.push_back(status_of(group.peers[index], board));
    }
    return status;
}

GroupStatus status_of(const Group& group, const Board& board) {
    GroupStatus status{
        .name = group.name,
        .has_checks = group.health->enabled,
        .requests = board.group_requests(group.cell),
        .waiting = board.waiting(group.cell),
        .servers = {},
    };
    for (const GroupServer& server : group.servers) {
        status.servers.push_back(status_of(group, server, board));
    }
    return status;
}

}  // namespace

ClusterStatus cluster_status_of(const Snapshot& snapshot, const Board& board) {
    ClusterStatus status;
    for (const Site& site : snapshot.sites) {
        SiteStatus& shown = status.sites.emplace_back();
        shown.name = site.config->name;
        shown.connections = board.site_connections(site.cell.index);
        for (const Group& group : site.groups) {
            shown.groups.push_back(status_of(group, board));
        }
    }
    return status;
}

}  // namespace s3gate::state
