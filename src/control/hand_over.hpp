// What a process tells its successor in an upgrade beside the listening sockets: the state that
// checks and look-ups would have to find out again. One JSON object a line. The two processes may
// have different versions, so a reader ignores lines and members that it does not know. Any thread.
#pragma once

#include <sys/types.h>

#include <boost/json/array.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "inherited_sockets.hpp"
#include "s3gate/base/clock.hpp"
#include "s3gate/base/descriptor.hpp"
#include "s3gate/policy/server_alarm.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::control {

struct HandOver {
    // A backend that is not as a fresh one: down, or with failures that requests noticed.
    struct Backend {
        std::string group;    // state::Group::name
        std::string server;   // as configured
        std::string address;  // "ip:port"
        bool is_up = true;    // by the active checks
        bool is_marked = false;
        unsigned failures = 0;         // passively counted, at most 255
        base::Duration failing_for{};  // since the last of them
        // Since it came back, for backends.slow_start; nullopt where that is long ago.
        std::optional<base::Duration> back_for = {};
    };

    // state::ClientTable::Bucket with the name of the site.
    struct Bucket {
        std::string site;
        base::IpAddress client;
        std::uint64_t full_at = 0;
        bool operator==(const Bucket&) const = default;
    };

    // The level of the operational log that an operator has set.
    struct LogLevel {
        std::string level;
        std::string configured;              // log.level
        std::optional<base::Duration> left;  // nullopt: it does not end by itself
        bool operator==(const LogLevel&) const = default;
    };

    // state::SeenKeys of all workers of a group, a word that is not zero with its number.
    struct Sessions {
        std::string group;
        std::vector<std::pair<std::size_t, std::uint64_t>> words;
    };

    // An alarm that lasts and was told.
    struct Alarm {
        std::string group;
        std::string server;       // as configured; empty: the group as a whole
        std::string kind;         // as the status has it
        std::uint64_t began = 0;  // second of the monotonic clock
        policy::AlarmShare since = {};
        std::string text;  // as the log has it
        bool operator==(const Alarm&) const = default;
    };

    std::string version;
    pid_t pid = 0;
    // The settings of the unit in which the service was started, as Lineage::unit has them.
    std::string unit;
    std::vector<Backend> backends;
    std::vector<Bucket> buckets;
    std::vector<Sessions> sessions;
    boost::json::array overrides;  // as Overrides::to_json() lists them
    // Of the old processes, the oldest first, and of the process before: OldProcessReport as text.
    std::vector<std::string> processes;
    state::Resolution names;
    bool is_on_standby = false;
    std::optional<LogLevel> log_level;
    std::vector<Alarm> alarms;
    // Listening sockets without use, here or in an earlier process, which close soon.
    std::vector<BoundSocket> closing;
};

std::string text_of(const HandOver& state);

// A text that another version wrote, or garbage: what can be read of it. `ignored` is the number of
// lines without use.
struct ReadHandOver {
    HandOver state;
    std::size_t ignored = 0;
};
ReadHandOver read_hand_over(std::string_view text);

// An anonymous file with that content, which nobody can change any more (memfd_create(2),
// F_ADD_SEALS of fcntl(2)). Throws std::system_error.
base::Descriptor sealed_file(const std::string& text);
// Its content; nullopt if the file can still change, or cannot be read.
std::optional<std::string> read_sealed_file(int descriptor);

}  // namespace s3gate::control
