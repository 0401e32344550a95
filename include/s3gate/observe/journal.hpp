// The line format of systemd's journal on standard error: a priority before each line
// (sd-daemon(3)), no time.
#pragma once

#include <cstdint>
#include <string_view>

namespace s3gate::observe {

// True if systemd connected the descriptor to the journal (systemd.exec(5), JOURNAL_STREAM). The
// variable alone proves nothing: child processes inherit it with another stderr.
bool is_journal(int descriptor);

enum class Priority : std::uint8_t { error, warning, info, debug };
// "<4>"
std::string_view priority_prefix(Priority priority);
// The same if the descriptor is the journal's, else empty.
std::string_view journal_prefix(int descriptor, Priority priority);

}  // namespace s3gate::observe
