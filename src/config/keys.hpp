// Every key of a configuration, as data. The reader refuses other keys, and the tables of
// docs/config.md are made from this list. Constant, read by any thread.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace s3gate::config {

// The reference of a key, in Markdown without a line break.
struct KeyReference {
    std::string_view path;      // as in known_keys()
    std::string default_value;  // empty for a section without a default
    std::string range;
    std::string_view meaning;
};

// One entry per known key, in the order of `check --dump`.
std::span<const KeyReference> key_reference();

// Paths that begin with "main." (s3gate.yaml) or "site." (a site file), such as "main.log.level",
// "site.balance.key" or "site.backends.servers[].weight". A mapping's own path precedes those of
// its keys.
std::span<const std::string_view> known_keys();

// Paths of the same form that belong to a later release. They are refused with a message that says
// so.
std::span<const std::string_view> later_keys();

}  // namespace s3gate::config
