// Room at servers with max_connections that requests of other processes hold: those before this
// one, or its successor. It counts on the board as if requests of this process held it. Control
// thread.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "s3gate/state/board.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::control {

// Requests that hold room at a server.
struct HeldRoom {
    std::string group;
    std::string server;  // as configured
    std::int32_t requests = 0;
    bool operator==(const HeldRoom&) const = default;
};
boost::json::array json_of(const std::vector<HeldRoom>& room);
// The inverse. Throws for what json_of() does not make.
std::vector<HeldRoom> held_room_of(const boost::json::value& list);

// `held` gives a number for a server's cell; those above 0 are listed.
std::vector<HeldRoom> list_room(const state::Snapshot& snapshot,
                                const std::function<std::int32_t(state::CellId)>& held);

class RoomElsewhere {
  public:
    // Both must outlive the object.
    RoomElsewhere(state::Board& board,
                  const std::function<std::shared_ptr<const state::Snapshot>()>& snapshot)
        : board_(board), snapshot_(snapshot) {}
    ~RoomElsewhere() { set({}); }
    RoomElsewhere(const RoomElsewhere&) = delete;
    RoomElsewhere& operator=(const RoomElsewhere&) = delete;

    // What they hold now, in place of what they held before. Servers that the present snapshot does
    // not have, or has without max_connections, do not count.
    void set(const std::vector<HeldRoom>& room);
    std::int32_t at(state::CellId cell) const;

  private:
    state::Board& board_;
    const std::function<std::shared_ptr<const state::Snapshot>()>& snapshot_;
    std::map<state::CellId, std::int32_t> counted_;
};

}  // namespace s3gate::control
