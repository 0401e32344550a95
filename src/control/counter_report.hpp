// The counters in the operational log: one line when something went wrong, at most once a minute,
// and the totals at the end. Decides and words; the control thread asks and writes.
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
            state::CounterLevel::note;  // trouble if any of what it tells is
        std::string text;
    };

    // `board` must outlive the report. `now` is when counting began.
    CounterReport(const state::Board& board, base::TimePoint now);

    // What changed since the last line, or nothing: because nothing did, or because the last line
    // is less than a minute old. Called about once a second.
    std::optional<Line> tick(base::TimePoint now);
    // What changed since the last line, however old that is: for the end of the process.
    std::optional<Line> rest(base::TimePoint now);
    // "served 12 requests on 3 connections; in all: 1 connect refused, …"
    std::string totals() const;

  private:
    std::vector<std::uint64_t> values() const;

    const state::Board& board_;
    std::vector<std::uint64_t> reported_;
    base::TimePoint quiet_until_;  // up to here nothing had changed since the last line
    std::optional<base::TimePoint> last_line_;
};

}  // namespace s3gate::control
