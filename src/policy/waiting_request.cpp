#include "s3gate/policy/waiting_request.hpp"

#include <algorithm>
#include <array>

#include "s3gate/base/text.hpp"
#include "s3gate/policy/affinity_key.hpp"

namespace s3gate::policy {
namespace {

constexpr std::string_view kAdmin = "/minio/admin/v";

struct AdminCall {
    std::string_view name;
    Waiting waiting;
};

// After /minio/admin/vN/, also with further segments (speedtest/drive). MinIO: cmd/admin-router.go
// and the handlers.
constexpr auto kAdminCalls = std::to_array<AdminCall>({
    {"trace", Waiting::endless},
    {"log", Waiting::endless},
    {"speedtest", Waiting::endless},
    {"metrics", Waiting::endless},
    {"bandwidth", Waiting::endless},
    {"profile", Waiting::long_silence},
    {"inspect-data", Waiting::long_silence},
    {"healthinfo", Waiting::long_silence},
    {"obdinfo", Waiting::long_silence},
    {"heal", Waiting::long_silence},
    {"replication", Waiting::long_silence},
});

Waiting waiting_of_admin_call(std::string_view path) {
    const std::size_t version_end = path.find('/', kAdmin.size());
    if (version_end == std::string_view::npos) {
        return Waiting::no;
    }
    path.remove_prefix(version_end + 1);
    const auto* const call =
        std::ranges::find(kAdminCalls, path.substr(0, path.find('/')), &AdminCall::name);
    return call == kAdminCalls.end() ? Waiting::no : call->waiting;
}

// "/", "/bucket" or "/bucket/". A path with a key cannot match, so its query is not searched.
bool is_bucket_level(std::string_view path) {
    const std::size_t slash = path.find('/', 1);
    return slash == std::string_view::npos || slash + 1 == path.size();
}

}  // namespace

Waiting waiting_of(std::string_view method, std::string_view path, std::string_view query) {
    if (path.starts_with(kAdmin)) {
        return waiting_of_admin_call(path);
    }
    const bool is_listener = !query.empty() && is_bucket_level(path) && method == "GET" &&
                             !find_argument(query, "events").empty();
    return is_listener ? Waiting::endless : Waiting::no;
}

bool is_event_stream(std::string_view content_type) {
    constexpr std::string_view kType = "text/event-stream";
    return base::istarts_with(content_type, kType) &&
           (content_type.size() == kType.size() ||
            std::string_view(" \t;").find(content_type[kType.size()]) != std::string_view::npos);
}

}  // namespace s3gate::policy
