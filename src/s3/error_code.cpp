#include "s3gate/s3/error_code.hpp"

#include <algorithm>
#include <array>

namespace s3gate::s3 {
namespace {

struct KnownCode {
    std::string_view code;
    CodeMeaning meaning;
};

// MinIO: cmd/api-errors.go. Ceph: src/rgw/rgw_common.cc, rgw_http_errors. AWS: "Error responses",
// list of error codes, of the S3 API reference.
constexpr auto kKnownCodes = std::to_array<KnownCode>({
    // AWS and Ceph: a rate limit, or a full queue.
    {"SlowDown", CodeMeaning::load},
    // MinIO, 429: its queue of requests is full.
    {"TooManyRequests", CodeMeaning::load},
    // MinIO's /minio/health/live and ready, while the queue is longer than its pool.
    {"ServerBusy", CodeMeaning::load},
    // AWS, SelectObjectContent.
    {"Busy", CodeMeaning::load},
    // MinIO: a lock was not available in time; the next node competes for the same lock.
    {"RequestTimeout", CodeMeaning::load},
    // MinIO: too few drives answer this node for a read or a write. For 8 to 16 s after a restart
    // this is true of some nodes only.
    {"SlowDownRead", CodeMeaning::not_ready},
    {"SlowDownWrite", CodeMeaning::not_ready},
    // MinIO: this node has not read its configuration yet.
    {"XMinioServerNotInitialized", CodeMeaning::not_ready},
    {"XMinioIAMNotInitialized", CodeMeaning::not_ready},
    {"XMinioBucketMetadataNotInitialized", CodeMeaning::not_ready},
    {"STSNotInitialized", CodeMeaning::not_ready},
    {"STSIAMNotInitialized", CodeMeaning::not_ready},
    // MinIO: as SlowDownWrite, for its configuration.
    {"XMinioAdminConfigNoQuorum", CodeMeaning::not_ready},
});

}  // namespace

CodeMeaning meaning_of_code(std::string_view code) {
    const auto* const known = std::ranges::find(kKnownCodes, code, &KnownCode::code);
    return known == kKnownCodes.end() ? CodeMeaning::other : known->meaning;
}

}  // namespace s3gate::s3
