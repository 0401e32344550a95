// The level of the operational log that an operator has set, in place of log.level: for a time, or
// until the configuration says another one. It survives reloads and upgrades, and ends with the
// service. Control thread only.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/json/object.hpp>
#include <optional>
#include <string>

#include "commands.hpp"
#include "hand_over.hpp"
#include "operational_log.hpp"
#include "s3gate/base/clock.hpp"
#include "s3gate/config/model.hpp"
#include "timer.hpp"

namespace s3gate::control {

class LogLevelSwitch {
  public:
    // `log` must outlive the object.
    LogLevelSwitch(boost::asio::io_context& context, OperationalLog& log);

    // Sets the level, or ends that (`change` without a level). The outcome is logged, whatever the
    // level.
    CommandOutcome change(const LogLevelChange& change);
    // `level`, `configured`, `changed`, `ends_in_seconds` (null: never by itself).
    boost::json::object status() const;

    // For a successor; nullopt where no operator has set a level.
    std::optional<HandOver::LogLevel> hand_over() const;
    // What the process before had; not where log.level is another one now.
    void restore(const std::optional<HandOver::LogLevel>& before);

  private:
    void await_end(base::Duration time);
    std::optional<base::Duration> time_left() const;

    OperationalLog& log_;
    Timer end_;
    std::optional<base::TimePoint> ends_at_;
};

}  // namespace s3gate::control
