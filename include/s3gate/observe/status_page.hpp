// The text of /upstream/health/: byte for byte what lua-resty-upstream-healthcheck's status_page() plus ngx.say print
// (docs/operations.md). Pure: receives plain values, knows nothing of the board.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace s3gate::observe {

struct StatusPeer {
    std::string_view name;  // resolved "ip:port"; the configured text when nothing was resolved
    bool is_up = true;
    bool is_backup = false;
};

struct StatusGroup {
    std::string_view name;
    bool has_checkers = true;
    std::vector<StatusPeer> peers;  // configuration order
};

std::string status_text(std::span<const StatusGroup> groups);

}  // namespace s3gate::observe
