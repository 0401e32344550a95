// Logs the passive marks that workers set and clear. Workers only count them: a worker that logs
// would wait for others, and a storm of failures would be a storm of lines. Control thread only;
// not on the request path.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "repeated_lines.hpp"
#include "s3gate/base/clock.hpp"
#include "s3gate/state/board.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::control {

class MarkWatch {
  public:
    // `lines` must outlive this object.
    explicit MarkWatch(RepeatedLines& lines) : lines_(lines) {}

    // Tells the changes since the last call; the first call tells all changes since the start.
    // Called about once a second.
    void look(const state::Snapshot& snapshot, const state::Board& board, base::TimePoint now);

  private:
    using Peers = std::vector<const state::Peer*>;
    struct Seen {
        std::array<std::uint64_t, 2> changes{};  // marks set, cleared
        std::vector<state::CellId> marked;       // addresses with a mark after the last change
    };
    void look(const state::Group& group, std::size_t server, const state::Board& board, Seen& seen,
              base::TimePoint now);
    void tell(const state::Group& group, std::size_t server, const Peers& changed,
              std::uint64_t times, bool is_end, base::TimePoint now);

    RepeatedLines& lines_;
    std::map<state::CellId, Seen> seen_;  // by the server's cell of figures
};

}  // namespace s3gate::control
