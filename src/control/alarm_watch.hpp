// Looks once a second for servers that are out of line (policy/server_alarm.hpp), and logs when an
// alarm begins and when it is over. Control thread only; not on the request path.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

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
    // Lines in the log for one kind of alarm in a minute; further ones are counted.
    static constexpr std::size_t kMostLines = 6;

    // Forgets everything where the configuration switches alarms off.
    void look(const state::Snapshot& snapshot, const state::Board& board, base::TimePoint now);
    // In the order of the configuration.
    std::vector<AlarmStatus> alarms(base::TimePoint now) const;

  private:
    struct Group {
        std::string name;
        std::map<std::uint64_t, const config::Server*> servers;  // by id
        std::shared_ptr<const config::Config> config;            // has them
        policy::GroupAlarms alarms;
        std::size_t place = 0;  // in the configuration
    };
    struct Lines {
        std::uint64_t since = 0;
        std::size_t written = 0;
        std::size_t left_out = 0;
    };

    std::string text_of(const Group& group, const policy::Alarm& alarm) const;
    void tell(const Group& group, const policy::AlarmEvent& event, std::uint64_t second);
    void tell_left_out(std::uint64_t second);

    std::map<state::CellId, Group> groups_;
    std::array<Lines, policy::kAlarmKinds> lines_;
};

}  // namespace s3gate::control
