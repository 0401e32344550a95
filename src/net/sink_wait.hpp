// Waiting until a stream takes bytes again. Shared by the relay of bodies and by tunnels.
#pragma once

#include "s3gate/net/stream.hpp"
#include "s3gate/net/task.hpp"

namespace s3gate::net {

struct SinkWait {
    Tick limit = 1;
    bool is_backend = false;          // its TCP_USER_TIMEOUT is short
    const bool* cancelled = nullptr;  // looked at whenever the wait is interrupted
};

// Suspends until the sink takes bytes again, `limit` is over (Wake::timed_out) or the wait was
// interrupted. A backend's TCP_USER_TIMEOUT is short, because a node without power must be noticed,
// but the kernel also counts the time in which a living peer keeps its window shut (tcp(7)), and a
// storage server may stall on its disks for longer than that. So while a blocked backend goes on
// acknowledging, the kernel's limit is lifted to ours.
task<Wake> wait_for_sink(Stream& sink, SinkWait wait);

}  // namespace s3gate::net
