// Blocking name resolution away from every loop: at start all names in parallel with a bound on the
// whole, later those that failed again, until they are known. Threads of its own; one that the
// system's resolver never lets go is left behind and touches nothing but what it owns.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "s3gate/base/clock.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::control {

struct ResolveOutcome {
    state::Resolution addresses;
    std::map<std::string, std::string> errors;  // host → reason
};

struct LookupResult {
    std::vector<base::IpAddress> addresses;
    std::string error;  // why there are none
};
// May block for long; called on several threads at once, possibly still when the caller of the
// resolution is gone.
using Lookup = std::function<LookupResult(const std::string& host)>;

// Asks the system: getaddrinfo, all addresses in its order, duplicates removed.
LookupResult look_up(const std::string& host);

// The host names of the configuration that are not addresses themselves.
std::set<std::string> host_names(const config::Config& config);

// Resolves all host names of the configuration (numeric ones without asking anybody). Waits at most
// `limit`; names that have not answered by then are errors. Blocking: not for a worker.
ResolveOutcome resolve_all(const config::Config& config, base::Duration limit,
                           const Lookup& lookup = look_up);

// A resolution under way that nobody waits for: the control loop asks now and then.
class PendingResolution {
  public:
    // Begins; `hosts` are names.
    explicit PendingResolution(const std::set<std::string>& hosts, const Lookup& lookup = look_up);
    ~PendingResolution();  // does not wait
    PendingResolution(const PendingResolution&) = delete;
    PendingResolution& operator=(const PendingResolution&) = delete;

    // Returns when all names have been answered, at the latest at `deadline`.
    void wait_until(base::TimePoint deadline);
    // True once all names have been answered.
    bool is_done() const;
    // What is known so far; names without an answer are errors.
    ResolveOutcome outcome() const;

  private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace s3gate::control
