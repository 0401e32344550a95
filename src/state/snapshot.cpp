#include "s3gate/state/snapshot.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "s3gate/base/digest.hpp"
#include "s3gate/base/text.hpp"
#include "s3gate/config/hosts.hpp"
#include "s3gate/policy/affinity_key.hpp"
#include "s3gate/state/slot_directory.hpp"

namespace s3gate::state {
namespace {

std::vector<base::IpAddress> addresses_of(const std::string& host, const Resolution& resolution) {
    if (const auto numeric = base::IpAddress::parse(host)) {
        return {*numeric};
    }
    const auto found = resolution.find(host);
    return found == resolution.end() ? std::vector<base::IpAddress>{} : found->second;
}

std::uint16_t check_port_of(const config::Server& server, const config::Health& health) {
    return server.health_port != 0 ? server.health_port
           : health.port != 0      ? health.port
                                   : server.port;
}

policy::PassiveRule passive_rule_of(const config::Server& server, const config::Passive& passive) {
    return {passive.enabled ? server.max_fails.value_or(passive.max_fails) : 0,
            static_cast<std::uint64_t>(passive.fail_timeout.count())};
}

// Makes one peer per address of one server; duplicate addresses make one peer.
void add_peers(Group& group, std::uint32_t server_index, const Resolution& resolution,
               SlotDirectory::Names& names) {
    GroupServer& server = group.servers[server_index];
    server.first_peer = static_cast<std::uint32_t>(group.peers.size());
    const std::uint16_t check_port = check_port_of(*server.config, *group.health);
    for (const base::IpAddress& ip : addresses_of(server.config->host, resolution)) {
        const base::SocketAddress address(ip, server.config->port);
        const auto is_same = [&](std::uint32_t peer) {
            return group.peers[peer].address == address;
        };
        if (std::ranges::any_of(server.peers(), is_same)) {
            continue;
        }
        const std::string text = address.to_string();
        const CellId cell = names.backend(group.name, server.config->text, text);
        ++server.peer_count;
        const bool is_out = server.config->down || server.config->drained;
        group.peers.push_back({cell.index, cell.epoch, server_index, is_out,
                               base::crc32(server.config->text), address, text,
                               base::SocketAddress(ip, check_port)});
    }
}

// All addresses of a server share one limit on requests.
void add_room(const Group& group, GroupServer& server, SlotDirectory::Names& names) {
    if (server.config->max_connections == 0) {
        return;
    }
    server.room = names.room(group.name, server.config->text);
    server.max_connections = server.config->max_connections;
}

// True if the ring is made of the same texts and weights in the same order.
bool has_same_ring(const config::Backends& a, const config::Backends& b) {
    return std::ranges::equal(a.servers, b.servers, [](const auto& x, const auto& y) {
        return x.text == y.text && x.weight == y.weight;
    });
}

Group build_group(const config::Site& config, const Resolution& resolution,
                  SlotDirectory::Names& names, policy::KetamaRing ring) {
    Group group;
    group.name = config.backends.name;
    const bool has_keys = config.balance.method == config::BalanceMethod::ketama;
    const CellId cell = names.group(group.name, has_keys);
    group.cell = cell.index;
    group.epoch = cell.epoch;
    group.balance = &config.balance;
    group.backends = &config.backends;
    group.health = &config.health;
    group.retry = &config.retry;
    group.when_all_down = config.when_all_down;
    group.servers.resize(config.backends.servers.size());
    for (std::uint32_t i = 0; i < group.servers.size(); ++i) {
        group.servers[i].config = &config.backends.servers[i];
        group.servers[i].passive = passive_rule_of(*group.servers[i].config, config.passive);
        group.servers[i].figures = names.server(group.name, group.servers[i].config->text);
        group.has_backups = group.has_backups || config.backends.servers[i].backup;
        add_peers(group, i, resolution, names);
        add_room(group, group.servers[i], names);
    }
    group.ring = std::move(ring);
    return group;
}

Site build_site(const config::Site& config, const Resolution& resolution,
                SlotDirectory::Names& names, policy::KetamaRing ring) {
    Site site;
    site.config = &config;
    site.cell = names.site(config.name);
    const config::RequestRate& rate = config.limits.requests_per_client;
    if (rate.requests > 0) {
        const std::chrono::nanoseconds period = rate.period;
        site.rate = policy::rate_rule(rate.requests, static_cast<std::uint64_t>(period.count()),
                                      rate.burst);
    }
    site.limits_clients = config.limits.per_client > 0 || site.rate.interval > 0;
    for (const auto& [name, value] : config.headers_set) {
        site.extra_lines += name + ": " + value + "\r\n";
        std::string& lower = site.extra_names.emplace_back(name);
        std::ranges::transform(lower, lower.begin(), base::to_lower);
    }
    for (const config::KeySource& source : config.balance.key) {
        site.key_sources.push_back(config::print_key_source(source));
    }
    site.groups.push_back(build_group(config, resolution, names, std::move(ring)));
    site.routes.push_back({0});
    return site;
}

// Sites that listen on the same address share it. Port 0 asks for a new port, so it is never
// shared.
std::string identity_of(const config::Site& site, std::size_t nth) {
    const base::SocketAddress& address = site.listen[nth].address;
    std::string identity = address.to_string();
    if (address.port() == 0) {
        identity += ' ' + site.name + ' ' + std::to_string(nth);
    }
    return identity;
}

// Which site takes which host. Where one site takes all, there is nothing to look up.
void add_hosts(Address& address, const std::vector<Site>& sites) {
    std::vector<const config::Site*> configs;
    for (const std::uint32_t index : address.sites) {
        configs.push_back(sites[index].config);
    }
    if (const auto found = config::default_of(configs)) {
        address.default_site = address.sites[*found];
    }
    address.leading_site = address.default_site.value_or(address.sites.front());
    if (address.sites.size() == 1 && address.default_site) {
        return;
    }
    for (const std::uint32_t index : address.sites) {
        for (const std::string& pattern : config::host_patterns_of(*sites[index].config)) {
            address.hosts.add(pattern, index);
        }
    }
}

// What holds there until a head is read.
void add_settings(Address& address, const std::vector<Site>& sites) {
    const config::Site& site = *sites[address.leading_site].config;
    std::size_t nth = 0;
    while (identity_of(site, nth) != address.identity) {
        ++nth;
    }
    address.client_head = site.timeouts.client_head;
    address.client_idle = site.timeouts.client_idle;
    address.accept_proxy = &site.listen[nth].accept_proxy;
}

std::vector<Address> addresses_of(const std::vector<Site>& sites) {
    std::vector<Address> addresses;
    for (std::uint32_t index = 0; index < sites.size(); ++index) {
        const config::Site& site = *sites[index].config;
        for (std::size_t nth = 0; nth < site.listen.size(); ++nth) {
            std::string identity = identity_of(site, nth);
            auto known = std::ranges::find(addresses, identity, &Address::identity);
            if (known == addresses.end()) {
                Address address;
                address.address = site.listen[nth].address;
                address.text = site.listen[nth].text;
                address.identity = std::move(identity);
                known = addresses.insert(known, std::move(address));
            }
            known->sites.push_back(index);
        }
    }
    for (Address& address : addresses) {
        add_hosts(address, sites);
        add_settings(address, sites);
    }
    return addresses;
}

// No identity of a site begins with a word.
std::vector<ListenAddress> admin_addresses_of(const config::Admin& admin) {
    std::vector<ListenAddress> out;
    for (const config::Listen& listen : admin.listen) {
        std::string identity = "admin " + listen.address.to_string();
        if (listen.address.port() == 0) {
            identity += ' ' + std::to_string(out.size());
        }
        out.push_back({listen.address, listen.text, std::move(identity), true});
    }
    return out;
}

}  // namespace

std::vector<const ListenAddress*> listen_addresses_of(const Snapshot& snapshot) {
    std::vector<const ListenAddress*> out;
    const auto address_of = [](const ListenAddress& address) { return &address; };
    std::ranges::transform(snapshot.addresses, std::back_inserter(out), address_of);
    std::ranges::transform(snapshot.admin_addresses, std::back_inserter(out), address_of);
    return out;
}

std::string label_of(std::string_view group, const config::Server& server,
                     std::string_view addresses) {
    std::string label(group);
    label.append(": ").append(server.text);
    const auto named = base::parse_host_port(server.text);
    if (!addresses.empty() && !(named && base::IpAddress::parse(named->host))) {
        label.append(" (").append(addresses).append(")");
    }
    return label;
}

std::string label_of(const Group& group, const Peer& peer) {
    return label_of(group.name, *group.servers[peer.server].config, peer.address_text);
}

Rings build_rings(const config::Config& config, const Snapshot* before) {
    std::map<std::string_view, const Group*> known;
    if (before != nullptr) {
        for (const Group& group : groups_of(*before)) {
            known.emplace(group.name, &group);
        }
    }
    Rings rings;
    for (const config::Site& site : config.sites) {
        if (site.balance.method != config::BalanceMethod::ketama) {
            rings.emplace_back();
            continue;
        }
        const auto old = known.find(site.backends.name);
        const bool is_same = old != known.end() && !old->second->ring.empty() &&
                             has_same_ring(*old->second->backends, site.backends);
        rings.push_back(is_same ? old->second->ring : policy::ring_of(site.backends.servers));
    }
    return rings;
}

std::shared_ptr<const Snapshot> build_snapshot(std::shared_ptr<const config::Config> config,
                                               const Resolution& resolution,
                                               SlotDirectory& directory, Rings rings) {
    if (rings.empty()) {
        rings = build_rings(*config, nullptr);
    }
    Snapshot snapshot;
    SlotDirectory::Names names(directory);
    snapshot.sites.reserve(config->sites.size());
    for (const config::Site& site : config->sites) {
        const auto index = static_cast<std::uint32_t>(snapshot.sites.size());
        snapshot.sites.push_back(build_site(site, resolution, names, std::move(rings.at(index))));
    }
    snapshot.addresses = addresses_of(snapshot.sites);
    snapshot.admin_addresses = admin_addresses_of(config->admin);
    snapshot.config = std::move(config);
    return directory.publish(std::move(snapshot), std::move(names));
}

}  // namespace s3gate::state
