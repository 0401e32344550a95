#include "s3gate/observe/status_page.hpp"

namespace s3gate::observe {
namespace {

enum class Role { primary, backup };

void append_peers(std::string& out, const StatusGroup& group, Role role) {
    for (const StatusPeer& peer : group.peers) {
        if (peer.is_backup != (role == Role::backup)) {
            continue;
        }
        out += "        ";
        out += peer.name;
        out += peer.is_up ? " UP\n" : " DOWN\n";
    }
}

}  // namespace

std::string status_text(std::span<const StatusGroup> groups) {
    std::string out;
    for (const StatusGroup& group : groups) {
        if (!out.empty()) {
            out += '\n';
        }
        out += "Upstream ";
        out += group.name;
        if (!group.has_checkers) {
            out += " (NO checkers)";
        }
        out += "\n    Primary Peers\n";
        append_peers(out, group, Role::primary);
        // The heading stands there even when nothing follows it, as the library prints it.
        out += "    Backup Peers\n";
        append_peers(out, group, Role::backup);
    }
    // ngx.say ends what it prints with one more newline.
    out += '\n';
    return out;
}

}  // namespace s3gate::observe
