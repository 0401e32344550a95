// Every key a configuration may hold, as data: the reader refuses what is not in this list, and a
// test checks that docs/config.md describes everything that is. Constant, read by any thread.
#pragma once

#include <span>
#include <string_view>

namespace s3gate::config {

// Paths that begin with "main." (s3gate.yaml) or "site." (a site file), such as "main.log.level",
// "site.balance.key" or "site.backends.servers[].weight"; a mapping's own path comes before those
// of its keys.
std::span<const std::string_view> known_keys();

// Paths of the same form that belong to a later release: refused, but with a message that says so.
std::span<const std::string_view> later_keys();

}  // namespace s3gate::config
