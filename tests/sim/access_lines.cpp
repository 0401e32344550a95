#include "access_lines.hpp"

#include <utility>

#include "s3gate/observe/access_log.hpp"

namespace s3gate {
namespace {

std::string collected;

}  // namespace

namespace observe {

struct LogWriter::Impl {
    bool is_enabled = false;
    std::uint64_t written = 0;
};

LogWriter::LogWriter(const std::string& target)
    : impl_(std::make_shared<Impl>(Impl{.is_enabled = target != "off"})) {
    collected.clear();
}

LogWriter::~LogWriter() = default;

bool LogWriter::enabled() const {
    return impl_->is_enabled;
}

std::uint64_t LogWriter::submit(std::string&& lines, std::uint64_t line_count) {
    collected += std::exchange(lines, {});
    impl_->written += line_count;
    return 0;
}

void LogWriter::reopen() {}

std::uint64_t LogWriter::dropped_lines() const {
    return 0;
}

std::uint64_t LogWriter::written_lines() const {
    return impl_->written;
}

}  // namespace observe

std::string sim::take_access_lines() {
    return std::exchange(collected, {});
}

}  // namespace s3gate
