#include "s3gate/proxy/group_watch.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>

#include "s3gate/proxy/passive_marks.hpp"

namespace s3gate::proxy {
namespace {

bool has_usable(const Group& group, const Board& board) {
    return std::ranges::any_of(group.peers,
                               [&](const Peer& peer) { return is_usable(board, peer); });
}

// What requests of a group without a usable server get. Nothing is tried where everything is
// unknown, or out by the configuration.
const char* consequence_for(const Group& group) {
    const bool may_try =
        group.when_all_down == config::AllDown::try_anyway &&
        std::ranges::any_of(group.peers, [](const Peer& peer) { return !peer.is_out; });
    return may_try ? "trying all" : "refusing";
}

}  // namespace

ServerCount count_servers(const Snapshot& snapshot, const Board& board) {
    ServerCount count;
    for (const Group& group : groups_of(snapshot)) {
        for (const GroupServer& server : group.servers) {
            if (server.config->down || server.config->drained) {
                continue;
            }
            ++count.all;
            count.up += std::ranges::any_of(server.peers(), [&](std::uint32_t index) {
                return is_usable(board, group.peers[index]);
            });
        }
    }
    return count;
}

void GroupWatch::look(const Snapshot& snapshot, const Board& board, base::TimePoint now) {
    for (const Group& group : groups_of(snapshot)) {
        const std::string& name = group.name;
        const auto outage = outages_.find(group.cell);
        if (!has_usable(group, board)) {
            if (outage == outages_.end()) {
                outages_.emplace(group.cell, Outage{now});
                spdlog::error("No server of {} is usable: {}", name, consequence_for(group));
            } else {
                outage->second.well_since = {};
            }
            continue;
        }
        if (outage == outages_.end()) {
            continue;
        }
        if (outage->second.well_since == base::TimePoint{}) {
            outage->second.well_since = now;
        }
        if (now - outage->second.well_since >= kSettled) {
            const auto lasted = std::chrono::duration_cast<std::chrono::seconds>(
                outage->second.well_since - outage->second.since);
            spdlog::info("A server of {} is usable again, after {} s", name, lasted.count());
            outages_.erase(outage);
        }
    }
}

}  // namespace s3gate::proxy
