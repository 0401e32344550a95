#include "operational_log.hpp"

#include <poll.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <mutex>
#include <string>
#include <utility>

#include "s3gate/config/log_level.hpp"
#include "s3gate/observe/access_log.hpp"
#include "s3gate/observe/journal.hpp"

namespace s3gate::control {
namespace {

constexpr const char* kPattern = "%Y-%m-%dT%H:%M:%S.%e%z [%l] %v";
// The journal adds time and level.
constexpr const char* kJournalPattern = "%v";

observe::Priority priority_of(spdlog::level::level_enum level) {
    switch (level) {
        case spdlog::level::trace:
        case spdlog::level::debug:
            return observe::Priority::debug;
        case spdlog::level::info:
            return observe::Priority::info;
        case spdlog::level::warn:
            return observe::Priority::warning;
        default:
            return observe::Priority::error;
    }
}

spdlog::level::level_enum level_of(config::LogLevel level) {
    switch (level) {
        case config::LogLevel::debug:
            return spdlog::level::debug;
        case config::LogLevel::info:
            return spdlog::level::info;
        case config::LogLevel::warn:
            return spdlog::level::warn;
        case config::LogLevel::error:
            break;
    }
    return spdlog::level::err;
}

// Writes lines to standard error without waiting. Lines that it does not take are lost and counted.
class StandardError {
  public:
    StandardError() {
        struct stat status{};
        is_socket_ = ::fstat(STDERR_FILENO, &status) == 0 && S_ISSOCK(status.st_mode);
    }

    bool is_journal() const { return is_journal_; }

    void write(std::string_view line) {
        if (lost_ > 0) {
            std::string note = is_torn_ ? "\n" : "";
            if (is_journal_) {
                note += observe::priority_prefix(observe::Priority::warning);
            }
            note += "(" + std::to_string(lost_) + " lines lost)\n";
            if (put(note) < note.size()) {
                ++lost_;
                return;
            }
            lost_ = 0;
            is_torn_ = false;
        }
        const std::size_t taken = put(line);
        if (taken < line.size()) {
            ++lost_;
            is_torn_ = taken > 0;
        }
    }

  private:
    std::size_t put(std::string_view text) const {
        if (is_socket_) {
            return taken_of(
                ::send(STDERR_FILENO, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
        }
        pollfd ready{STDERR_FILENO, POLLOUT, 0};
        if (::poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) {
            return 0;
        }
        // pipe(7): a pipe that polls writable takes PIPE_BUF bytes at once; a longer write could
        // block.
        return taken_of(::write(STDERR_FILENO, text.data(), text.size()));
    }
    static std::size_t taken_of(ssize_t result) {
        return result < 0 ? 0 : static_cast<std::size_t>(result);
    }

    bool is_socket_ = false;
    bool is_journal_ = observe::is_journal(STDERR_FILENO);
    bool is_torn_ = false;
    std::uint64_t lost_ = 0;
};

}  // namespace

std::shared_ptr<observe::LogWriter> open_log_target(const std::string& target) {
    return target == "stderr" ? nullptr : std::make_shared<observe::LogWriter>(target);
}

// spdlog serialises the calls with the sink's mutex.
class OperationalLog::Sink final : public spdlog::sinks::base_sink<std::mutex> {
  public:
    explicit Sink(std::shared_ptr<observe::LogWriter> writer) : writer_(std::move(writer)) {}

    bool is_journal() const { return !writer_ && standard_error_.is_journal(); }

    void reopen() {
        const std::lock_guard lock(mutex_);
        if (writer_) {
            writer_->reopen();
        }
    }

    // Returns the writer so that the caller ends it without the mutex: the writer's thread may log
    // meanwhile.
    std::shared_ptr<observe::LogWriter> exchange_writer(
        std::shared_ptr<observe::LogWriter> writer) {
        const std::lock_guard lock(mutex_);
        return std::exchange(writer_, std::move(writer));
    }

  protected:
    void sink_it_(const spdlog::details::log_msg& message) override {
        spdlog::memory_buf_t formatted;
        formatter_->format(message, formatted);
        std::string line(is_journal() ? observe::priority_prefix(priority_of(message.level)) : "");
        line.append(formatted.data(), formatted.size());
        if (line.size() > PIPE_BUF) {
            line.resize(PIPE_BUF - 1);
            line += '\n';
        }
        if (writer_) {
            writer_->submit(std::move(line), 1);
        } else {
            standard_error_.write(line);
        }
    }
    void flush_() override {}

  private:
    std::shared_ptr<observe::LogWriter> writer_;  // null: standard error
    StandardError standard_error_;
};

OperationalLog::OperationalLog(const config::Log& config)
    : target_(config.target),
      configured_(config.level),
      sink_(std::make_shared<Sink>(open_log_target(config.target))) {
    spdlog::set_default_logger(std::make_shared<spdlog::logger>("s3gate", sink_));
    apply();
}

OperationalLog::~OperationalLog() {
    sink_->exchange_writer(nullptr);
}

// The logger stays the same object: other threads use it without a lock.
void OperationalLog::apply() const {
    spdlog::set_pattern(sink_->is_journal() ? kJournalPattern : kPattern);
    spdlog::set_level(level_of(overridden_.value_or(configured_)));
}

void OperationalLog::override_level(std::optional<config::LogLevel> level) {
    overridden_ = level;
    apply();
}

void OperationalLog::announce(const std::string& message) {
    sink_->log({"s3gate", spdlog::level::info, message});
}

void OperationalLog::reopen() {
    sink_->reopen();
}

std::shared_ptr<observe::LogWriter> OperationalLog::use(
    const config::Log& config, std::shared_ptr<observe::LogWriter> writer) {
    std::shared_ptr<observe::LogWriter> old;
    if (config.target != target_) {
        target_ = config.target;
        old = sink_->exchange_writer(std::move(writer));
    }
    const bool is_over = overridden_ && config.level != configured_;
    configured_ = config.level;
    if (is_over) {
        overridden_.reset();
    }
    apply();
    if (is_over) {
        announce("log level " + std::string(config::word_of(configured_)) +
                 ": the configuration has another log.level now, which ends `log-level`");
    }
    return old;
}

}  // namespace s3gate::control
