// Lines of the access log of one worker, until there are enough of them for the log writer, and the
// time of day that they and the answers show. One thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "s3gate/base/clock.hpp"
#include "s3gate/observe/access_log.hpp"
#include "s3gate/observe/request_record.hpp"

namespace s3gate::proxy {

class AccessBuffer {
  public:
    AccessBuffer(observe::LogWriter& writer, const std::string& hostname);

    // Adds a line, unless the log is off; `now` is the present round's time. Returns the lines that
    // were dropped for want of room, mostly 0.
    std::uint64_t add(const observe::RequestRecord& record, base::TimePoint now);
    // Hands over what there is. Returns as add() does.
    std::uint64_t flush();
    // To be called at every tick: the log's time of day is the monotonic clock and what the two
    // differed by at the last tick.
    void set_wall_clock();

  private:
    observe::LogWriter& writer_;
    observe::AccessLine line_;
    std::string text_;
    std::uint64_t lines_ = 0;
    std::chrono::system_clock::time_point wall_at_zero_;
};

// The date of answers, made once a second.
class DateText {
  public:
    const std::string& now();

  private:
    std::string text_;
    std::int64_t second_ = -1;
};

}  // namespace s3gate::proxy
