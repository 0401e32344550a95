#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "rules.hpp"
#include "s3gate/base/text.hpp"
#include "s3gate/config/hosts.hpp"
#include "values.hpp"

namespace s3gate::config {

namespace {

std::string place(const Location& where) {
    return where.line > 0 ? where.file + ":" + std::to_string(where.line) : where.file;
}

// The line of a section, or of its site if the section is not written.
Location place_of(const Location& section, const Site& site) {
    return section.line > 0 ? section : site.where;
}

std::string folded(std::string_view host) {
    std::string out(host);
    std::ranges::transform(out, out.begin(), base::to_lower);
    return out;
}

void check_servers(const Site& site, LoadResult& result) {
    std::map<std::string, const Server*> by_text;
    std::map<std::pair<std::string, std::uint16_t>, const Server*> by_address;
    for (const Server& server : site.backends.servers) {
        const auto [same, is_new] = by_text.emplace(server.text, &server);
        if (!is_new) {
            // Health and drains are kept by (group, text), so two servers with the same text would
            // share them.
            result.problems.push_back({server.where, key_of(site, "backends.servers"),
                                       server.text + " is listed already in " +
                                           place(same->second->where) +
                                           "; to send it more, give it a weight"});
            continue;
        }
        const auto [twin, is_other] =
            by_address.emplace(std::pair(folded(server.host), server.port), &server);
        if (!is_other) {
            result.warnings.push_back({server.where, key_of(site, "backends.servers"),
                                       server.text + " is the same server as " +
                                           twin->second->text + " in " +
                                           place(twin->second->where)});
        }
    }
    if (site.balance.method == BalanceMethod::ketama) {
        for (const Server& server : site.backends.servers) {
            if (server.backup) {
                // nginx refuses this too: "balancing method does not support parameter backup".
                result.problems.push_back({server.where, key_of(site, "backends.servers"),
                                           server.text +
                                               " is a backup, which ketama does not know; the ring "
                                               "itself names the next server"});
            }
        }
    }
}

void check_server_count(const Site& site, LoadResult& result) {
    const std::vector<Server>& servers = site.backends.servers;
    const Location where = place_of(site.backends.where, site);
    const auto all = [&](auto&& is) { return std::ranges::all_of(servers, is); };
    if (all([](const Server& s) { return s.backup; }) &&
        site.balance.method != BalanceMethod::ketama) {
        result.problems.push_back({where, key_of(site, "backends.servers"),
                                   "every server is a backup; at least one must not be"});
    } else if (all([](const Server& s) { return s.down || s.drained; })) {
        result.warnings.push_back(
            {where, key_of(site, "backends.servers"),
             "every server is down or drained: all requests will be refused"});
    } else if (servers.size() == 1) {
        result.warnings.push_back(
            {where, key_of(site, "backends.servers"),
             "there is only one server: nothing can take over when it fails"});
    }
}

void check_backends(const Site& site, LoadResult& result) {
    constexpr unsigned kMuchKeepalive = 1024;
    constexpr Duration kServerPatience = seconds{30};
    const Location where = place_of(site.backends.where, site);
    if (site.backends.keepalive > kMuchKeepalive) {
        result.warnings.push_back(
            {where, key_of(site, "backends.keepalive"),
             std::to_string(site.backends.keepalive) +
                 " idle connections for every server and worker is very much; all together "
                 "are held to a quarter of the open files"});
    }
    if (site.type == SiteType::s3 && site.backends.idle_timeout >= kServerPatience) {
        result.warnings.push_back(
            {where, key_of(site, "backends.idle_timeout"),
             print_duration(site.backends.idle_timeout) +
                 " is longer than MinIO keeps an idle connection (30s); stay below"});
    }
}

void check_balance(const Site& site, LoadResult& result) {
    const auto is_fingerprint = [](const KeySource& s) {
        return s.kind == KeySource::Kind::fingerprint;
    };
    const bool uses_fingerprints = site.balance.method == BalanceMethod::ketama &&
                                   std::ranges::any_of(site.balance.key, is_fingerprint);
    if (uses_fingerprints && site.backends.slow_start > Duration::zero()) {
        result.warnings.push_back(
            {place_of(site.backends.where, site), key_of(site, "backends.slow_start"),
             "has no effect: every request has a key, and its place on the ring does not move"});
    }
    if (uses_fingerprints && site.balance.salt.empty()) {
        result.warnings.push_back(
            {place_of(site.balance.where, site), key_of(site, "balance.salt"),
             "is empty: anybody can compute which server a fingerprint leads to; "
             "give each site a salt of its own"});
    }
}

void check_health(const Site& site, LoadResult& result) {
    if (site.health.enabled && site.health.timeout > site.health.interval) {
        result.warnings.push_back(
            {place_of(site.health.where, site), key_of(site, "health.timeout"),
             print_duration(site.health.timeout) + " is longer than the interval of " +
                 print_duration(site.health.interval) +
                 ": a server that hangs is checked less often than that"});
    }
}

void check_limits(const Site& site, LoadResult& result) {
    const SiteLimits& limits = site.limits;
    if (limits.connections > 0 && limits.per_client >= limits.connections) {
        result.warnings.push_back(
            {place_of(limits.where, site), key_of(site, "limits.per_client"),
             std::to_string(limits.per_client) + " is not below limits.connections (" +
                 std::to_string(limits.connections) + "): one client can take all of them"});
    }
}

void check_passive(const Site& site, LoadResult& result) {
    const auto has_fails = [](const Server& server) { return server.max_fails.value_or(0) > 0; };
    const auto server = std::ranges::find_if(site.backends.servers, has_fails);
    if (!site.passive.enabled && server != site.backends.servers.end()) {
        result.warnings.push_back(
            {server->where, key_of(site, "backends.servers"),
             "max_fails of " + server->text + " has no effect: passive is off"});
    }
}

void check_forwarded(const Site& site, LoadResult& result) {
    const Location where = place_of(site.forwarded.where, site);
    const auto all = std::ranges::find_if(site.forwarded.trusted, &base::Cidr::is_whole_family);
    if (site.forwarded.mode == ForwardedMode::append && all != site.forwarded.trusted.end()) {
        result.warnings.push_back(
            {where, key_of(site, "forwarded.trusted"),
             "has " + all->to_string() + ": whoever connects may name any address as the client"});
    }
    if (site.forwarded.mode == ForwardedMode::append && site.forwarded.trusted.empty()) {
        result.warnings.push_back(
            {where, key_of(site, "forwarded.trusted"),
             "is empty: mode append keeps what trusted peers sent, and nobody is trusted"});
    }
    if (site.forwarded.mode == ForwardedMode::set && !site.forwarded.trusted.empty()) {
        result.warnings.push_back({where, key_of(site, "forwarded.trusted"),
                                   "has no effect with mode set: these proxies count as the "
                                   "clients of all that they forward, and X-Forwarded-Proto: "
                                   "https becomes http; append believes them"});
    }
}

// A proxy that may see the page lets others see it, or sees it no more.
void check_status_access(const Site& site, LoadResult& result) {
    if (!site.status.enabled) {
        return;
    }
    for (const base::Cidr& allowed : site.status.allow) {
        const auto proxy = std::ranges::find_if(
            site.forwarded.trusted,
            [&](const base::Cidr& trusted) { return trusted.overlaps(allowed); });
        if (proxy == site.forwarded.trusted.end()) {
            continue;
        }
        const bool takes_names = site.forwarded.mode == ForwardedMode::append;
        result.warnings.push_back(
            {place_of(site.status.where, site), key_of(site, "status.allow"),
             allowed.to_string() + " overlaps with " + proxy->to_string() +
                 " of forwarded.trusted: " +
                 (takes_names ? "a proxy asks for others, so requests from there see the page only "
                                "for a client that X-Forwarded-For names"
                              : "with mode set everybody behind that proxy sees the page")});
    }
}

void check_accept_proxy(const Site& site, LoadResult& result) {
    for (const Listen& listen : site.listen) {
        const auto all = std::ranges::find_if(listen.accept_proxy, &base::Cidr::is_whole_family);
        if (all != listen.accept_proxy.end()) {
            result.warnings.push_back({listen.where, key_of(site, "listen"),
                                       "accept_proxy of " + listen.text + " has " +
                                           all->to_string() +
                                           ": whoever connects may name any address as the "
                                           "client's; list the balancers"});
        }
    }
}

void check_status_page(const Site& site, LoadResult& result) {
    if (site.status.enabled && site.type == SiteType::s3 &&
        site.status.path.starts_with("/minio/")) {
        result.warnings.push_back({place_of(site.status.where, site), key_of(site, "status.path"),
                                   "hides MinIO's own pages below /minio/"});
    }
}

// An address to listen on, with its owner's name.
struct Listener {
    const Listen* listen;
    std::string key;
    std::string owner;
    const Site* site = nullptr;  // null for admin.listen
};

std::vector<Listener> listeners_of(const Config& config) {
    std::vector<Listener> out;
    for (const Listen& listen : config.admin.listen) {
        out.push_back({&listen, "admin.listen", "admin"});
    }
    for (const Site& site : config.sites) {
        for (const Listen& listen : site.listen) {
            out.push_back({&listen, key_of(site, "listen"), "site " + site.name, &site});
        }
    }
    return out;
}

// Sites share an address by their hosts; see check_shared_addresses().
bool may_share(const Listener& a, const Listener& b) {
    return a.site != nullptr && b.site != nullptr && a.site != b.site;
}

void check_listeners(const Config& config, LoadResult& result) {
    const std::vector<Listener> all = listeners_of(config);
    for (std::size_t i = 0; i < all.size(); ++i) {
        const base::SocketAddress& address = all[i].listen->address;
        if (address.port() == 0) {
            continue;  // the kernel chooses a free port for each
        }
        for (std::size_t j = 0; j < i; ++j) {
            const Listener& other = all[j];
            if (other.listen->address == address && may_share(all[i], other)) {
                continue;
            }
            if (other.listen->address == address) {
                result.problems.push_back({all[i].listen->where, all[i].key,
                                           all[i].listen->text + " is taken by " + other.owner +
                                               " in " + place(other.listen->where)});
                break;
            }
            if (base::overlaps(other.listen->address, address)) {
                result.warnings.push_back({all[i].listen->where, all[i].key,
                                           all[i].listen->text + " overlaps with " +
                                               other.listen->text + " of " + other.owner + " in " +
                                               place(other.listen->where)});
            }
        }
    }
}

// An address of several sites.
struct SharedAddress {
    std::vector<const Listener*> listeners;  // one of each site, in the order of the configuration
    std::vector<const Site*> sites;          // theirs
};

// Whose the address is was told by check_listeners().
std::vector<SharedAddress> shared_addresses_of(const std::vector<Listener>& all) {
    std::map<std::string, SharedAddress> by_address;
    for (const Listener& listener : all) {
        if (listener.site == nullptr || listener.listen->address.port() == 0) {
            continue;
        }
        SharedAddress& shared = by_address[listener.listen->address.to_string()];
        if (shared.sites.empty() || shared.sites.back() != listener.site) {
            shared.listeners.push_back(&listener);
            shared.sites.push_back(listener.site);
        }
    }
    std::vector<SharedAddress> out;
    for (auto& [address, shared] : by_address) {
        if (shared.sites.size() > 1) {
            out.push_back(std::move(shared));
        }
    }
    return out;
}

void add_to_listener(std::vector<Problem>& problems, const Listener& listener,
                     const std::string& message) {
    problems.push_back({listener.listen->where, listener.key, listener.listen->text + message});
}

// Until a head is read nobody knows the site, so the address has these settings of its own.
void check_settings_of_address(const SharedAddress& shared, LoadResult& result) {
    const std::size_t leading = default_of(shared.sites).value_or(0);
    const Listener& leader = *shared.listeners[leading];
    const Site& of = *leader.site;
    const std::string whose = leader.owner + " in " + place(leader.listen->where);
    for (const Listener* const listener : shared.listeners) {
        const Site& site = *listener->site;
        if (!std::ranges::is_permutation(listener->listen->accept_proxy,
                                         leader.listen->accept_proxy)) {
            add_to_listener(result.problems, *listener,
                            " has another accept_proxy than at " + whose +
                                ": an address has one, because nobody knows the site that early");
        }
        if (site.timeouts.client_head != of.timeouts.client_head ||
            site.timeouts.client_idle != of.timeouts.client_idle ||
            site.limits.head != of.limits.head) {
            add_to_listener(result.warnings, *listener,
                            " is shared: timeouts.client_head, timeouts.client_idle and "
                            "limits.head are there as at " +
                                whose);
        }
    }
}

void check_hosts_of_address(const SharedAddress& shared, LoadResult& result) {
    std::map<std::string, const Listener*> takers;
    const Listener* rest = nullptr;
    for (const Listener* const listener : shared.listeners) {
        const std::vector<std::string> patterns = host_patterns_of(*listener->site);
        if (patterns.empty() && rest != nullptr) {
            add_to_listener(
                result.problems, *listener,
                " is taken by " + rest->owner + " in " + place(rest->listen->where) +
                    "; sites share an address only by their hosts, and neither has any");
        } else if (patterns.empty()) {
            rest = listener;
        }
        for (const std::string& pattern : patterns) {
            const auto [taker, is_new] = takers.emplace(pattern, listener);
            if (!is_new) {
                const Site& site = *listener->site;
                const bool is_host = std::ranges::find(site.hosts, pattern) != site.hosts.end();
                result.problems.push_back(
                    {place_of(site.hosts_where, site), key_of(site, is_host ? "hosts" : "domains"),
                     pattern + " at " + listener->listen->text + " is taken by " +
                         taker->second->owner + " in " +
                         place(place_of(taker->second->site->hosts_where, *taker->second->site))});
            }
        }
    }
}

void check_shared_addresses(const Config& config, LoadResult& result) {
    const std::vector<Listener> all = listeners_of(config);
    for (const SharedAddress& shared : shared_addresses_of(all)) {
        check_hosts_of_address(shared, result);
        check_settings_of_address(shared, result);
    }
}

void check_names(const Config& config, LoadResult& result) {
    std::map<std::string, const Site*> names;
    std::map<std::string, const Site*> groups;
    for (const Site& site : config.sites) {
        const auto [same, is_new] = names.emplace(site.name, &site);
        if (!is_new && !site.name.empty()) {
            result.problems.push_back(
                {site.where, key_of(site, "name"),
                 "another site is called " + site.name + ": " + place(same->second->where)});
            continue;  // the group's name is derived from the site's
        }
        const auto [group, is_other] = groups.emplace(site.backends.name, &site);
        if (!is_other && !site.backends.name.empty()) {
            result.problems.push_back(
                {place_of(site.backends.where, site), key_of(site, "backends.name"),
                 "another group is called " + site.backends.name + ": " +
                     place(place_of(group->second->backends.where, *group->second))});
        }
    }
}

void check_replay_memory(const Config& config, LoadResult& result) {
    for (const Site& site : config.sites) {
        if (site.retry.replay_buffer > config.limits.replay_memory) {
            const Location main{config.file, 0};
            result.warnings.push_back(
                {config.limits.where.line > 0 ? config.limits.where : main, "limits.replay_memory",
                 print_size(config.limits.replay_memory) +
                     " does not hold one retry.replay_buffer of site " + site.name + " (" +
                     print_size(site.retry.replay_buffer) + ")"});
        }
    }
}

// Checks only the written addresses: host names and local addresses depend on the host.
void check_own_servers(const Config& config, LoadResult& result) {
    for (const OwnServer& own : find_own_servers(config, written_addresses, is_loopback)) {
        (own.is_loop ? result.problems : result.warnings).push_back(explain(own));
    }
}

}  // namespace

std::string key_of(const Site& site, std::string_view key) {
    return site.path.empty() ? std::string(key) : site.path + "." + std::string(key);
}

void check_site(const Site& site, LoadResult& result) {
    check_servers(site, result);
    if (!site.backends.is_partial && !site.backends.servers.empty()) {
        check_server_count(site, result);
    }
    check_backends(site, result);
    check_balance(site, result);
    check_health(site, result);
    check_passive(site, result);
    check_limits(site, result);
    check_forwarded(site, result);
    check_accept_proxy(site, result);
    check_status_page(site, result);
    check_status_access(site, result);
}

void check_between_sites(const Config& config, LoadResult& result) {
    check_listeners(config, result);
    check_shared_addresses(config, result);
    check_names(config, result);
    check_replay_memory(config, result);
    check_own_servers(config, result);
}

void validate(const Config& config, LoadResult& result) {
    for (const Site& site : config.sites) {
        if (site.backends.servers.empty()) {
            result.problems.push_back({site.where, key_of(site, "backends.servers"),
                                       "is empty; a site needs at least one server"});
        }
        check_site(site, result);
    }
    check_between_sites(config, result);
}

}  // namespace s3gate::config
