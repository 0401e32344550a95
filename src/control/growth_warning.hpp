// Says how much a counter has grown since the last time, but not too often. One thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <utility>

#include "s3gate/base/clock.hpp"

namespace s3gate::control {

class GrowthWarning {
  public:
    static constexpr base::Duration kEvery = std::chrono::seconds{10};

    // The growth to warn about now; 0: none. A counter that shrinks is another one, which began at
    // zero: a reload gives the access log a new writer.
    std::uint64_t growth(std::uint64_t value, base::TimePoint now) {
        reported_ = value < reported_ ? 0 : reported_;
        if (value == reported_ || now < next_) {
            return 0;
        }
        next_ = now + kEvery;
        return value - std::exchange(reported_, value);
    }

  private:
    std::uint64_t reported_ = 0;
    base::TimePoint next_{};
};

}  // namespace s3gate::control
