#include "s3gate/policy/waiting_request.hpp"

#include <algorithm>
#include <array>

#include "s3gate/base/text.hpp"
#include "s3gate/policy/affinity_key.hpp"

namespace s3gate::policy {
namespace {

constexpr std::string_view kAdmin = "/minio/admin/v";

// Behind /minio/admin/vN/, also with further segments (speedtest/drive). MinIO: cmd/admin-router.go,
// the handlers that send something every now and then until the client leaves.
constexpr std::array<std::string_view, 7> kStreams = {"trace",     "log",     "logs",
                                                      "speedtest", "metrics", "bandwidth",
                                                      "replication"};

bool is_admin_stream(std::string_view path) {
    const std::size_t version_end = path.find('/', kAdmin.size());
    if (version_end == std::string_view::npos) {
        return false;
    }
    path.remove_prefix(version_end + 1);
    const std::string_view name = path.substr(0, path.find('/'));
    return std::ranges::find(kStreams, name) != kStreams.end();
}

// "/", "/bucket" or "/bucket/": what has a key is no bucket, and needs no look at its query.
bool is_bucket_level(std::string_view path) {
    const std::size_t slash = path.find('/', 1);
    return slash == std::string_view::npos || slash + 1 == path.size();
}

}  // namespace

bool waits_by_nature(std::string_view method, std::string_view path, std::string_view query) {
    if (path.starts_with(kAdmin)) {
        return is_admin_stream(path);
    }
    return !query.empty() && is_bucket_level(path) && method == "GET" &&
           !find_argument(query, "events").empty();
}

bool is_event_stream(std::string_view content_type) {
    constexpr std::string_view kType = "text/event-stream";
    return base::istarts_with(content_type, kType) &&
           (content_type.size() == kType.size() ||
            std::string_view(" \t;").find(content_type[kType.size()]) != std::string_view::npos);
}

}  // namespace s3gate::policy
