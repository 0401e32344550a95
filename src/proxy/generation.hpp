// A snapshot with one worker's mutable state for it. The users are counted without atomics: one
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "s3gate/net/reactor.hpp"
#include "s3gate/policy/balance.hpp"
#include "s3gate/proxy/listener.hpp"
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
};

// A worker's mutable state of a site.
struct SiteState {
    SiteTicks ticks{};
    std::vector<GroupState> groups;  // as Site::groups
};

// Settings for a client of a listener until the head of its request is read.
struct AddressState {
    const state::Address* address = nullptr;
    const state::Site* site = nullptr;  // the default one
    SiteState* site_state = nullptr;
    net::Tick client_head = 0;
    net::Tick client_idle = 0;
};

class Generation {
  public:
    // The snapshot must have the address of each listener.
    Generation(std::shared_ptr<const state::Snapshot> snapshot,
               std::span<const std::shared_ptr<Listener>> listeners);
    Generation(const Generation&) = delete;
    Generation& operator=(const Generation&) = delete;

    const state::Snapshot& snapshot() const { return *snapshot_; }
    // True if the backend with that cell is one of its peers.
    bool names(std::uint32_t slot) const { return slot < slots_.size() && slots_[slot]; }
    // One more than the highest cell of a group.
    std::size_t group_cells() const { return group_cells_; }
    const AddressState& at(const Listener& listener) const { return addresses_[listener.index()]; }

    std::size_t users = 0;  // requests of the worker that began with it

  private:
    void note_cells(const state::Group& group);
    void add_address(const Listener& listener);

    std::shared_ptr<const state::Snapshot> snapshot_;
    std::vector<bool> slots_;  // true where a peer has the cell
    std::size_t group_cells_ = 0;
    std::vector<SiteState> sites_;         // as Snapshot::sites
    std::vector<AddressState> addresses_;  // by index of the listener
};

}  // namespace s3gate::proxy
