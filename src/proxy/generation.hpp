// A snapshot with one worker's mutable state for it. The users are counted without atomics: one
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "s3gate/base/address.hpp"
#include "s3gate/base/clock.hpp"
#include "s3gate/net/reactor.hpp"
#include "s3gate/policy/balance.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::proxy {

// Timeouts of a site in ticks.
struct SiteTicks {
    net::Tick connect, client_body, client_write, backend_head, backend_body, backend_stream,
        tunnel_idle;
};

// A worker's mutable state of a group.
struct GroupState {
    std::vector<policy::SmoothWeight> weights;  // per peer
    net::Tick pool_idle = 0;
    // The worker's part of the board.
    state::SeenKeys* seen_keys = nullptr;                        // null without a ring
    std::vector<state::ServerFigures<state::Counter>*> figures;  // as Group::servers
};

// A worker's mutable state of a site.
struct SiteState {
    SiteTicks ticks{};
    state::SiteFigures<state::Counter>* figures = nullptr;  // of the worker, on the board
    // Number of the last generation that lowered limits.connections; 0: none.
    std::uint32_t bound_fell_in = 0;
    std::vector<GroupState> groups;  // as Site::groups
};

// A site with one worker's state for it.
struct SiteAtWork {
    const state::Site* site = nullptr;
    SiteState* state = nullptr;
};

// Settings for a client of a listener until the head of its request is read.
struct AddressState {
    const state::Address* address = nullptr;
    SiteAtWork leading;
    bool has_hosts = false;  // the host of a request may choose another site
    net::Tick client_head = 0;
    net::Tick client_idle = 0;
};

// True if limits.connections is lower than it was; 0 is none.
bool has_lower_bound(const state::Site& now, const state::Site& before);

class Generation {
  public:
    // `number` tells the generations of the worker apart.
    Generation(std::shared_ptr<const state::Snapshot> snapshot, state::Board& board,
               std::size_t worker, std::uint32_t number);
    Generation(const Generation&) = delete;
    Generation& operator=(const Generation&) = delete;

    const state::Snapshot& snapshot() const { return *snapshot_; }
    // True if the backend with that cell is one of its peers.
    bool names(std::uint32_t slot) const { return slot < slots_.size() && slots_[slot]; }
    // One more than the highest cell of a group.
    std::size_t group_cells() const { return group_cells_; }
    std::uint32_t number() const { return number_; }
    const config::Config& config() const { return *snapshot_->config; }
    // Of the address with that index in the snapshot.
    const AddressState& at(std::uint32_t address) const { return addresses_[address]; }
    // Notes which sites have a lower bound on connections than in the generation before.
    void compare_bounds(const Generation& before);
    // The site with that index in the snapshot.
    SiteAtWork site(std::uint32_t index) { return {&snapshot_->sites[index], &sites_[index]}; }
    // Of the address with that identity; null when the generation does not have it.
    const AddressState* find(std::string_view identity) const;
    // Of the wildcard address that gets the clients of `address` where nothing listens on it; null
    // when the generation has none. `address` is bound: its port is not 0.
    const AddressState* find_wildcard_of(const base::SocketAddress& address) const;

    // Requests of the worker that began with it, and listeners that keep it for their last clients.
    std::size_t users = 0;
    // The reload that replaced its configuration.
    struct Replaced {
        std::uint32_t by;  // number of the generation that began with it
        base::TimePoint at;
    };
    // None while the present generation has the same configuration.
    std::optional<Replaced> replaced;

  private:
    void note_cells(const state::Group& group);

    std::shared_ptr<const state::Snapshot> snapshot_;
    std::vector<bool> slots_;  // true where a peer has the cell
    std::size_t group_cells_ = 0;
    std::vector<SiteState> sites_;         // as Snapshot::sites
    std::vector<AddressState> addresses_;  // as Snapshot::addresses
    std::uint32_t number_;
};

}  // namespace s3gate::proxy
