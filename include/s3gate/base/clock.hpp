// Time types of the program. All deadlines are monotonic; the wall clock appears only in log lines.
// Pure code takes a TimePoint as an argument and never reads a clock.
#pragma once

#include <chrono>

namespace s3gate::base {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
using Duration = std::chrono::milliseconds;

}  // namespace s3gate::base
