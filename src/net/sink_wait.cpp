#include "sink_wait.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>

#include "s3gate/net/backend_pool.hpp"

namespace s3gate::net {
namespace {

// Interval of the checks on a blocked backend: well below kBackendUserTimeout.
constexpr Tick kAliveCheck = 16;  // 4 s

// True if the kernel received any packet from the peer within `limit`.
bool has_acknowledged_within(int fd, base::Duration limit) {
    tcp_info info{};
    socklen_t size = sizeof info;
    return ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
           base::Duration{info.tcpi_last_ack_recv} <= limit;
}

}  // namespace

task<Wake> wait_for_sink(Stream& sink, SinkWait wait) {
    const Tick begin = sink.reactor().now();
    Tick waited = 0;
    bool is_lifted = false;
    for (;;) {
        const Tick left = wait.limit - waited;
        const Tick slice = wait.is_backend ? std::min(left, kAliveCheck) : left;
        const Wake wake = co_await sink.writable(slice);
        if (wake != Wake::timed_out || *wait.cancelled) {
            if (is_lifted && sink.is_open()) {
                set_user_timeout(sink.descriptor(), kBackendUserTimeout);
            }
            co_return wake;
        }
        // By the clock: each slice ends up to a tick late, and there may be many.
        waited = sink.reactor().now() - begin;
        if (waited >= wait.limit) {
            // The other direction of a tunnel may continue to use this connection.
            if (is_lifted) {
                set_user_timeout(sink.descriptor(), kBackendUserTimeout);
            }
            co_return Wake::timed_out;
        }
        // Window probes come at doubling intervals, so the last answer may be as old as half of the
        // wait.
        const base::Duration so_far = waited * kTickLength;
        const bool is_alive = has_acknowledged_within(sink.descriptor(), so_far * 2 / 3);
        if (is_alive != is_lifted) {
            is_lifted = is_alive;
            set_user_timeout(sink.descriptor(), is_alive ? base::Duration{wait.limit * kTickLength}
                                                         : kBackendUserTimeout);
        }
    }
}

}  // namespace s3gate::net
