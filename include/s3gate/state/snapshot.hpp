// One immutable generation of all that follows from configuration and name resolution: addresses to
// listen on, sites, routes, groups, servers and their addresses. The control side builds it; all
// threads read it; it is freed after its last user.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <vector>

#include "s3gate/base/address.hpp"
#include "s3gate/base/clock.hpp"
#include "s3gate/config/model.hpp"
#include "s3gate/policy/host_map.hpp"
#include "s3gate/policy/ketama_ring.hpp"
#include "s3gate/policy/passive_fails.hpp"
#include "s3gate/policy/rate_limit.hpp"
#include "s3gate/state/board.hpp"

namespace s3gate::state {

class SlotDirectory;

// One resolved address of one configured server.
// The members that a request reads come first, in one cache line: with a thousand backends none of
// them is in the cache.
struct alignas(64) Peer {
    // Its cell on the board, the same for (group, server text, address) in every generation, and
    // the cell's epoch.
    std::uint32_t slot = 0;
    std::uint32_t epoch = 0;
    std::uint32_t server = 0;  // index into Group::servers
    // `down` or `drained` in the configuration. What operators command is on the board: see
    // state::is_out().
    bool is_out = false;
    std::uint32_t server_hash = 0;  // of the server's text: what SeenKeys knows it by
    base::SocketAddress address;
    std::string address_text;           // "ip:port", for logs and the status page
    base::SocketAddress check_address;  // where active checks go (health.port, health_port)

    CellId id() const { return {slot, epoch}; }
};

// One configured server of a group.
struct GroupServer {
    const config::Server* config = nullptr;
    std::uint32_t first_peer = 0;  // index into Group::peers; a server's addresses are adjacent
    std::uint32_t peer_count = 0;  // 0 = not resolved
    std::uint32_t max_connections = 0;  // as configured; 0 = off
    CellId figures;                     // on the board, the same for this text in every generation
    CellId room;                        // on the board; only where max_connections is not 0
    policy::PassiveRule passive;

    // Indices into Group::peers.
    auto peers() const { return std::views::iota(first_peer, first_peer + peer_count); }
};

// The servers that requests are balanced over, and the settings for it.
struct Group {
    std::string name;  // in messages and on the status page
    // Its cell on the board, the same for this name in every generation, and the cell's epoch.
    std::uint32_t cell = 0;
    std::uint32_t epoch = 0;
    // Settings; they belong to Snapshot::config.
    const config::Balance* balance = nullptr;
    const config::Backends* backends = nullptr;
    const config::Health* health = nullptr;
    const config::Retry* retry = nullptr;
    config::AllDown when_all_down = config::AllDown::try_anyway;
    std::vector<GroupServer> servers;  // configuration order
    std::vector<Peer> peers;           // in the order of the servers
    policy::KetamaRing ring;           // empty unless balance.method is ketama
    bool has_backups = false;

    CellId id() const { return {cell, epoch}; }
};

// Maps requests of a site to a group. A site has one route, which matches every request.
struct Route {
    std::uint32_t group = 0;  // index into Site::groups
};

// A site and all that its requests need, independent of the backend.
struct Site {
    const config::Site* config = nullptr;
    CellId cell;            // on the board, the same for this name in every generation
    policy::RateRule rate;  // limits.requests_per_client
    // True if connections need an entry in the client table, for their number or for the rate of
    // their requests.
    bool limits_clients = false;
    std::string extra_lines;               // headers.set as field lines
    std::vector<std::string> extra_names;  // their names, lower case
    std::vector<std::string> key_sources;  // balance.key as the log names them, in its order
    std::vector<Route> routes;  // the last one matches every request that no other matches
    std::vector<Group> groups;

    const Group& group_of(const Route& route) const { return groups[route.group]; }
    // The group of requests that no other route matches.
    const Group& default_group() const { return group_of(routes.back()); }
};

// An address that the daemon listens on.
struct ListenAddress {
    base::SocketAddress address;  // as configured: its port may be 0
    std::string text;             // as written
    // Identifies the address in every generation. Where the port is 0, the site and the position in
    // its list are part of it. An address of admin.listen has another one than a site's.
    std::string identity;
    bool is_admin = false;  // of admin.listen: the control thread accepts, not the workers
};

// One for clients, which one or more sites share. The site is known only after the head of a
// request. Until then the settings of the leading site apply. Sites are indices into
// Snapshot::sites.
struct Address : ListenAddress {
    std::vector<std::uint32_t> sites;           // in the configuration's order
    std::uint32_t leading_site = 0;             // the default site; without one, the first
    policy::HostMap hosts;                      // empty where the default site takes every host
    std::optional<std::uint32_t> default_site;  // takes the hosts that `hosts` has not
    base::Duration client_head{};
    base::Duration client_idle{};
    // Peers that name the source of their connections. Belongs to Snapshot::config.
    const std::vector<base::Cidr>* accept_proxy = nullptr;

    // The site for a valid Host field; nullopt if no site takes that host.
    std::optional<std::uint32_t> site_of(std::string_view host) const {
        if (hosts.empty()) {
            return default_site;
        }
        const auto named = hosts.find(host);
        return named ? named : default_site;
    }
};

struct Snapshot {
    std::shared_ptr<const config::Config> config;
    std::vector<Address> addresses;              // in the order of the configuration
    std::vector<Site> sites;                     // as Config::sites
    std::vector<ListenAddress> admin_addresses;  // as Config::admin.listen
};

// All addresses of a snapshot: those of the sites, then those of admin.listen.
std::vector<const ListenAddress*> listen_addresses_of(const Snapshot& snapshot);

// The groups of all sites, in the order of the configuration.
inline auto groups_of(const Snapshot& snapshot) {
    return snapshot.sites | std::views::transform(&Site::groups) | std::views::join;
}

// The name of a server in every message: "GROUP: NAME (ADDRESS)". The address is left out when the
// name is an address, and when no address is known.
std::string label_of(std::string_view group, const config::Server& server,
                     std::string_view addresses);
std::string label_of(const Group& group, const Peer& peer);

// Addresses of each host name, from the resolver. A name that is missing or has no address is
// unresolved.
using Resolution = std::map<std::string, std::vector<base::IpAddress>>;

// The rings of the sites' groups in the order of the configuration. They take most of the time that
// a generation needs. A ring of `before` is used again where its servers are the same. `before` may
// be null. Any thread.
using Rings = std::vector<policy::KetamaRing>;
Rings build_rings(const config::Config& config, const Snapshot* before);

// Builds a generation. Numeric hosts need no entry in `resolution`. Throws std::length_error, which
// names the cell's owner, when the board has no room; the generation cannot serve then. `rings` are
// those of this configuration; empty: they are built here. Control thread only.
std::shared_ptr<const Snapshot> build_snapshot(std::shared_ptr<const config::Config> config,
                                               const Resolution& resolution,
                                               SlotDirectory& directory, Rings rings = {});

}  // namespace s3gate::state
