// Says when a line of the log that others can cause again and again may be written: the first one
// at once, then one a minute, with the number of those that were left out. Pure: no clock, no
// allocation. One thread.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include "s3gate/base/clock.hpp"

namespace s3gate::base {

class LineLimit {
  public:
    static constexpr Duration kEvery = std::chrono::seconds{60};
    // Lines of different states, such as "is down" and "is up", do not wait for each other. The
    // last state is told within kEvery, whatever was before it.
    static constexpr std::size_t kStates = 8;

    explicit LineLimit(Duration every = kEvery) : every_(every) {}

    // Something happened `times` times that deserves a line of this state, below kStates. Returns
    // how often it happened since the last line of any state if the line may be written now, and
    // otherwise 0. `times` = 0 asks for what is left.
    std::uint64_t note(std::uint64_t times, TimePoint now, std::size_t state = 0) {
        count(times, state);
        return is_due(now) ? tell(now) : 0;
    }

    // The parts of note().
    void count(std::uint64_t times, std::size_t state = 0) {
        state_ = times == 0 ? state_ : state;
        untold_ += std::min(times, std::numeric_limits<std::uint64_t>::max() - untold_);
    }
    bool is_due(TimePoint now) const {
        const auto& told = told_[state_];
        return untold_ > 0 && (!told || now - *told >= every_);
    }
    std::uint64_t tell(TimePoint now) {
        told_[state_] = now;
        return std::exchange(untold_, 0);
    }

    // Not told yet.
    std::uint64_t untold() const { return untold_; }
    // When is_due() becomes true without a further event; nullopt if nothing is left to tell.
    std::optional<TimePoint> due_at() const {
        const auto& told = told_[state_];
        return untold_ == 0 ? std::nullopt : std::optional(told ? *told + every_ : TimePoint{});
    }
    // True if a new object would behave in the same way.
    bool is_fresh(TimePoint now) const {
        for (const auto& told : told_) {
            if (told && now - *told < every_) {
                return false;
            }
        }
        return untold_ == 0;
    }

  private:
    Duration every_;
    std::uint64_t untold_ = 0;
    std::size_t state_ = 0;  // the last one
    std::array<std::optional<TimePoint>, kStates> told_{};
};

}  // namespace s3gate::base
