// Time types of the program. All deadlines are monotonic; the wall clock appears only in log lines.
// Pure code takes a TimePoint as an argument and never reads a clock.
#pragma once

#include <chrono>
#include <cstdint>

namespace s3gate::base {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
using Duration = std::chrono::milliseconds;

// The clock of net::Reactor::now_ms.
inline std::uint64_t milliseconds_of(TimePoint time) {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<Duration>(time.time_since_epoch()).count());
}

}  // namespace s3gate::base
