// Blocking name resolution on threads of its own. At the start all names are resolved in parallel,
// with one time limit; names that failed are tried again until they are known. A thread that the
// system's resolver never returns to is abandoned; it uses only memory that it owns.
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
#include "s3gate/policy/known_addresses.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::control {

struct ResolveOutcome {
    state::Resolution addresses;
    std::map<std::string, std::string> errors;  // host → reason
};

struct LookupResult {
    std::vector<base::IpAddress> addresses = {};
    // Why there are none: in the system's words, and of which kind.
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

// A resolution in progress. The control loop polls it and never waits for it.
class PendingResolution {
  public:
    // Starts the look-ups; `hosts` are names.
    explicit PendingResolution(const std::set<std::string>& hosts, const Lookup& lookup = look_up);
    ~PendingResolution();  // does not wait
    PendingResolution(const PendingResolution&) = delete;
    PendingResolution& operator=(const PendingResolution&) = delete;

    // Returns when all names have an answer, or at `deadline`.
    void wait_until(base::TimePoint deadline);
    // True once all names have an answer.
    bool is_done() const;
    // The results so far; names without an answer are errors.
    ResolveOutcome outcome() const;

  private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace s3gate::control
