// Blocking name resolution away from every loop: at start all names in parallel with a bound on the whole, later those that
// failed again, until they are known.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "s3gate/base/clock.hpp"
#include "s3gate/proxy/snapshot.hpp"

namespace s3gate::proxy {

struct ResolveOutcome {
    Resolution addresses;
    std::map<std::string, std::string> errors;  // host → reason
};

// Resolves all host names of the configuration (numeric ones without asking anybody). Waits at most `limit`; names that have not
// answered by then are errors. getaddrinfo, all addresses in its order, duplicates removed. Blocking: not for a worker.
ResolveOutcome resolve_all(const config::Config& config, base::Duration limit);

}  // namespace s3gate::proxy
