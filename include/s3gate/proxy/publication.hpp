// A generation as workers get it: its snapshot, with the listeners, access log and limits that
// belong to it. The control side makes it; it never changes. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "s3gate/observe/access_log.hpp"
#include "s3gate/proxy/listener.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::proxy {

// A listener and the address that it is for.
struct Listening {
    std::shared_ptr<Listener> listener;
    std::uint32_t address = 0;  // index into Snapshot::addresses
};

// Bounds that the main file sets.
struct WorkerLimits {
    std::uint64_t connections = 0;  // of clients, in the whole process
    std::size_t parked = 0;         // backend connections that a worker keeps for reuse
    std::size_t replay_memory = 0;  // bytes, of a worker
};

struct Publication {
    std::shared_ptr<const state::Snapshot> snapshot;
    // Lacks an address that this host cannot listen on.
    std::vector<Listening> listening;
    std::shared_ptr<observe::LogWriter> access_log;
    WorkerLimits limits;
    std::uint64_t number = 0;  // counts them, in the order in which the workers get them
};

}  // namespace s3gate::proxy
