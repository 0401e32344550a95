// The state of every server at one moment, as plain values, for the status page and the counts.
// Texts belong to the snapshot.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "s3gate/state/board.hpp"

namespace s3gate::state {

// One resolved address of a server.
struct AddressStatus {
    std::string_view address;    // "ip:port"
    bool is_usable = true;       // requests go to it
    bool is_up = true;           // by the active checks
    bool is_recovering = false;  // down, but its last check passed
    bool is_marked = false;      // passively; also while its trial is due
    std::int64_t in_flight = 0;  // requests and tunnels, over all workers
};

// One configured server.
struct ServerStatus {
    std::string_view text;  // as configured
    unsigned weight = 1;
    bool is_backup = false;
    bool is_down = false;                  // in the configuration
    bool is_drained = false;               // likewise
    Override override = Override::none;    // by a command of an operator
    std::uint32_t max_connections = 0;     // 0 = off
    std::int32_t occupied = 0;             // requests that hold room of max_connections
    std::vector<AddressStatus> addresses;  // empty = not resolved

    // True if the configuration or an operator takes the server out of service.
    bool is_out() const { return is_down || is_drained || override != Override::none; }
    bool is_usable() const { return std::ranges::any_of(addresses, &AddressStatus::is_usable); }
};

struct GroupStatus {
    std::string_view name;
    bool has_checks = true;
    std::int64_t requests = 0;          // in progress
    std::int32_t waiting = 0;           // of those, for room at a server
    std::vector<ServerStatus> servers;  // configuration order
};

struct SiteStatus {
    std::string_view name;
    std::int64_t connections = 0;  // of clients
    std::vector<GroupStatus> groups;
};

struct ClusterStatus {
    std::vector<SiteStatus> sites;  // configuration order
};

struct Snapshot;

// Any thread. Allocates: not for requests that go to a backend.
ClusterStatus cluster_status_of(const Snapshot& snapshot, const Board& board);

}  // namespace s3gate::state
