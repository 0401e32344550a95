#include "generation.hpp"

#include <algorithm>
#include <utility>

namespace s3gate::proxy {
namespace {

std::vector<state::ServerFigures<state::Counter>*> figures_of(const state::Group& group,
                                                              state::Board& board,
                                                              std::size_t worker) {
    std::vector<state::ServerFigures<state::Counter>*> figures;
    for (const state::GroupServer& server : group.servers) {
        figures.push_back(&board.server_figures(worker, server.figures.index));
    }
    return figures;
}

SiteState state_of(const state::Site& site, state::Board& board, std::size_t worker) {
    SiteState state;
    const config::Timeouts& timeouts = site.config->timeouts;
    state.ticks = {net::ticks_of(timeouts.connect),      net::ticks_of(timeouts.client_body),
                   net::ticks_of(timeouts.client_write), net::ticks_of(timeouts.backend_head),
                   net::ticks_of(timeouts.backend_body), net::ticks_of(timeouts.backend_stream),
                   net::ticks_of(timeouts.tunnel_idle)};
    state.figures = &board.site_figures(worker, site.cell.index);
    for (const state::Group& group : site.groups) {
        state.groups.push_back({std::vector<policy::SmoothWeight>(group.peers.size()),
                                net::ticks_of(group.backends->idle_timeout),
                                board.seen_keys(worker, group.cell),
                                figures_of(group, board, worker)});
    }
    return state;
}

}  // namespace

bool has_lower_bound(const state::Site& now, const state::Site& before) {
    const std::uint64_t most = now.config->limits.connections;
    const std::uint64_t earlier = before.config->limits.connections;
    return most != 0 && (earlier == 0 || most < earlier);
}

Generation::Generation(std::shared_ptr<const state::Snapshot> snapshot, state::Board& board,
                       std::size_t worker, std::uint32_t number)
    : snapshot_(std::move(snapshot)), number_(number) {
    sites_.reserve(snapshot_->sites.size());
    for (const state::Site& site : snapshot_->sites) {
        sites_.push_back(state_of(site, board, worker));
    }
    for (const state::Group& group : state::groups_of(*snapshot_)) {
        note_cells(group);
    }
    addresses_.reserve(snapshot_->addresses.size());
    for (const state::Address& address : snapshot_->addresses) {
        addresses_.push_back({&address, site(address.leading_site), !address.hosts.empty(),
                              net::ticks_of(address.client_head),
                              net::ticks_of(address.client_idle)});
    }
}

void Generation::compare_bounds(const Generation& before) {
    const std::vector<state::Site>& earlier = before.snapshot_->sites;
    for (std::size_t i = 0; i < sites_.size(); ++i) {
        const state::Site& site = snapshot_->sites[i];
        const auto is_same = [&](const state::Site& other) { return other.cell == site.cell; };
        const auto same = i < earlier.size() && is_same(earlier[i])
                              ? earlier.begin() + static_cast<std::ptrdiff_t>(i)
                              : std::ranges::find_if(earlier, is_same);
        if (same == earlier.end()) {
            continue;
        }
        const auto index = static_cast<std::size_t>(same - earlier.begin());
        sites_[i].bound_fell_in =
            has_lower_bound(site, *same) ? number_ : before.sites_[index].bound_fell_in;
    }
}

void Generation::note_cells(const state::Group& group) {
    group_cells_ = std::max<std::size_t>(group_cells_, group.cell + 1);
    for (const state::Peer& peer : group.peers) {
        slots_.resize(std::max<std::size_t>(slots_.size(), peer.slot + 1));
        slots_[peer.slot] = true;
    }
}

const AddressState* Generation::find(std::string_view identity) const {
    const auto found = std::ranges::find(addresses_, identity, [](const AddressState& state) {
        return std::string_view(state.address->identity);
    });
    return found == addresses_.end() ? nullptr : &*found;
}

const AddressState* Generation::find_wildcard_of(const base::SocketAddress& address) const {
    const auto found = std::ranges::find_if(addresses_, [&](const AddressState& state) {
        const base::SocketAddress& other = state.address->address;
        return other.ip().is_wildcard() && base::overlaps(other, address);
    });
    return found == addresses_.end() ? nullptr : &*found;
}

}  // namespace s3gate::proxy
