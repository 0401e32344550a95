// Requests whose answers wait by nature: they last until somebody ends them, and are silent while
// nothing happens. Pure; any thread.
#pragma once

#include <string_view>

namespace s3gate::policy {

// True for a bucket notification stream (`?events=`) and for the streams of MinIO's administration
// API (trace, logs, speed tests and their like). `path` and `query` as received.
bool waits_by_nature(std::string_view method, std::string_view path, std::string_view query);

// True for a media type of which an answer has no end that could be waited for (`text/event-stream`,
// with or without parameters).
bool is_event_stream(std::string_view content_type);

}  // namespace s3gate::policy
