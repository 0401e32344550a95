// Says how much a counter has grown since the last time, but not too often. One thread.
#pragma once

#include <cstdint>
#include <utility>

#include "s3gate/base/clock.hpp"
#include "s3gate/base/line_limit.hpp"

namespace s3gate::control {

class GrowthWarning {
  public:
    explicit GrowthWarning(base::Duration every = base::LineLimit::kEvery) : limit_(every) {}

    // The growth to warn about now; 0: none. A counter that shrinks is another one, which began at
    // zero: a reload gives the access log a new writer. Called about once a second.
    std::uint64_t growth(std::uint64_t value, base::TimePoint now) {
        seen_ = value < seen_ ? 0 : seen_;
        return limit_.note(value - std::exchange(seen_, value), now);
    }

  private:
    std::uint64_t seen_ = 0;
    base::LineLimit limit_;
};

}  // namespace s3gate::control
