// The counters in the operational log: a line when faults were counted, at most once a minute, and
// the totals at the end. This class decides and writes the text; the control thread calls it and
// logs.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "s3gate/base/clock.hpp"
#include "s3gate/state/board.hpp"
#include "s3gate/state/snapshot.hpp"

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

    // The changes since the last line, with the servers of `snapshot` that caused them. nullopt if
    // nothing changed or the last line is less than a minute old. Called about once a second.
    std::optional<Line> tick(base::TimePoint now, const state::Snapshot& snapshot);
    // The changes since the last line, at any age of that line: for the end of the process.
    std::optional<Line> rest(base::TimePoint now, const state::Snapshot& snapshot);
    // "served 12 requests on 3 connections; in all: 1 connect refused, …"
    std::string totals() const;

  private:
    using Faults = std::array<std::uint64_t, state::kServerFaults>;
    using Names = std::array<std::string, state::kServerFaults>;

    std::vector<std::uint64_t> values() const;
    // True if they give a line.
    bool has_news(const std::vector<std::uint64_t>& fresh) const;
    // For each fault the servers that had it since the last line.
    Names names_since_last(const state::Snapshot& snapshot);

    const state::Board& board_;
    std::vector<std::uint64_t> reported_;
    std::map<state::CellId, Faults> reported_faults_;  // by the server's cell
    base::TimePoint quiet_until_;  // nothing changed between the last line and this time
    std::optional<base::TimePoint> last_line_;
};

}  // namespace s3gate::control
