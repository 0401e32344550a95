#include "group_watch.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "s3gate/state/cluster_status.hpp"
#include "s3gate/state/passive_marks.hpp"

namespace s3gate::control {
namespace {

bool has_usable(const state::Group& group, const state::Board& board) {
    return std::ranges::any_of(
        group.peers, [&](const state::Peer& peer) { return state::is_usable(board, peer); });
}

// The fate of requests in a group without a usable server. They are refused if every server is
// unknown or taken out, by the configuration or by an operator.
const char* consequence_for(const state::Group& group, const state::Board& board) {
    const bool may_try = group.when_all_down == config::AllDown::try_anyway &&
                         std::ranges::any_of(group.peers, [&](const state::Peer& peer) {
                             return !state::is_out(board, peer);
                         });
    return may_try ? "trying all" : "refusing";
}

}  // namespace

ServerCount count_servers(const state::Snapshot& snapshot, const state::Board& board) {
    ServerCount count;
    const state::ClusterStatus status = state::cluster_status_of(snapshot, board);
    for (const state::SiteStatus& site : status.sites) {
        for (const state::GroupStatus& group : site.groups) {
            for (const state::ServerStatus& server : group.servers) {
                count.all += server.is_out() ? 0 : 1;
                count.up += !server.is_out() && server.is_usable() ? 1 : 0;
            }
        }
    }
    return count;
}

void GroupWatch::look(const state::Snapshot& snapshot, const state::Board& board,
                      base::TimePoint now) {
    std::map<state::CellId, Outage> present;  // drops groups that are gone
    for (const state::Group& group : state::groups_of(snapshot)) {
        const auto known = outages_.find(group.id());
        std::optional<Outage> outage;
        if (known != outages_.end()) {
            outage = known->second;
        }
        if (const auto next = look(group, board, outage, now)) {
            present.emplace(group.id(), *next);
        }
    }
    outages_ = std::move(present);
}

std::optional<GroupWatch::Outage> GroupWatch::look(const state::Group& group,
                                                   const state::Board& board,
                                                   std::optional<Outage> outage,
                                                   base::TimePoint now) {
    if (!has_usable(group, board)) {
        if (!outage) {
            lines_.note({.topic = Topic::groups,
                         .subject = group.name,
                         .level = spdlog::level::err,
                         .text = fmt::format("No server of {} is usable: {}", group.name,
                                             consequence_for(group, board))},
                        now);
            return Outage{now};
        }
        return Outage{outage->since};
    }
    if (!outage) {
        return std::nullopt;
    }
    if (outage->well_since == base::TimePoint{}) {
        outage->well_since = now;
    }
    if (now - outage->well_since < kSettled) {
        return outage;
    }
    const auto lasted =
        std::chrono::duration_cast<std::chrono::seconds>(outage->well_since - outage->since);
    lines_.note({.topic = Topic::groups,
                 .subject = group.name,
                 .is_end = true,
                 .level = spdlog::level::info,
                 .text = fmt::format("A server of {} is usable again, after {} s", group.name,
                                     lasted.count())},
                now);
    return std::nullopt;
}

}  // namespace s3gate::control
