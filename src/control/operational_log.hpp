// The operational log: spdlog with a sink that never blocks its caller. Lines for a path go through
// a LogWriter. Lines for stderr are dropped if stderr does not take them at once, so an unread pipe
// stops neither health checks nor requests.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "s3gate/config/model.hpp"
#include "s3gate/observe/access_log.hpp"

namespace s3gate::control {

// Opens a target of the configuration's `log`; null for stderr. Throws std::system_error when a
// path cannot be opened. Any thread; blocks on the disk.
std::shared_ptr<observe::LogWriter> open_log_target(const std::string& target);

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

    // From now on level and target are those of `config`. `writer` has that target open; null for
    // stderr, and where the target stays. Returns the writer of the target before, if that is
    // another one: its end may take a second.
    std::shared_ptr<observe::LogWriter> use(const config::Log& config,
                                            std::shared_ptr<observe::LogWriter> writer);

  private:
    class Sink;
    void apply(const config::Log& config) const;

    std::string target_;
    std::shared_ptr<Sink> sink_;
};

}  // namespace s3gate::control
