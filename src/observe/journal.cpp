#include "s3gate/observe/journal.hpp"

#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#include <cstdlib>
#include <string>

namespace s3gate::observe {

bool is_journal(int descriptor) {
    const char* const stream = std::getenv("JOURNAL_STREAM");
    struct stat status{};
    if (stream == nullptr || ::fstat(descriptor, &status) != 0) {
        return false;
    }
    return stream == std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino);
}

std::string_view priority_prefix(Priority priority) {
    switch (priority) {
        case Priority::error:
            return SD_ERR;
        case Priority::warning:
            return SD_WARNING;
        case Priority::info:
            return SD_INFO;
        case Priority::debug:
            break;
    }
    return SD_DEBUG;
}

std::string_view journal_prefix(int descriptor, Priority priority) {
    return is_journal(descriptor) ? priority_prefix(priority) : std::string_view();
}

}  // namespace s3gate::observe
