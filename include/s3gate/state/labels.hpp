// The values that the labels of metrics may have, where the traffic decides: closed sets, so that
// no client can make series. Their numbers are the places in figures.hpp. Pure.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "s3gate/config/model.hpp"

namespace s3gate::state {

// Operations that are counted apart, in the words of s3/operation.hpp; `-` is an unknown one, or
// one of a site of type http. The last place is for all others: most of them change the
// configuration of a bucket, and nobody has an alarm for one of those.
inline constexpr auto kOperations = std::to_array<std::string_view>({
    "GetObject",
    "HeadObject",
    "PutObject",
    "DeleteObject",
    "DeleteObjects",
    "CopyObject",
    "PostObject",
    "RenameObject",
    "GetObjectAttributes",
    "GetObjectTagging",
    "PutObjectTagging",
    "DeleteObjectTagging",
    "GetObjectAcl",
    "PutObjectAcl",
    "GetObjectRetention",
    "PutObjectRetention",
    "GetObjectLegalHold",
    "PutObjectLegalHold",
    "RestoreObject",
    "SelectObjectContent",
    "CreateMultipartUpload",
    "UploadPart",
    "UploadPartCopy",
    "CompleteMultipartUpload",
    "AbortMultipartUpload",
    "ListParts",
    "ListMultipartUploads",
    "ListBuckets",
    "ListObjects",
    "ListObjectsV2",
    "ListObjectVersions",
    "HeadBucket",
    "CreateBucket",
    "DeleteBucket",
    "GetBucketLocation",
    "GetBucketVersioning",
    "PutBucketVersioning",
    "GetBucketPolicy",
    "PutBucketPolicy",
    "GetBucketTagging",
    "PutBucketTagging",
    "GetBucketLifecycleConfiguration",
    "PutBucketLifecycleConfiguration",
    "GetBucketEncryption",
    "GetObjectLockConfiguration",
    "GetBucketReplication",
    "GetBucketCors",
    "GetBucketAcl",
    "GetBucketNotificationConfiguration",
    "ListenBucketNotification",
    "ListenNotification",
    "Sts",
    "Preflight",
    "Admin",
    "Kms",
    "Metrics",
    "Internode",
    "HealthReady",
    "HealthLive",
    "HealthCluster",
    "HealthClusterRead",
    "-",
    "other",
});
inline constexpr std::size_t kOtherOperation = kOperations.size() - 1;

// Finds the place of an operation with one comparison: four facts about a name tell the counted
// ones apart, and a multiplication without collisions makes a place in a small table of them.
struct OperationSlots {
    static constexpr unsigned kBits = 8;

    static constexpr std::uint32_t facts_of(std::string_view name) {
        const auto byte = [name](std::size_t at) {
            return static_cast<std::uint32_t>(static_cast<unsigned char>(name[at]));
        };
        return static_cast<std::uint32_t>(name.size() & 0xff) << 24 | byte(0) << 16 |
               byte(name.size() / 4) << 8 | byte(name.size() / 2);
    }
    constexpr std::size_t slot_of(std::string_view name) const {
        return (facts_of(name) * factor) >> (32 - kBits);
    }
    // False after a collision.
    constexpr bool fill() {
        places.fill(kOtherOperation);
        for (std::size_t i = 0; i < kOtherOperation; ++i) {
            std::uint8_t& place = places[slot_of(kOperations[i])];
            if (place != kOtherOperation) {
                return false;
            }
            place = static_cast<std::uint8_t>(i);
        }
        return true;
    }

    // Found by trying; one in a few thousand does.
    std::uint32_t factor = 0x8a245e6bU;
    std::array<std::uint8_t, std::size_t{1} << kBits> places{};
};
inline constexpr OperationSlots kOperationSlots = [] {
    OperationSlots slots;
    slots.fill();
    return slots;
}();
static_assert(OperationSlots().fill(), "two operations have one place: try other factors");

constexpr std::size_t place_of_operation(std::string_view name) {
    if (name.empty()) {
        return kOtherOperation;
    }
    const std::size_t place = kOperationSlots.places[kOperationSlots.slot_of(name)];
    return kOperations[place] == name ? place : kOtherOperation;
}

// Codes of our own answers; the last place is for all others.
inline constexpr auto kOwnCodes = std::to_array<std::string_view>(
    {"SlowDown", "ServiceUnavailable", "RequestTimeout", "InternalError", "InvalidRequest",
     "InvalidURI", "RequestHeaderSectionTooLarge", "AccessDenied", "other"});

// Causes of a retry: the words of the access log's field `upstreamerror`; the last place is for all
// others.
inline constexpr auto kRetryCauses = std::to_array<std::string_view>(
    {"status", "refused", "unreachable", "connect timeout", "out of descriptors", "stale", "lost",
     "reset", "closed", "broken answer", "no answer", "stopped reading", "went down", "other"});
// Rows of the retry table, from 0.
inline constexpr std::size_t kRetryRows = 8;

// config::KeySource::Kind in its order, then requests without a key.
inline constexpr auto kKeySources = std::to_array<std::string_view>(
    {"sessionid", "uploadid", "fingerprint", "cookie", "header", "none"});
constexpr std::size_t place_of(const config::KeySource* source) {
    return source == nullptr ? kKeySources.size() - 1 : static_cast<std::size_t>(source->kind);
}

// The place of a word; the last one if it is none of them.
template <std::size_t kCount>
constexpr std::size_t place_of(const std::array<std::string_view, kCount>& words,
                               std::string_view word) {
    const auto found = std::ranges::find(words, word);
    return found == words.end() ? kCount - 1 : static_cast<std::size_t>(found - words.begin());
}

// Why checks took a server's address down.
enum class DownReason : std::uint8_t { failed, unreachable };
inline constexpr std::array<std::string_view, 2> kDownReasons{"failed", "unreachable"};

}  // namespace s3gate::state
