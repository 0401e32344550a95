#include "s3gate/observe/status_page.hpp"

namespace s3gate::observe {
namespace {

enum class Role { primary, backup };

void append_peer(std::string& out, std::string_view name, bool is_up) {
    out += "        ";
    out += name;
    out += is_up ? " UP\n" : " DOWN\n";
}

void append_peers(std::string& out, const state::GroupStatus& group, Role role) {
    for (const state::ServerStatus& server : group.servers) {
        if (server.is_backup != (role == Role::backup)) {
            continue;
        }
        if (server.addresses.empty()) {
            append_peer(out, server.text, false);
        }
        for (const state::AddressStatus& address : server.addresses) {
            append_peer(out, address.address, address.is_usable);
        }
    }
}

void append_group(std::string& out, const state::GroupStatus& group) {
    if (!out.empty()) {
        out += '\n';
    }
    out += "Upstream ";
    out += group.name;
    if (!group.has_checks) {
        out += " (NO checkers)";
    }
    out += "\n    Primary Peers\n";
    append_peers(out, group, Role::primary);
    // The heading is printed even without servers, as the library does.
    out += "    Backup Peers\n";
    append_peers(out, group, Role::backup);
}

}  // namespace

std::string status_text(const state::ClusterStatus& status) {
    std::string out;
    for (const state::SiteStatus& site : status.sites) {
        for (const state::GroupStatus& group : site.groups) {
            append_group(out, group);
        }
    }
    // ngx.say appends one more newline.
    out += '\n';
    return out;
}

}  // namespace s3gate::observe
