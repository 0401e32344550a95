#include "process_self.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <ctime>
#include <fstream>
#include <sstream>
#include <string>

#include "s3gate/base/text.hpp"

namespace s3gate::control {
namespace {

double seconds_of(clockid_t clock) {
    constexpr double kNanosecond = 1e-9;
    timespec now{};
    ::clock_gettime(clock, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * kNanosecond;
}

// Of proc(5): field 22 of stat is the start in clock ticks since the boot. The name, field 2, may
// hold spaces.
std::optional<double> find_start() {
    constexpr int kFieldsBefore = 20;  // from the end of the name on
    std::ifstream in("/proc/self/stat");
    std::string text;
    std::getline(in, text);
    const std::size_t name_end = text.rfind(')');
    if (name_end == std::string::npos) {
        return std::nullopt;
    }
    std::istringstream fields(text.substr(name_end));
    std::string field;
    for (int i = 0; i < kFieldsBefore; ++i) {
        fields >> field;
    }
    double ticks = 0;
    if (!(fields >> ticks)) {
        return std::nullopt;
    }
    const double age =
        seconds_of(CLOCK_BOOTTIME) - ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
    return seconds_of(CLOCK_REALTIME) - age;
}

}  // namespace

ProcessSelf::ProcessSelf()
    : memory_(::open("/proc/self/statm", O_RDONLY | O_CLOEXEC)),
      descriptors_(::opendir("/proc/self/fd")),
      started_at_(find_start()) {}

// The second number of statm, in pages.
std::optional<std::uint64_t> ProcessSelf::resident_bytes() const {
    std::array<char, 128> buffer{};
    const ssize_t size = ::pread(memory_.get(), buffer.data(), buffer.size(), 0);
    const std::string_view text(buffer.data(),
                                static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    const std::size_t begin = std::min(text.find(' '), text.size());
    const std::string_view rest = text.substr(std::min(begin + 1, text.size()));
    const auto pages = base::parse_decimal(rest.substr(0, rest.find(' ')));
    if (!pages) {
        return std::nullopt;
    }
    return *pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::optional<std::int64_t> ProcessSelf::open_descriptors() const {
    if (!descriptors_) {
        return std::nullopt;
    }
    ::rewinddir(descriptors_.get());
    std::int64_t count = -2;  // "." and ".."
    while (::readdir(descriptors_.get()) != nullptr) {
        ++count;
    }
    return count;
}

}  // namespace s3gate::control
