// Waits until a stream accepts bytes again. Used by the relay of bodies and by tunnels.
#pragma once

#include "s3gate/net/stream.hpp"
#include "s3gate/net/task.hpp"

namespace s3gate::net {

struct SinkWait {
    Tick limit = 1;
    bool is_backend = false;          // the sink has a short TCP_USER_TIMEOUT
    const bool* cancelled = nullptr;  // checked whenever the wait is interrupted
};

// Suspends until the sink accepts bytes, `limit` has passed (Wake::timed_out) or the wait was
// interrupted. A backend's TCP_USER_TIMEOUT is short, so that a node without power is noticed. But
// the kernel also counts the time in which a living peer keeps its window closed (tcp(7)), and a
// storage server may stall on its disks for longer. So while a blocked backend acknowledges, the
// kernel's limit is raised to ours.
task<Wake> wait_for_sink(Stream& sink, SinkWait wait);

}  // namespace s3gate::net
