// The operational log: spdlog with a sink that never blocks its caller. Lines for a path go through
// a LogWriter. Lines for stderr are dropped if stderr does not take them at once, so an unread pipe
// stops neither health checks nor requests.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
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

    // While a level is set, it holds in place of the configuration's. A configuration with another
    // level than before ends that. Control thread, as use().
    void override_level(std::optional<config::LogLevel> level);
    std::optional<config::LogLevel> overridden() const { return overridden_; }
    config::LogLevel configured() const { return configured_; }
    // Writes an `info` message, whatever the level.
    void announce(const std::string& message);

  private:
    class Sink;
    void apply() const;

    std::string target_;
    config::LogLevel configured_;
    std::optional<config::LogLevel> overridden_;
    std::shared_ptr<Sink> sink_;
};

}  // namespace s3gate::control
