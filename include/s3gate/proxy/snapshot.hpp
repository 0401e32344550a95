// One immutable generation of everything derived from configuration and name resolution: sites,
// groups, peers, rings. Built by the control side before anybody sees it, read by all threads,
// freed when the last user lets go.
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
#include "s3gate/config/model.hpp"
#include "s3gate/policy/ketama_ring.hpp"
#include "s3gate/policy/passive_fails.hpp"
#include "s3gate/policy/rate_limit.hpp"

namespace s3gate::proxy {

// One resolved address of one configured server.
// What a request reads of its backend comes first and lies in one cache line: with a thousand
// backends none of them is in the cache.
struct alignas(64) Peer {
    std::uint32_t slot =
        0;  // cell on the board; the same for (group, server text, address) in every generation
    std::uint32_t server = 0;  // index into Site::servers
    bool is_out = false;       // `down` or `drained` in the configuration
    base::SocketAddress address;
    std::string address_text;           // "ip:port", for logs and the status page
    base::SocketAddress check_address;  // where active checks go (health.port)
};

struct GroupServer {
    const config::Server* config = nullptr;
    std::uint32_t first_peer = 0;  // index into Site::peers: a server's addresses lie side by side
    std::uint32_t peer_count = 0;  // 0 = not resolved
    std::uint32_t room = 0;  // cell on the board for max_connections; only where that is not 0
    std::uint32_t max_connections = 0;  // as configured; 0 = off

    // Indices into Site::peers.
    auto peers() const { return std::views::iota(first_peer, first_peer + peer_count); }
};

struct Site {
    const config::Site* config = nullptr;
    std::uint32_t group = 0;           // cell of the group on the board
    std::vector<GroupServer> servers;  // configuration order
    std::vector<Peer> peers;           // in the order of the servers
    policy::KetamaRing ring;           // empty unless balance.method is ketama
    policy::PassiveRule passive;
    policy::RateRule rate;             // limits.requests_per_client
    bool has_bounded_servers = false;  // some server has max_connections
    bool has_backups = false;
    std::string extra_lines;               // headers.set as field lines
    std::vector<std::string> extra_names;  // their names, lower case
    std::vector<std::string> key_sources;  // balance.key as the log names them, in its order
};

struct Snapshot {
    std::shared_ptr<const config::Config> config;
    std::vector<Site> sites;  // as Config::sites
};

// How every message names a server: "GROUP: NAME (ADDRESS)", the address only where it says more
// than the name: not where the name is an address itself, nor where none is known.
std::string label_of(const config::Site& site, const config::Server& server,
                     std::string_view addresses);
std::string label_of(const Site& site, const Peer& peer);

// Gives each (group, server text, address) and each group a cell for the life of the process.
// Control side only.
class SlotDirectory {
  public:
    SlotDirectory(std::size_t slots, std::size_t groups) : slots_(slots), groups_(groups) {}
    // nullopt when the board is full. An empty address stands for all of a server's.
    std::optional<std::uint32_t> slot_of(const std::string& group, const std::string& server,
                                         const std::string& address);
    std::optional<std::uint32_t> group_of(const std::string& group);

  private:
    std::size_t slots_;
    std::size_t groups_;
    std::map<std::string, std::uint32_t> slot_map_;
    std::map<std::string, std::uint32_t> group_map_;
};

// Addresses of each host name, as the resolver found them; a name that is missing or has none is
// unresolved.
using Resolution = std::map<std::string, std::vector<base::IpAddress>>;

// Builds a generation. Numeric hosts need no entry in `resolution`. Addresses that find no room on
// the board are left out (their servers count as unresolved); a group, or a server with
// max_connections, that finds none throws std::length_error: the generation cannot serve.
std::shared_ptr<const Snapshot> build_snapshot(std::shared_ptr<const config::Config> config,
                                               const Resolution& resolution,
                                               SlotDirectory& directory);

}  // namespace s3gate::proxy
