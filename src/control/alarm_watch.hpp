// Looks once a second for servers that are out of line (policy/server_alarm.hpp), and logs when an
// alarm begins and when it is over. Control thread only; not on the request path.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "hand_over.hpp"
#include "repeated_lines.hpp"
#include "s3gate/base/clock.hpp"
#include "s3gate/policy/server_alarm.hpp"
#include "s3gate/state/board.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::control {

// An alarm that lasts, for the status and for metrics.
struct AlarmStatus {
    std::string group;
    std::string server;  // as configured; empty: the group as a whole
    std::string_view kind;
    std::string text;         // as the log has it
    std::uint64_t since = 0;  // seconds ago
    policy::Alarm alarm;
};

class AlarmWatch {
  public:
    // `lines` must outlive this object.
    explicit AlarmWatch(RepeatedLines& lines) : lines_(lines) {}

    // Ends all alarms where the configuration switches them off.
    void look(const state::Snapshot& snapshot, const state::Board& board, base::TimePoint now);
    // In the order of the configuration.
    std::vector<AlarmStatus> alarms(base::TimePoint now) const;
    // Those that were told, for a successor.
    std::vector<HandOver::Alarm> hand_over() const;
    // Goes on with those of the process before, and names each in the log. For the start, after the
    // board knows the servers of `snapshot`. Unknown ones are left out.
    void resume(const std::vector<HandOver::Alarm>& alarms, const state::Snapshot& snapshot,
                base::TimePoint now);

  private:
    struct Server {
        std::string text;   // as configured
        std::string label;  // state::label_of
    };
    struct Group {
        std::string name;
        std::map<std::uint64_t, Server> servers;  // by id
        policy::GroupAlarms alarms;
        std::size_t place = 0;  // in the configuration
    };

    void resume(const HandOver::Alarm& before, const state::Group& group, base::TimePoint now);
    static std::string who(const Group& group, const policy::Alarm& alarm);
    std::string text_of(const Group& group, const policy::Alarm& alarm) const;
    void tell(const Group& group, const policy::AlarmEvent& event, base::TimePoint now);

    RepeatedLines& lines_;
    std::map<state::CellId, Group> groups_;
};

}  // namespace s3gate::control
