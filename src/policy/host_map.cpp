#include "s3gate/policy/host_map.hpp"

#include "s3gate/base/host_name.hpp"

namespace s3gate::policy {

void HostMap::add(std::string_view pattern, std::uint32_t site) {
    if (pattern.starts_with("*.")) {
        below_.emplace(pattern.substr(2), site);
    } else {
        exact_.emplace(pattern, site);
    }
}

std::optional<std::uint32_t> HostMap::find(std::string_view host) const {
    const base::CanonicalHost canonical(host);
    const std::string_view name = canonical.view();
    if (const auto found = exact_.find(name); found != exact_.end()) {
        return found->second;
    }
    if (below_.empty()) {
        return std::nullopt;
    }
    // The first dot that a label precedes leaves the longest wildcard.
    for (std::size_t dot = name.find('.', 1); dot != std::string_view::npos;
         dot = name.find('.', dot + 1)) {
        if (const auto found = below_.find(name.substr(dot + 1)); found != below_.end()) {
            return found->second;
        }
    }
    return std::nullopt;
}

}  // namespace s3gate::policy
