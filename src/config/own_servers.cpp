#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "s3gate/base/text.hpp"
#include "s3gate/config/load.hpp"

namespace s3gate::config {

namespace {

// True if a connection to `ip` and `port` reaches the listener.
bool do_meet(const base::IpAddress& ip, std::uint16_t port, const base::SocketAddress& listener,
             const IsLocal& is_local) {
    if (port != listener.port() || ip.is_v6() != listener.ip().is_v6()) {
        return false;
    }
    if (ip.is_wildcard()) {  // Linux then connects to the loopback address
        return listener.ip().is_wildcard() || is_loopback(listener.ip());
    }
    return ip == listener.ip() || (listener.ip().is_wildcard() && is_local(ip));
}

// True if requests to `from` can arrive at `to` through servers that are our own listeners.
bool does_reach(const std::vector<OwnServer>& edges, const Site* from, const Site* to) {
    std::set<const Site*> seen;
    std::vector<const Site*> open = {from};
    while (!open.empty()) {
        const Site* const site = open.back();
        open.pop_back();
        if (site == to) {
            return true;
        }
        if (!seen.insert(site).second) {
            continue;
        }
        for (const OwnServer& edge : edges) {
            if (edge.site == site) {
                open.push_back(edge.target);
            }
        }
    }
    return false;
}

void add_edges(const Config& config, const Site& site, const Server& server,
               const std::vector<base::IpAddress>& addresses, const IsLocal& is_local,
               std::vector<OwnServer>& out) {
    for (const Site& target : config.sites) {
        for (const Listen& listen : target.listen) {
            const bool is_own = std::ranges::any_of(addresses, [&](const base::IpAddress& ip) {
                return do_meet(ip, server.port, listen.address, is_local);
            });
            if (is_own) {
                out.push_back({&site, &server, &target, &listen, false});
                break;
            }
        }
    }
}

}  // namespace

bool is_loopback(const base::IpAddress& ip) {
    static const std::vector<base::Cidr> kBlocks = loopback_blocks();
    return base::contains(kBlocks, ip);
}

std::vector<base::IpAddress> written_addresses(const Server& server) {
    if (const auto ip = base::IpAddress::parse(server.host)) {
        return {*ip};
    }
    if (base::iequals(server.host, "localhost")) {  // RFC 6761 §6.3: always the loopback address
        return {*base::IpAddress::parse("127.0.0.1"), *base::IpAddress::parse("::1")};
    }
    return {};
}

std::vector<OwnServer> find_own_servers(const Config& config, const AddressesOf& addresses_of,
                                        const IsLocal& is_local) {
    std::vector<OwnServer> out;
    for (const Site& site : config.sites) {
        for (const Server& server : site.backends.servers) {
            if (!server.down) {  // a server that is down gets no requests
                add_edges(config, site, server, addresses_of(server), is_local, out);
            }
        }
    }
    for (OwnServer& edge : out) {
        edge.is_loop = does_reach(out, edge.target, edge.site);
    }
    return out;
}

Problem explain(const OwnServer& own) {
    const std::string listener = own.listen->text + " of site " + own.target->name;
    return {own.server->where, key_of(*own.site, "backends.servers"),
            own.server->text +
                (own.is_loop ? " is our own listener " + listener +
                                   ": each request would come back here again and again; name "
                                   "the server behind it"
                             : " is our own listener " + listener +
                                   ": requests pass through s3gate twice")};
}

}  // namespace s3gate::config
