// Requests whose answers wait for events: silent between events, and some without an end. Pure; any
// thread.
#pragma once

#include <cstdint>
#include <string_view>

namespace s3gate::policy {

enum class Waiting : std::uint8_t {
    no,
    long_silence,  // silent while it works, then it ends
    endless,       // lasts until a side ends it; a stop does not wait for it
};

// `endless`: a bucket notification stream (`?events=`), and calls of MinIO's administration API
// that run until their client leaves (trace, logs, speed tests and the like). `long_silence`: the
// API's reports. `path` and `query` as received.
Waiting waiting_of(std::string_view method, std::string_view path, std::string_view query);

// True for `text/event-stream`, with or without parameters.
bool is_event_stream(std::string_view content_type);

}  // namespace s3gate::policy
