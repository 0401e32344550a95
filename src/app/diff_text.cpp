#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>

#include "diff_report.hpp"

namespace s3gate::app {
namespace {

using config::Change;
using config::KeyChange;
using policy::KeyMoves;

constexpr const char* kIndent = "    ";

char sign_of(Change change) {
    return change == Change::added ? '+' : change == Change::removed ? '-' : '~';
}

std::string print(const KeyChange& change, Change of_what) {
    std::string out = change.key + ": ";
    if (change.is_secret) {
        out += of_what == Change::added ? "set (not shown)" : "changed (not shown)";
    } else if (change.before) {
        out += *change.before + " -> " + change.after.value_or("");
    } else {
        out += change.after.value_or("");
    }
    return out + (change.needs_restart ? " (needs a restart)" : "");
}

std::string print_server(const config::ServerChange& server) {
    std::string out = std::string(1, sign_of(server.change)) + " server " + server.text;
    const char* before = ": ";
    for (const KeyChange& change : server.keys) {
        out += before + print(change, server.change);
        before = ", ";
    }
    return out;
}

// Below 100 for everything but all, above 0 for everything but nothing.
std::string percent(double share) {
    constexpr double kLeast = 0.0001;
    if (share < kLeast) {
        return "less than 0.01 %";
    }
    if (share > 1 - kLeast) {
        return "more than 99.99 %";
    }
    std::array<char, 16> out{};
    std::snprintf(out.data(), out.size(), "%.2f %%", 100 * share);
    return out.data();
}

std::vector<std::string> print(const KeyMoves& moves) {
    if (moves.ties == KeyMoves::Ties::begin) {
        return {"from now on a key ties requests to a server: all of them may move"};
    }
    if (moves.ties == KeyMoves::Ties::end) {
        return {"no key ties requests to a server any more: all of them may move"};
    }
    if (moves.is_none()) {
        return {"no key moves"};
    }
    std::vector<std::string> out;
    if (moves.moved == policy::kAllHashes) {
        out.emplace_back("every key moves to another server");
    } else if (moves.moved > 0) {
        out.push_back(
            percent(static_cast<double>(moves.moved) / static_cast<double>(policy::kAllHashes)) +
            " of the keys move to another server");
    }
    if (moves.has_other_fingerprints) {
        out.push_back(
            "with the salt every fingerprint changes: " + percent(moves.moved_fingerprints) +
            " of the clients that it ties move to another server");
    }
    if (moves.has_other_sources) {
        out.emplace_back(
            "with balance.key the keys themselves change: requests whose key now comes from "
            "elsewhere may move");
    }
    return out;
}

void add_line(std::string& out, const std::string& line) {
    out += kIndent + line + "\n";
}

std::string print_site(const config::SiteChange& site) {
    const config::Site& named = site.after == nullptr ? *site.before : *site.after;
    std::string out = std::string(1, sign_of(site.change())) + " site " + named.name + "\n";
    for (const std::string& address : site.added_addresses) {
        add_line(out, "+ listen " + address);
    }
    for (const std::string& address : site.removed_addresses) {
        add_line(out, "- listen " + address);
    }
    for (const config::ServerChange& server : site.servers) {
        add_line(out, print_server(server));
    }
    if (site.are_servers_reordered) {
        add_line(out, "~ the order of the servers");
    }
    for (const KeyChange& change : site.keys) {
        add_line(out, std::string(1, sign_of(site.change())) + " " + print(change, site.change()));
    }
    return out;
}

std::string print_rest(std::size_t groups) {
    if (groups == 0) {
        return {};
    }
    return "no key moves in " + std::to_string(groups) +
           (groups == 1 ? " other group\n" : " other groups\n");
}

}  // namespace

std::string diff_text(const DiffReport& report) {
    const config::Difference& difference = report.difference;
    if (difference.is_empty()) {
        return "no differences\n";
    }
    std::string out;
    for (const KeyChange& change : difference.keys) {
        out += "~ " + print(change, Change::changed) + "\n";
    }
    out += difference.are_sites_reordered ? "~ the order of the sites\n" : "";
    std::size_t others = report.groups.size();
    for (const config::SiteChange& site : difference.sites) {
        out += print_site(site);
        const auto group = std::ranges::find(report.groups, site.after, &GroupMoves::site);
        if (site.after != nullptr && group != report.groups.end()) {
            --others;
            for (const std::string& line : print(group->moves)) {
                add_line(out, "group " + site.after->backends.name + ": " + line);
            }
        }
    }
    return out + print_rest(others);
}

}  // namespace s3gate::app
