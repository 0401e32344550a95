// What differs between two configurations, key by key. Walks the rows of the keys, so a key that
// has a row cannot be forgotten. Pure.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "s3gate/config/model.hpp"

namespace s3gate::config {

// A key with another value. Values are in one line, in the syntax of a configuration file.
struct KeyChange {
    std::string key;  // below the main file, the site's file, or the server's mapping
    std::optional<std::string> before;  // nullopt: added, with `after`; or a secret
    std::optional<std::string> after;   // nullopt: a secret
    bool is_secret = false;             // differs, and has no values here
    bool needs_restart = false;         // a running process goes on with the value before
};

enum class Change { added, removed, changed };

struct ServerChange {
    std::string text;
    Change change = Change::changed;
    std::vector<KeyChange> keys;  // of an added one: those that are not the default
};

// A site that is in one of the configurations only, or differs. The pointers point into them.
struct SiteChange {
    const Site* before = nullptr;      // null: added
    const Site* after = nullptr;       // null: removed, or disabled
    std::vector<KeyChange> keys = {};  // of an added one: those that are not the default
    std::vector<std::string> added_addresses = {};  // of `listen`
    std::vector<std::string> removed_addresses = {};
    std::vector<ServerChange> servers = {};
    bool are_servers_reordered = false;  // those that are in both

    Change change() const {
        return before == nullptr  ? Change::added
               : after == nullptr ? Change::removed
                                  : Change::changed;
    }
    bool is_empty() const;  // true if the site is in both and does not differ
};

struct Difference {
    std::vector<KeyChange> keys;    // of the main file
    std::vector<SiteChange> sites;  // in the order of the files, removed ones last
    bool are_sites_reordered = false;

    // True exactly if dump() prints the same for both.
    bool is_empty() const { return keys.empty() && sites.empty() && !are_sites_reordered; }
};

// Both must outlive the result.
Difference difference(const Config& before, const Config& after);

// The part of it about keys of the main file.
std::vector<KeyChange> changed_main_keys(const Config& before, const Config& after);

// The sites that are the same in both: those with the same name, and of the others those with the
// same group. In the order of `after`.
std::vector<std::pair<const Site*, const Site*>> common_sites(const Config& before,
                                                              const Config& after);

}  // namespace s3gate::config
