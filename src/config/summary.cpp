#include <sstream>
#include <string>

#include "s3gate/config/hosts.hpp"
#include "s3gate/config/load.hpp"
#include "values.hpp"

namespace s3gate::config {

namespace {

constexpr std::uint64_t kPointsPerWeight = 160;  // as nginx's consistent hash

template <class Range, class Print>
std::string joined(const Range& range, const Print& print) {
    std::string out;
    for (const auto& item : range) {
        out += (out.empty() ? "" : ", ") + print(item);
    }
    return out;
}

std::string count(std::size_t n, std::string_view what) {
    return std::to_string(n) + " " + std::string(what) + (n == 1 ? "" : "s");
}

std::string print_balance(const Site& site) {
    const std::string keys = joined(site.balance.key, print_key_source);
    switch (site.balance.method) {
        case BalanceMethod::ketama: {
            std::uint64_t weights = 0;
            for (const Server& server : site.backends.servers) {
                weights += server.weight;
            }
            return "ketama by " + keys + "; " + std::to_string(weights * kPointsPerWeight) +
                   " ring points";
        }
        case BalanceMethod::least_conn:
            return "least_conn";
        case BalanceMethod::round_robin:
            return "round_robin";
    }
    return {};
}

std::string print_server(const Server& server) {
    std::string out = server.text;
    if (server.weight != 1) {
        out += " weight " + std::to_string(server.weight);
    }
    if (server.max_connections > 0) {
        out += " max " + std::to_string(server.max_connections);
    }
    if (server.max_fails) {
        out += " max_fails " + std::to_string(*server.max_fails);
    }
    if (server.health_port != 0) {
        out += " health_port " + std::to_string(server.health_port);
    }
    out += server.backup ? " backup" : "";
    out += server.down ? " down" : "";
    out += server.drained ? " drained" : "";
    return out;
}

std::string print_health(const Health& health) {
    if (!health.enabled) {
        return "off";
    }
    const std::string asked =
        health.type == HealthType::tcp ? "connect" : health.method + " " + health.path;
    return asked + (health.port == 0 ? "" : " on port " + std::to_string(health.port)) + " every " +
           print_duration(health.interval) + ", timeout " + print_duration(health.timeout) +
           ", fall " + std::to_string(health.fall) + ", rise " + std::to_string(health.rise);
}

std::string print_blocks(const std::vector<base::Cidr>& blocks) {
    return blocks.empty() ? "nobody"
                          : joined(blocks, [](const base::Cidr& b) { return b.to_string(); });
}

// The limits on clients; empty if there are none.
std::string print_limits(const SiteLimits& limits) {
    std::string out;
    const auto add = [&](const std::string& text) { out += (out.empty() ? "" : "; ") + text; };
    if (limits.connections > 0) {
        add(count(limits.connections, "connection"));
    }
    if (limits.per_client > 0) {
        add(count(limits.per_client, "connection") + " of a client");
    }
    if (limits.requests_per_client.requests > 0) {
        add("requests of a client " + print_rate(limits.requests_per_client));
    }
    return out;
}

std::string print_listen(const std::vector<Listen>& listen) {
    return joined(listen, [](const Listen& l) {
        return l.address.to_string() +
               (l.accept_proxy.empty() ? "" : " (PROXY from " + print_blocks(l.accept_proxy) + ")");
    });
}

// A line; none for a site that takes every host.
std::string print_hosts(const Site& site) {
    const std::vector<std::string> patterns = host_patterns_of(site);
    return patterns.empty()
               ? ""
               : "  hosts     " + joined(patterns, [](const auto& p) { return p; }) + "\n";
}

std::string print_admin(const Admin& admin) {
    std::string out;
    if (!admin.listen.empty()) {
        out = print_listen(admin.listen) + " for " + print_blocks(admin.allow);
    }
    if (admin.socket.starts_with('/')) {
        out += (out.empty() ? "" : ", ") + admin.socket;
    }
    return out.empty() ? "off" : out;
}

void print_site(std::ostream& out, const Site& site) {
    out << "site " << site.name << (site.type == SiteType::s3 ? " (s3)" : " (http)") << '\n'
        << "  listen    " << print_listen(site.listen) << '\n'
        << print_hosts(site) << "  balance   " << print_balance(site) << '\n'
        << "  backends  " << site.backends.name << ": "
        << count(site.backends.servers.size(), "server")
        << (site.backends.send_proxy == SendProxy::v2 ? ", with PROXY v2" : "") << '\n';
    for (const Server& server : site.backends.servers) {
        out << "            " << print_server(server) << '\n';
    }
    out << "  health    " << print_health(site.health) << '\n';
    if (site.passive.enabled) {
        out << "  passive   " << count(site.passive.max_fails, "failure") << " within "
            << print_duration(site.passive.fail_timeout) << '\n';
    } else {
        out << "  passive   off\n";
    }
    if (const std::string limits = print_limits(site.limits); !limits.empty()) {
        out << "  limits    " << limits << '\n';
    }
    if (site.status.enabled) {
        out << "  status    " << site.status.path << " for " << print_blocks(site.status.allow)
            << '\n';
    }
}

}  // namespace

std::string summary(const Config& config) {
    std::ostringstream out;
    out << config.file << ": " << count(config.sites.size(), "site") << ", workers "
        << (config.workers == 0 ? "auto" : std::to_string(config.workers)) << '\n'
        << "log " << config.log.target << ", access log " << config.access_log.target << ", admin "
        << print_admin(config.admin) << '\n';
    for (const Site& site : config.sites) {
        print_site(out, site);
    }
    return out.str();
}

}  // namespace s3gate::config
