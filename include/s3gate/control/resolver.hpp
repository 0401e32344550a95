// Name resolution that blocks: one name by the system's resolver, or all names of a configuration
// in parallel within one limit. Not for an event loop: while the daemon runs, it uses NameService.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "s3gate/base/clock.hpp"
#include "s3gate/policy/known_addresses.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::control {

struct ResolveOutcome {
    state::Resolution addresses;
    std::map<std::string, std::string> errors;  // host → reason
};

struct LookupResult {
    std::vector<base::IpAddress> addresses = {};
    // Why there are none: the system's words, and the kind of failure.
    std::string error = {};
    policy::LookupFailure kind = policy::LookupFailure::other;
};
// May block for long. Called on several threads at once, possibly after the caller of the
// resolution is gone.
using Lookup = std::function<LookupResult(const std::string& host)>;

// Asks the system by getaddrinfo: all addresses in its order, duplicates removed.
LookupResult look_up(const std::string& host);

// The host names of the configuration that are not numeric addresses.
std::set<std::string> host_names(const config::Config& config);

// Resolves all host names of the configuration; numeric ones need no look-up. Waits at most
// `limit`; names without an answer by then are errors. Blocking: not for a worker.
ResolveOutcome resolve_all(const config::Config& config, base::Duration limit,
                           const Lookup& lookup = look_up);

}  // namespace s3gate::control
