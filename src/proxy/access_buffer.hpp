// Access log lines of one worker, collected for the log writer, and the wall-clock time for them
// and for answers. One thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "s3gate/base/clock.hpp"
#include "s3gate/observe/access_log.hpp"
#include "s3gate/observe/request_record.hpp"

namespace s3gate::proxy {

class AccessBuffer {
  public:
    AccessBuffer(std::shared_ptr<observe::LogWriter> writer, const std::string& hostname);

    // Later lines go to `writer`, the lines in the buffer to the writer before. Returns as add()
    // does.
    std::uint64_t use(std::shared_ptr<observe::LogWriter> writer);

    bool is_wanted() const { return writer_->enabled(); }
    // Adds a line, unless the log is off. `now` is the time of the current round. Returns the
    // number of dropped lines, usually 0.
    std::uint64_t add(const observe::RequestRecord& record, base::TimePoint now);
    // Hands the lines to the log writer. Returns as add() does.
    std::uint64_t flush();
    // Call it at every tick. The log's time is the monotonic clock plus the difference of both
    // clocks at the last tick.
    void set_wall_clock();

  private:
    std::shared_ptr<observe::LogWriter> writer_;
    observe::AccessLine line_;
    std::string text_;
    std::uint64_t lines_ = 0;
    std::chrono::system_clock::time_point wall_at_zero_;
};

// The date of answers, renewed once a second.
class DateText {
  public:
    const std::string& now();

  private:
    std::string text_;
    std::int64_t second_ = -1;
};

}  // namespace s3gate::proxy
