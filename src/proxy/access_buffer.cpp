#include "access_buffer.hpp"

#include <ctime>
#include <utility>

#include "s3gate/http/local_reply.hpp"

namespace s3gate::proxy {
namespace {

constexpr std::size_t kFlushBytes = 60 * 1024;  // docs/architecture.md

}  // namespace

AccessBuffer::AccessBuffer(std::shared_ptr<observe::LogWriter> writer, const std::string& hostname)
    : writer_(std::move(writer)), line_(hostname) {}

std::uint64_t AccessBuffer::use(std::shared_ptr<observe::LogWriter> writer) {
    if (writer == writer_) {
        return 0;
    }
    const std::uint64_t dropped = flush();
    writer_ = std::move(writer);
    return dropped;
}

std::uint64_t AccessBuffer::add(const observe::RequestRecord& record, base::TimePoint now) {
    if (!writer_->enabled()) {
        return 0;
    }
    line_.append(text_, record,
                 wall_at_zero_ + std::chrono::duration_cast<std::chrono::system_clock::duration>(
                                     now.time_since_epoch()));
    ++lines_;
    return text_.size() >= kFlushBytes ? flush() : 0;
}

std::uint64_t AccessBuffer::flush() {
    if (lines_ == 0) {
        return 0;
    }
    const std::uint64_t dropped = writer_->submit(std::move(text_), std::exchange(lines_, 0));
    text_.clear();
    text_.reserve(observe::LogWriter::kBlockBytes);
    return dropped;
}

void AccessBuffer::set_wall_clock() {
    wall_at_zero_ = std::chrono::system_clock::now() -
                    std::chrono::duration_cast<std::chrono::system_clock::duration>(
                        base::Clock::now().time_since_epoch());
}

const std::string& DateText::now() {
    const std::int64_t second = std::time(nullptr);
    if (second != second_) {
        second_ = second;
        text_ = http::imf_fixdate(second);
    }
    return text_;
}

}  // namespace s3gate::proxy
