// Requests whose answers wait by nature: they are silent while nothing happens, and some last until
// somebody ends them. Pure; any thread.
#pragma once

#include <cstdint>
#include <string_view>

namespace s3gate::policy {

enum class Waiting : std::uint8_t {
    no,
    long_silence,  // silent for as long as its work takes, and then it ends
    endless,       // lasts until somebody ends it: a stop does not wait for that
};

// `endless`: a bucket notification stream (`?events=`), and of MinIO's administration API what runs
// until its client leaves (trace, logs, speed tests and their like). `long_silence`: its reports.
// `path` and `query` as received.
Waiting waiting_of(std::string_view method, std::string_view path, std::string_view query);

// True for `text/event-stream`, with or without parameters.
bool is_event_stream(std::string_view content_type);

}  // namespace s3gate::policy
