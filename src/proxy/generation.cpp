#include "generation.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace s3gate::proxy {
namespace {

SiteState state_of(const state::Site& site) {
    SiteState state;
    const config::Timeouts& timeouts = site.config->timeouts;
    state.ticks = {net::ticks_of(timeouts.connect),      net::ticks_of(timeouts.client_body),
                   net::ticks_of(timeouts.client_write), net::ticks_of(timeouts.backend_head),
                   net::ticks_of(timeouts.backend_body), net::ticks_of(timeouts.backend_stream),
                   net::ticks_of(timeouts.tunnel_idle)};
    for (const state::Group& group : site.groups) {
        state.groups.push_back({std::vector<policy::SmoothWeight>(group.peers.size()),
                                net::ticks_of(group.backends->idle_timeout)});
    }
    return state;
}

}  // namespace

Generation::Generation(std::shared_ptr<const state::Snapshot> snapshot,
                       std::span<const std::shared_ptr<Listener>> listeners)
    : snapshot_(std::move(snapshot)) {
    sites_.reserve(snapshot_->sites.size());
    for (const state::Site& site : snapshot_->sites) {
        sites_.push_back(state_of(site));
    }
    for (const state::Group& group : state::groups_of(*snapshot_)) {
        note_cells(group);
    }
    for (const auto& listener : listeners) {
        add_address(*listener);
    }
}

void Generation::note_cells(const state::Group& group) {
    group_cells_ = std::max<std::size_t>(group_cells_, group.cell + 1);
    for (const state::Peer& peer : group.peers) {
        slots_.resize(std::max<std::size_t>(slots_.size(), peer.slot + 1));
        slots_[peer.slot] = true;
    }
}

void Generation::add_address(const Listener& listener) {
    const auto found =
        std::ranges::find(snapshot_->addresses, listener.identity(), &state::Address::identity);
    if (found == snapshot_->addresses.end()) {
        throw std::logic_error("a generation without " + listener.identity());
    }
    if (addresses_.size() <= listener.index()) {
        addresses_.resize(listener.index() + 1);
    }
    addresses_[listener.index()] = {&*found, &snapshot_->sites[found->default_site],
                                    &sites_[found->default_site], net::ticks_of(found->client_head),
                                    net::ticks_of(found->client_idle)};
}

}  // namespace s3gate::proxy
