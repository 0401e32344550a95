// Which servers of a group are out of line: with answers 5xx, attempts that break, answers that are
// slow, or refusals for load. Fed once a second with what was counted so far. A server is compared
// with the others of its group over the last ten seconds; where those have no traffic, and for the
// group as a whole, fixed shares hold. Pure: exact integers, no clock.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "s3gate/policy/head_bounds.hpp"

namespace s3gate::policy {

enum class AlarmKind : std::uint8_t {
    errors,  // answers 5xx, without those of load
    broken,  // attempts without a whole answer, or without a connection
    slow,    // answers whose first byte took far longer than the others' median
    load,    // answers that refuse for load: 429, and 503 with a code of load. No fault
};
inline constexpr std::size_t kAlarmKinds = 4;

// Of one server, counted since some moment.
struct AttemptSums {
    // The last place of `heads` has no bound.
    static constexpr const auto& kHeadMilliseconds = HeadBounds::kMilliseconds;
    std::uint64_t answers = 0;
    std::uint64_t errors = 0;
    std::uint64_t broken = 0;
    std::uint64_t load = 0;
    std::array<std::uint64_t, kHeadMilliseconds.size() + 1> heads{};  // answers by time

    AttemptSums& operator+=(const AttemptSums& more);
    AttemptSums& operator-=(const AttemptSums& less);
};

// A part of a number.
struct AlarmShare {
    std::uint64_t bad = 0;
    std::uint64_t all = 0;
    bool operator==(const AlarmShare&) const = default;
};

// At least so many bad ones in the window, and at least that share of it.
inline constexpr std::uint64_t kLeastBad = 5;
inline constexpr std::uint64_t kLeastOnePart = 20;  // a 20th: 5 %
// More than so many times the share of the others.
inline constexpr std::uint64_t kTimesOthers = 4;
// Where the others have fewer attempts in the window, and for a group: a fifth, 20 %.
inline constexpr std::uint64_t kLeastOthers = 20;
inline constexpr std::uint64_t kAlonePart = 5;
// A slow answer takes at least so long, and ten times the others' median.
inline constexpr std::uint64_t kSlowMilliseconds = 500;
inline constexpr std::uint64_t kTimesMedian = 10;

bool is_out_of_line(const AlarmShare& own, const AlarmShare& others);
// The lower bound of slow answers, one of kHeadMilliseconds; 0 where the others are too few, or too
// slow themselves.
std::uint64_t slow_from(const AttemptSums& others);

struct Alarm {
    AlarmKind kind = AlarmKind::errors;
    std::uint64_t server = 0;     // its id; not of a group's
    bool is_of_group = false;     // all that is left without the servers out of line is bad
    std::uint64_t began = 0;      // second
    AlarmShare window = {};       // of the last look
    AlarmShare others = {};       // likewise; of a group: nothing
    AlarmShare since = {};        // its begin, with the window that raised it
    std::uint64_t slow_ms = 0;    // of AlarmKind::slow: longer than that
    std::uint64_t median_ms = 0;  // likewise: the median of the others is at most that
};

// An alarm that began, or is over: a line for people.
struct AlarmEvent {
    Alarm alarm;
    bool is_over = false;
    std::uint64_t lasted = 0;  // seconds, when it is over
    bool is_gone = false;      // it is over because nobody watches the server any more
};

class GroupAlarms {
  public:
    static constexpr std::size_t kWindow = 10;   // seconds
    static constexpr std::uint64_t kCalm = 5;    // seconds without a bad window, to its end
    static constexpr std::uint64_t kQuiet = 60;  // seconds between two lines of one begin

    struct Server {
        std::uint64_t id = 0;
        AttemptSums counted;  // since the server exists
    };

    // The servers that the group has now, at that second. The alarms of a server that is gone are
    // over.
    std::vector<AlarmEvent> tick(std::span<const Server> servers, std::uint64_t now);
    // The end of all alarms: the group is not watched any more.
    std::vector<AlarmEvent> end(std::uint64_t now) const;
    // Goes on with an alarm of another process that has been told. `alarm` has a server that the
    // next tick() has.
    void resume(const Alarm& alarm, std::uint64_t now);
    // Those that last, and of them those that were told.
    std::vector<Alarm> alarms() const;
    std::vector<Alarm> told() const;
    // The servers with the most bad ones in the window, at most that many; not of slow ones.
    std::vector<std::pair<std::uint64_t, AlarmShare>> worst(AlarmKind kind, std::size_t most) const;

  private:
    struct State {
        bool is_on = false;
        bool is_told = false;
        std::uint64_t calm = 0;
        std::uint64_t told_at = 0;
        bool was_told = false;  // ever
        Alarm alarm;
    };
    using States = std::array<State, kAlarmKinds>;
    struct Track {
        std::array<AttemptSums, kWindow + 1> counted;  // ring
        AttemptSums window;
        AttemptSums last_second;
        States states;
    };
    using Tracks = std::map<std::uint64_t, Track>;

    // The servers that are gone.
    Tracks move_window(std::span<const Server> servers);
    static void end(const States& states, std::uint64_t now, std::vector<AlarmEvent>& events);
    void judge_server(AlarmKind kind, std::uint64_t id, Track& track, const AttemptSums& all,
                      std::uint64_t now, std::vector<AlarmEvent>& events);
    void judge_group(AlarmKind kind, std::uint64_t now, std::vector<AlarmEvent>& events);
    static void step(State& state, bool is_bad, bool is_calm, const AlarmShare& second,
                     const Alarm& found, std::uint64_t now, std::vector<AlarmEvent>& events);

    template <class Take>
    void for_each_state(const Take& take) const;

    Tracks tracks_;
    States of_group_;
    std::size_t place_ = 0;
};

}  // namespace s3gate::policy
