#include "log_level.hpp"

#include <algorithm>
#include <boost/system/error_code.hpp>
#include <chrono>

#include "s3gate/config/duration.hpp"
#include "s3gate/config/log_level.hpp"

namespace s3gate::control {
namespace {

std::string text_of(config::LogLevel level) {
    return std::string(config::word_of(level));
}

}  // namespace

LogLevelSwitch::LogLevelSwitch(boost::asio::io_context& context, OperationalLog& log)
    : log_(log), end_(context) {}

CommandOutcome LogLevelSwitch::change(const LogLevelChange& change) {
    const std::string configured = text_of(log_.configured());
    ends_at_.reset();
    end_.cancel();
    CommandOutcome outcome;
    if (!change.level) {
        outcome.message = log_.overridden() ? "log level " + configured + ", as log.level says"
                                            : "log level " + configured + ": it was not changed";
        log_.override_level(std::nullopt);
    } else {
        log_.override_level(change.level);
        outcome.message = "log level " + text_of(*change.level);
        if (change.time) {
            await_end(*change.time);
            outcome.message +=
                " for " + config::print_duration(*change.time) + ", then " + configured;
        } else {
            outcome.message += " until `log-level default`";
        }
        outcome.message +=
            "; of this host only; a restart ends it, and a configuration with another log.level";
    }
    log_.announce(outcome.message + " (asked by " + change.asker + ")");
    return outcome;
}

void LogLevelSwitch::await_end(base::Duration time) {
    ends_at_ = base::Clock::now() + time;
    end_.expires_at(*ends_at_);
    end_.async_wait([this](boost::system::error_code error) {
        if (error || !log_.overridden()) {
            return;
        }
        ends_at_.reset();
        log_.override_level(std::nullopt);
        log_.announce("log level " + text_of(log_.configured()) +
                      " again: the time of `log-level` is over");
    });
}

std::optional<base::Duration> LogLevelSwitch::time_left() const {
    if (!ends_at_ || !log_.overridden()) {
        return std::nullopt;
    }
    return std::max(base::Duration{0},
                    std::chrono::duration_cast<base::Duration>(*ends_at_ - base::Clock::now()));
}

boost::json::object LogLevelSwitch::status() const {
    const auto overridden = log_.overridden();
    const auto left = time_left();
    boost::json::object out;
    out["level"] = text_of(overridden.value_or(log_.configured()));
    out["configured"] = text_of(log_.configured());
    out["changed"] = overridden.has_value();
    out["ends_in_seconds"] =
        left ? boost::json::value(std::chrono::ceil<std::chrono::seconds>(*left).count())
             : boost::json::value();
    return out;
}

std::optional<HandOver::LogLevel> LogLevelSwitch::hand_over() const {
    const auto overridden = log_.overridden();
    if (!overridden) {
        return std::nullopt;
    }
    return HandOver::LogLevel{text_of(*overridden), text_of(log_.configured()), time_left()};
}

void LogLevelSwitch::restore(const std::optional<HandOver::LogLevel>& before) {
    if (!before || before->configured != text_of(log_.configured())) {
        return;
    }
    if (const auto level = config::parse_log_level(before->level)) {
        log_.override_level(level);
        if (before->left) {
            await_end(*before->left);
        }
    }
}

}  // namespace s3gate::control
