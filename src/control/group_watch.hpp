// Counts usable servers for the line `ready`, and logs when a group loses its last usable server
// and when it has one again. Control thread only; not on the request path.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

#include "repeated_lines.hpp"
#include "s3gate/base/clock.hpp"
#include "s3gate/state/board.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::control {

// Servers of all sites, without those that the configuration takes out (`down`, `drained`), or an
// operator. A server is up when requests go to one of its addresses. A server whose name did not
// resolve has no address.
struct ServerCount {
    std::size_t up = 0;
    std::size_t all = 0;
};
ServerCount count_servers(const state::Snapshot& snapshot, const state::Board& board);

class GroupWatch {
  public:
    // A group has recovered after a usable server for this long, so a server that flaps causes one
    // message.
    static constexpr base::Duration kSettled{3000};

    // `lines` must outlive this object.
    explicit GroupWatch(RepeatedLines& lines) : lines_(lines) {}

    // Compares the board with the last call and logs the changes. Called about once a second, and
    // at once when a server went down.
    void look(const state::Snapshot& snapshot, const state::Board& board, base::TimePoint now);

  private:
    // A group without a usable server, or with one for less than kSettled.
    struct Outage {
        base::TimePoint since;
        base::TimePoint well_since{};  // zero while no server is usable
    };
    // The outage of a group after this look; `outage` is the one before it.
    std::optional<Outage> look(const state::Group& group, const state::Board& board,
                               std::optional<Outage> outage, base::TimePoint now);

    RepeatedLines& lines_;
    std::map<state::CellId, Outage> outages_;  // by the group's cell
};

}  // namespace s3gate::control
