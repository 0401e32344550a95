// How late the latest of the last ticks came. Who looks now and then must see a pause that lay
// between two looks. Pure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

namespace s3gate::policy {

class TickLateness {
  public:
    // A tick is seen for at least so many further ones, half a minute, and at most for twice as
    // many.
    static constexpr unsigned kWindow = 120;

    // Takes the lateness of one tick and returns the greatest one, both in nanoseconds.
    std::uint64_t note(std::uint64_t late) {
        if (ticks_++ == kWindow) {
            ticks_ = 1;
            before_ = std::exchange(now_, 0);
        }
        now_ = std::max(now_, late);
        return std::max(now_, before_);
    }

  private:
    std::uint64_t now_ = 0;  // greatest of the present window
    std::uint64_t before_ = 0;
    unsigned ticks_ = 0;
};

}  // namespace s3gate::policy
