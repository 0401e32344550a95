#include "s3gate/config/hosts.hpp"

#include <algorithm>

namespace s3gate::config {
namespace {

// The index of the only one that `is` true for.
template <class Predicate>
std::optional<std::size_t> only(std::span<const Site* const> sites, Predicate is) {
    const auto found = std::ranges::find_if(sites, is);
    if (found == sites.end() || std::any_of(found + 1, sites.end(), is)) {
        return std::nullopt;
    }
    return static_cast<std::size_t>(found - sites.begin());
}

}  // namespace

std::vector<std::string> host_patterns_of(const Site& site) {
    std::vector<std::string> patterns = site.hosts;
    const auto add = [&](std::string pattern) {
        if (std::ranges::find(patterns, pattern) == patterns.end()) {
            patterns.push_back(std::move(pattern));
        }
    };
    for (const std::string& domain : site.domains) {
        add(domain);
        add("*." + domain);
    }
    return patterns;
}

std::optional<std::size_t> default_of(std::span<const Site* const> sites) {
    const auto has_none = [](const Site* site) {
        return site->hosts.empty() && site->domains.empty();
    };
    if (std::ranges::any_of(sites, has_none)) {
        return only(sites, has_none);
    }
    return only(sites, [](const Site* site) { return site->hosts.empty(); });
}

}  // namespace s3gate::config
