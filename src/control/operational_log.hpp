// The operational log: spdlog with a sink that never blocks its caller. Lines for a path go through
// a LogWriter. Lines for stderr are dropped if stderr does not take them at once, so an unread pipe
// stops neither health checks nor requests.
#pragma once

#include <cstdint>
#include <memory>

#include "s3gate/config/model.hpp"

namespace s3gate::control {

class OperationalLog {
  public:
    // Installs spdlog's default logger. Throws std::system_error when a path cannot be opened.
    explicit OperationalLog(const config::Log& config);
    // Writes the queued lines, for at most about a second; later messages go to stderr.
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
