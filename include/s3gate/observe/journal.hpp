// What systemd's journal wants from a program that writes to its standard error: a priority before
// each line (sd-daemon(3)); the time it notes itself.
#pragma once

#include <cstdint>
#include <string_view>

namespace s3gate::observe {

// True if the descriptor is the stream that systemd connected to the journal (systemd.exec(5),
// JOURNAL_STREAM). The variable alone says nothing: children inherit it with another stderr.
bool is_journal(int descriptor);

enum class Priority : std::uint8_t { error, warning, info, debug };
// "<4>"
std::string_view priority_prefix(Priority priority);
// The same where the descriptor is the journal's, empty elsewhere.
std::string_view journal_prefix(int descriptor, Priority priority);

}  // namespace s3gate::observe
