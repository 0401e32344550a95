// Every key a configuration may hold, as data: the reader refuses what is not in this list, and the
// tables of docs/config.md are made from it. Constant, read by any thread.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace s3gate::config {

// What the reference says of a key, in Markdown without a line break.
struct KeyReference {
    std::string_view path;      // as in known_keys()
    std::string default_value;  // empty for a section without a default of its own
    std::string range;
    std::string_view meaning;
};

// One of every known key, in the order of `check --dump`.
std::span<const KeyReference> key_reference();

// Paths that begin with "main." (s3gate.yaml) or "site." (a site file), such as "main.log.level",
// "site.balance.key" or "site.backends.servers[].weight"; a mapping's own path comes before those
// of its keys.
std::span<const std::string_view> known_keys();

// Paths of the same form that belong to a later release: refused, but with a message that says so.
std::span<const std::string_view> later_keys();

}  // namespace s3gate::config
