// The counters in the operational log: a line when faults were counted, at most once a minute, and
// the totals at the end. This class decides and writes the text; the control thread calls it and
// logs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "s3gate/base/clock.hpp"
#include "s3gate/state/board.hpp"

namespace s3gate::control {

class CounterReport {
  public:
    struct Line {
        state::CounterLevel level =
            state::CounterLevel::note;  // trouble if any counter in the line is
        std::string text;
    };

    // `board` must outlive the report. `now` is the time at which counting began.
    CounterReport(const state::Board& board, base::TimePoint now);

    // The changes since the last line. nullopt if nothing changed or the last line is less than a
    // minute old. Called about once a second.
    std::optional<Line> tick(base::TimePoint now);
    // The changes since the last line, at any age of that line: for the end of the process.
    std::optional<Line> rest(base::TimePoint now);
    // "served 12 requests on 3 connections; in all: 1 connect refused, …"
    std::string totals() const;

  private:
    std::vector<std::uint64_t> values() const;

    const state::Board& board_;
    std::vector<std::uint64_t> reported_;
    base::TimePoint quiet_until_;  // nothing changed between the last line and this time
    std::optional<base::TimePoint> last_line_;
};

}  // namespace s3gate::control
