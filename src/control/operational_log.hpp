// The operational log: spdlog with a sink that never makes its caller wait. Lines for a path go
// through a LogWriter of their own; lines for stderr are written only when that takes them at once,
// so that a pipe nobody reads stops neither a health check nor a request.
#pragma once

#include <cstdint>
#include <memory>

#include "s3gate/config/model.hpp"

namespace s3gate::control {

class OperationalLog {
  public:
    // Becomes spdlog's default logger. Throws std::system_error when a path cannot be opened.
    explicit OperationalLog(const config::Log& config);
    // Writes what is queued (but gives up after a second or so); later messages go to stderr.
    ~OperationalLog();
    OperationalLog(const OperationalLog&) = delete;
    OperationalLog& operator=(const OperationalLog&) = delete;

    // Opens the path anew (log rotation).
    void reopen();

  private:
    class Sink;
    std::shared_ptr<Sink> sink_;
};

}  // namespace s3gate::control
