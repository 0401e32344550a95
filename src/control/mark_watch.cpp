#include "mark_watch.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <string>
#include <utility>

#include "s3gate/policy/passive_fails.hpp"
#include "s3gate/state/figures.hpp"

namespace s3gate::control {
namespace {

// Marks that workers set and cleared; those that the checks clear have lines of their own.
std::array<std::uint64_t, 2> changes_of(const state::Board& board, std::uint32_t server) {
    std::array<std::uint64_t, 2> out{};
    for (std::size_t worker = 0; worker < board.worker_count(); ++worker) {
        const auto& marks = board.server_figures(worker, server).marks;
        for (std::size_t i = 0; i < out.size(); ++i) {
            out[i] += marks[i].load(std::memory_order_relaxed);
        }
    }
    return out;
}

}  // namespace

void MarkWatch::look(const state::Snapshot& snapshot, const state::Board& board,
                     base::TimePoint now) {
    std::map<state::CellId, Seen> present;
    for (const state::Group& group : state::groups_of(snapshot)) {
        for (std::size_t i = 0; i < group.servers.size(); ++i) {
            const state::CellId cell = group.servers[i].figures;
            if (present.contains(cell)) {
                continue;
            }
            Seen& seen = present[cell];
            if (auto known = seen_.extract(cell)) {
                seen = std::move(known.mapped());
            }
            look(group, i, board, seen, now);
        }
    }
    seen_ = std::move(present);
}

// A worker sets a mark before it counts it: the marks of the last change are those to compare with.
void MarkWatch::look(const state::Group& group, std::size_t server, const state::Board& board,
                     Seen& seen, base::TimePoint now) {
    const auto changes = changes_of(board, group.servers[server].figures.index);
    const auto before = std::exchange(seen.changes, changes);
    const std::uint64_t set = changes[0] - before[0];
    const std::uint64_t cleared = changes[1] - before[1];
    if (set == 0 && cleared == 0) {
        return;
    }
    Peers fresh;
    Peers gone;
    const std::vector<state::CellId> marked_before = std::exchange(seen.marked, {});
    for (const std::uint32_t index : group.servers[server].peers()) {
        const state::Peer& peer = group.peers[index];
        const bool was_marked = std::ranges::find(marked_before, peer.id()) != marked_before.end();
        const bool is_marked = policy::is_marked(board.passive(peer.slot));
        if (is_marked) {
            seen.marked.push_back(peer.id());
        }
        if (is_marked != was_marked) {
            (is_marked ? fresh : gone).push_back(&peer);
        }
    }
    // The state that lasts comes last.
    if (seen.marked.empty()) {
        tell(group, server, fresh, set, false, now);
        tell(group, server, gone, cleared, true, now);
    } else {
        tell(group, server, gone, cleared, true, now);
        tell(group, server, fresh, set, false, now);
    }
}

void MarkWatch::tell(const state::Group& group, std::size_t server, const Peers& changed,
                     std::uint64_t times, bool is_end, base::TimePoint now) {
    if (times == 0) {
        return;
    }
    const state::GroupServer& own = group.servers[server];
    const state::Peer* const peer = changed.size() == 1   ? changed.front()
                                    : own.peer_count == 1 ? &group.peers[own.first_peer]
                                                          : nullptr;
    const std::string who = peer != nullptr ? state::label_of(group, *peer)
                                            : state::label_of(group.name, *own.config, {});
    const unsigned fails = own.passive.max_fails;
    lines_.note({.topic = Topic::marks,
                 .subject = who,
                 .is_end = is_end,
                 .level = is_end ? spdlog::level::info : spdlog::level::warn,
                 .text = is_end ? who + " is no longer passively marked"
                                : fmt::format("{} is passively marked after {} failure{}", who,
                                              fails, fails == 1 ? "" : "s"),
                 .times = times},
                now);
}

}  // namespace s3gate::control
