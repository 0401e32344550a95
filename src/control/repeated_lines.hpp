// Lines of the operational log that clients, servers, name servers or callers of the admin sockets
// can cause again and again. One of a topic and a subject is written at once, then one a minute
// (base/line_limit.hpp), with the number of those that were left out. Few subjects of a topic get
// lines of their own in a minute; one line is for all others. Pure: no clock; `write` is an
// argument. Control thread only; not on the request path.
#pragma once

#include <spdlog/common.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "s3gate/base/clock.hpp"
#include "s3gate/base/line_limit.hpp"

namespace s3gate::control {

enum class Topic : std::uint8_t {
    health,     // a server is up or down by the checks
    marks,      // a server is passively marked, or no longer
    groups,     // a group has no usable server, or one again
    names,      // a name is not resolved, or resolved again
    addresses,  // a name has other addresses
    alarms,     // a server or a group is out of line, or no longer
    denied,     // of admin.listen: not in admin.allow
    foreign,    // of admin.listen: another site's page, or another name of this host
    rights,     // commands of somebody who may not
    overload,   // too many commands at a time
    broken,     // commands, and connections of operators, that failed
    stalls,     // this process stood still
};
inline constexpr std::size_t kTopics = 12;

struct RepeatedLine {
    Topic topic = Topic::health;
    // What the line names, such as a server; empty if the topic has no subjects.
    std::string subject = {};
    bool is_end = false;  // of what the topic tells, such as "is up"
    // Of lines that are no end, such as the kind of a failure: each is told. Below kVariants.
    std::size_t variant = 0;
    static constexpr std::size_t kVariants = base::LineLimit::kStates - 1;
    spdlog::level::level_enum level = spdlog::level::warn;
    std::string text;
    std::uint64_t times = 1;  // it happened so often
};

class RepeatedLines {
  public:
    using Write = std::function<void(spdlog::level::level_enum, const std::string&)>;
    // Lines of one topic in a minute, and one more for all other subjects.
    static constexpr std::size_t kMostLines = 16;
    // Subjects of a topic that are known; what happens to others is counted.
    static constexpr std::size_t kMostSubjects = 1000;
    // Subjects that the line for the others names.
    static constexpr std::size_t kMostNames = 8;

    explicit RepeatedLines(Write write) : write_(std::move(write)) {}

    // Writes the line, or keeps it for later. Of several that wait, the last one is written.
    // Variants of a line, and the line of its end, do not wait for each other.
    void note(RepeatedLine line, base::TimePoint now);
    // Writes what has waited long enough. Called about once a second.
    void tick(base::TimePoint now);
    // Writes all that waits: for the end of the process.
    void flush(base::TimePoint now);

  private:
    struct Entry {
        base::LineLimit limit;
        base::TimePoint since{};  // the last line, or the first event
        spdlog::level::level_enum level = spdlog::level::info;
        std::string text;
    };
    struct Book {
        std::map<std::string, Entry> entries;  // by subject
        base::TimePoint since{};               // the begin of the minute
        std::size_t written = 0;               // in this minute
        base::LineLimit others;                // lines for all other subjects
        std::uint64_t unnamed = 0;             // events of subjects that are not known
    };
    using Items = std::vector<std::map<std::string, Entry>::value_type*>;

    static std::size_t room(Book& book, base::TimePoint now);
    void write(Book& book, Entry& entry, base::TimePoint now);
    void write_others(Topic topic, Book& book, const Items& items, base::TimePoint now);
    // The first ones in lines of their own, as far as there is room; returns the others.
    Items write_own(Book& book, Items items, base::TimePoint now);
    void tick(Topic topic, Book& book, base::TimePoint now);
    void flush(Topic topic, Book& book, base::TimePoint now);

    Write write_;
    std::array<Book, kTopics> books_;
};

}  // namespace s3gate::control
