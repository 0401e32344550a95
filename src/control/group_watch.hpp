// Which servers requests go to now, told from the board: what the line `ready` counts, and the
// moments in which a group runs out of usable servers and has one again. Control thread only; the
// request path neither calls this nor pays for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

#include "s3gate/base/clock.hpp"
#include "s3gate/state/board.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::control {

// Servers of all sites, without those that the configuration takes out (`down`, `drained`). One is
// up when requests go to some address of it; nobody knows an address of a name that did not
// resolve.
struct ServerCount {
    std::size_t up = 0;
    std::size_t all = 0;
};
ServerCount count_servers(const state::Snapshot& snapshot, const state::Board& board);

class GroupWatch {
  public:
    // A group counts as recovered when it has had a usable server for so long: one that flaps is
    // one message, not a hundred.
    static constexpr base::Duration kSettled{3000};

    // Compares the board with what was said before and logs what is new. To be called once a second
    // or so, and at once when a server went down.
    void look(const state::Snapshot& snapshot, const state::Board& board, base::TimePoint now);

  private:
    // A group without a usable server, or one that has not been well for kSettled yet.
    struct Outage {
        base::TimePoint since;
        base::TimePoint well_since{};  // zero while no server is usable
    };
    // What there is of an outage after this look at the group; `outage`: before it.
    static std::optional<Outage> look(const state::Group& group, const state::Board& board,
                                      std::optional<Outage> outage, base::TimePoint now);

    std::map<state::CellId, Outage> outages_;  // by the group's cell
};

}  // namespace s3gate::control
