#include "s3gate/policy/ring_digest.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "s3gate/base/digest.hpp"
#include "s3gate/base/text.hpp"
#include "s3gate/policy/affinity_key.hpp"
#include "s3gate/policy/ketama_ring.hpp"

namespace s3gate::policy {

namespace {

// With its length, so two adjacent texts cannot be confused.
void add_text(std::string& out, std::string_view word, std::string_view text) {
    out += word;
    out += ' ' + std::to_string(text.size()) + ':';
    out += text;
    out += '\n';
}

void add_number(std::string& out, std::uint32_t value) {
    for (unsigned shift = 0; shift < 32; shift += 8) {
        out += static_cast<char>(value >> shift & 0xff);
    }
}

void add_key_sources(std::string& out, const config::Balance& balance) {
    for (const config::KeySource& source : usable_sources(balance.key)) {
        add_text(out, "key", config::print_key_source(source));
        if (source.kind == config::KeySource::Kind::fingerprint) {
            add_text(out, "salt", balance.salt);
        }
    }
}

// The servers sorted by text, independent of the order in the files.
std::vector<const config::Server*> sorted_servers(const config::Site& site) {
    std::vector<const config::Server*> out;
    for (const config::Server& server : site.backends.servers) {
        out.push_back(&server);
    }
    std::ranges::sort(out, {}, &config::Server::text);
    return out;
}

// Builds the ring in the order of the configuration, which decides between two servers with the
// same point. Then numbers the servers in the order of their texts.
void add_points(std::string& out, const config::Site& site,
                const std::vector<const config::Server*>& sorted) {
    std::vector<std::uint32_t> ranks;
    for (const config::Server& server : site.backends.servers) {
        ranks.push_back(
            static_cast<std::uint32_t>(std::ranges::find(sorted, &server) - sorted.begin()));
    }
    const KetamaRing ring = ring_of(site.backends.servers);
    for (const KetamaRing::Point& point : ring.points()) {
        add_number(out, point.hash);
        add_number(out, ranks[point.server]);
    }
}

std::string_view method_name(config::BalanceMethod method) {
    switch (method) {
        case config::BalanceMethod::ketama:
            return "ketama";
        case config::BalanceMethod::least_conn:
            return "least_conn";
        case config::BalanceMethod::round_robin:
            return "round_robin";
    }
    return {};
}

}  // namespace

std::string ring_digest(const config::Site& site, const ServerCommands& commands) {
    const auto sorted = sorted_servers(site);
    std::string text;
    add_text(text, "method", method_name(site.balance.method));
    for (const config::Server* server : sorted) {
        add_text(text, "server", server->text);
        text += "weight " + std::to_string(server->weight) + (server->down ? " down" : "") +
                (server->drained ? " drained" : "") + (server->backup ? " backup" : "") + '\n';
        if (const auto command = commands.find({site.backends.name, server->text});
            command != commands.end()) {
            add_text(text, "command", command->second);
        }
    }
    if (site.balance.method == config::BalanceMethod::ketama) {
        add_key_sources(text, site.balance);
        add_points(text, site, sorted);
    }
    return base::md5_hex({text});
}

std::string ring_digest(const config::Config& config, const ServerCommands& commands) {
    std::vector<std::string> sites;
    for (const config::Site& site : config.sites) {
        std::string text;
        add_text(text, "site", site.name);
        sites.push_back(text + ring_digest(site, commands));
    }
    std::ranges::sort(sites);
    std::string text;
    for (const std::string& site : sites) {
        text += site + '\n';
    }
    return base::md5_hex({text});
}

}  // namespace s3gate::policy
