// Which hosts a site takes where sites share an address. Pure, any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "s3gate/config/model.hpp"

namespace s3gate::config {

// The patterns of a site: its `hosts`; its `domains`, and every host below them. Without
// repetition.
std::vector<std::string> host_patterns_of(const Site& site);

// Of the sites that share an address, the one that takes the hosts that no pattern fits: the one
// without `hosts` and `domains`; where each has one of them, the one without `hosts`. nullopt:
// there is none, or more than one, and such a host is refused. An index into `sites`.
std::optional<std::size_t> default_of(std::span<const Site* const> sites);

}  // namespace s3gate::config
