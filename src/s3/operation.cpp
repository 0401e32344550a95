#include "s3gate/s3/operation.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "minio_paths.hpp"
#include "s3gate/base/text.hpp"

namespace s3gate::s3 {
namespace {

constexpr std::string_view kUnknown = "-";

enum class Method { get, head, put, post, delete_, options, other };

Method method_of(std::string_view text) {
    if (text == "GET") {
        return Method::get;
    }
    if (text == "PUT") {
        return Method::put;
    }
    if (text == "HEAD") {
        return Method::head;
    }
    if (text == "POST") {
        return Method::post;
    }
    if (text == "DELETE") {
        return Method::delete_;
    }
    return text == "OPTIONS" ? Method::options : Method::other;
}

// An argument that selects an operation ("subresource"), and the operations it selects; empty where
// it selects none.
struct Subresource {
    std::string_view name;
    std::string_view bucket_get{};
    std::string_view bucket_put{};
    std::string_view bucket_delete{};
    std::string_view object_get{};
    std::string_view object_put{};
    std::string_view object_delete{};
    std::string_view object_post{};
};

// Sorted by name (bytewise) for the binary search; the assertion below keeps it so.
constexpr std::array kSubresources = std::to_array<Subresource>({
    {.name = "accelerate",
     .bucket_get = "GetBucketAccelerateConfiguration",
     .bucket_put = "PutBucketAccelerateConfiguration"},
    {.name = "acl",
     .bucket_get = "GetBucketAcl",
     .bucket_put = "PutBucketAcl",
     .object_get = "GetObjectAcl",
     .object_put = "PutObjectAcl"},
    {.name = "analytics",
     .bucket_get = "GetBucketAnalyticsConfiguration",
     .bucket_put = "PutBucketAnalyticsConfiguration",
     .bucket_delete = "DeleteBucketAnalyticsConfiguration"},
    {.name = "attributes", .object_get = "GetObjectAttributes"},
    {.name = "cors",
     .bucket_get = "GetBucketCors",
     .bucket_put = "PutBucketCors",
     .bucket_delete = "DeleteBucketCors"},
    {.name = "encryption",
     .bucket_get = "GetBucketEncryption",
     .bucket_put = "PutBucketEncryption",
     .bucket_delete = "DeleteBucketEncryption"},
    {.name = "events", .bucket_get = "ListenBucketNotification"},
    {.name = "intelligent-tiering",
     .bucket_get = "GetBucketIntelligentTieringConfiguration",
     .bucket_put = "PutBucketIntelligentTieringConfiguration",
     .bucket_delete = "DeleteBucketIntelligentTieringConfiguration"},
    {.name = "inventory",
     .bucket_get = "GetBucketInventoryConfiguration",
     .bucket_put = "PutBucketInventoryConfiguration",
     .bucket_delete = "DeleteBucketInventoryConfiguration"},
    {.name = "legal-hold", .object_get = "GetObjectLegalHold", .object_put = "PutObjectLegalHold"},
    {.name = "lifecycle",
     .bucket_get = "GetBucketLifecycleConfiguration",
     .bucket_put = "PutBucketLifecycleConfiguration",
     .bucket_delete = "DeleteBucketLifecycle"},
    {.name = "location", .bucket_get = "GetBucketLocation"},
    {.name = "logging", .bucket_get = "GetBucketLogging", .bucket_put = "PutBucketLogging"},
    {.name = "metrics",
     .bucket_get = "GetBucketMetricsConfiguration",
     .bucket_put = "PutBucketMetricsConfiguration",
     .bucket_delete = "DeleteBucketMetricsConfiguration"},
    {.name = "notification",
     .bucket_get = "GetBucketNotificationConfiguration",
     .bucket_put = "PutBucketNotificationConfiguration"},
    {.name = "object-lock",
     .bucket_get = "GetObjectLockConfiguration",
     .bucket_put = "PutObjectLockConfiguration"},
    {.name = "ownershipControls",
     .bucket_get = "GetBucketOwnershipControls",
     .bucket_put = "PutBucketOwnershipControls",
     .bucket_delete = "DeleteBucketOwnershipControls"},
    {.name = "policy",
     .bucket_get = "GetBucketPolicy",
     .bucket_put = "PutBucketPolicy",
     .bucket_delete = "DeleteBucketPolicy"},
    {.name = "policyStatus", .bucket_get = "GetBucketPolicyStatus"},
    {.name = "publicAccessBlock",
     .bucket_get = "GetPublicAccessBlock",
     .bucket_put = "PutPublicAccessBlock",
     .bucket_delete = "DeletePublicAccessBlock"},
    {.name = "renameObject", .object_put = "RenameObject"},
    {.name = "replication",
     .bucket_get = "GetBucketReplication",
     .bucket_put = "PutBucketReplication",
     .bucket_delete = "DeleteBucketReplication"},
    {.name = "requestPayment",
     .bucket_get = "GetBucketRequestPayment",
     .bucket_put = "PutBucketRequestPayment"},
    {.name = "restore", .object_post = "RestoreObject"},
    {.name = "retention", .object_get = "GetObjectRetention", .object_put = "PutObjectRetention"},
    {.name = "select", .object_post = "SelectObjectContent"},
    {.name = "session", .bucket_get = "CreateSession"},
    {.name = "tagging",
     .bucket_get = "GetBucketTagging",
     .bucket_put = "PutBucketTagging",
     .bucket_delete = "DeleteBucketTagging",
     .object_get = "GetObjectTagging",
     .object_put = "PutObjectTagging",
     .object_delete = "DeleteObjectTagging"},
    {.name = "torrent", .object_get = "GetObjectTorrent"},
    {.name = "uploadId",
     .object_get = "ListParts",
     .object_delete = "AbortMultipartUpload",
     .object_post = "CompleteMultipartUpload"},
    {.name = "uploads",
     .bucket_get = "ListMultipartUploads",
     .object_post = "CreateMultipartUpload"},
    {.name = "versioning",
     .bucket_get = "GetBucketVersioning",
     .bucket_put = "PutBucketVersioning"},
    {.name = "versions", .bucket_get = "ListObjectVersions"},
    {.name = "website",
     .bucket_get = "GetBucketWebsite",
     .bucket_put = "PutBucketWebsite",
     .bucket_delete = "DeleteBucketWebsite"},
});
static_assert(std::is_sorted(kSubresources.begin(), kSubresources.end(),
                             [](const Subresource& a, const Subresource& b) {
                                 return a.name < b.name;
                             }));

constexpr base::NameFilter kSubresourceNames(kSubresources);

// For each first letter (its low five bits) a bit for each length of a subresource's name.
constexpr auto kLengths = [] {
    std::array<std::uint32_t, 32> out{};
    for (const Subresource& row : kSubresources) {
        out[row.name.front() & 31] |= 1U << row.name.size();
    }
    return out;
}();

// False only if the first argument is none. The end of a name is looked for where a name could end.
inline bool may_begin_with_subresource(std::string_view query) {
    for (std::uint32_t lengths = kLengths[query.front() & 31]; lengths != 0;
         lengths &= lengths - 1) {
        const auto length = static_cast<std::size_t>(std::countr_zero(lengths));
        if (query.size() > length ? query[length] == '=' || query[length] == '&'
                                  : query.size() == length) {
            return true;
        }
    }
    return false;
}

// True if the first argument has exactly that name.
inline bool begins_with_argument(std::string_view query, std::string_view name) {
    return query.starts_with(name) &&
           (query.size() == name.size() || query[name.size()] == '=' || query[name.size()] == '&');
}

const Subresource* find_subresource(std::string_view name) {
    if (!kSubresourceNames.may_hold(name)) {
        return nullptr;  // true of most arguments; a presigned URL has many
    }
    const auto* found = std::lower_bound(
        kSubresources.begin(), kSubresources.end(), name,
        [](const Subresource& row, std::string_view wanted) { return row.name < wanted; });
    return found != kSubresources.end() && found->name == name ? found : nullptr;
}

// The parts of a query that matter: the first subresource, and three arguments that count only
// together.
struct QueryFacts {
    std::string_view operation;  // empty: no subresource
    bool has_upload_id = false;
    bool has_part_number = false;
    bool is_list_v2 = false;
    bool is_delete = false;
};

// Names are compared exactly: S3 servers do not fold their case, and no client escapes them.
QueryFacts read_query(std::string_view query, std::string_view Subresource::* meaning) {
    QueryFacts facts;
    while (!query.empty()) {
        const std::size_t end = std::min(query.find('&'), query.size());
        const std::string_view argument = query.substr(0, end);
        query.remove_prefix(end == query.size() ? end : end + 1);
        const std::string_view name = argument.substr(0, argument.find('='));
        facts.has_upload_id |= name == "uploadId";
        facts.has_part_number |= name == "partNumber";
        facts.is_list_v2 |= argument == "list-type=2";
        facts.is_delete |= name == "delete";
        if (facts.operation.empty() && meaning != nullptr) {
            if (const Subresource* row = find_subresource(name)) {
                facts.operation = row->*meaning;
            }
        }
    }
    return facts;
}

std::string_view service_operation(Method method, std::string_view query) {
    const QueryFacts facts = read_query(query, &Subresource::bucket_get);
    if (method == Method::get) {
        if (facts.operation == "ListenBucketNotification") {
            return "ListenNotification";
        }
        return facts.operation.empty() && !facts.is_list_v2 ? "ListBuckets" : kUnknown;
    }
    // The action is in the form of the body, which is not read.
    return method == Method::post && !facts.is_delete ? "Sts" : kUnknown;
}

std::string_view bucket_operation(Method method, std::string_view query) {
    switch (method) {
        case Method::get: {
            const QueryFacts facts = read_query(query, &Subresource::bucket_get);
            if (!facts.operation.empty()) {
                return facts.operation;
            }
            return facts.is_list_v2 ? "ListObjectsV2" : "ListObjects";
        }
        case Method::put: {
            const QueryFacts facts = read_query(query, &Subresource::bucket_put);
            return facts.operation.empty() ? "CreateBucket" : facts.operation;
        }
        case Method::delete_: {
            const QueryFacts facts = read_query(query, &Subresource::bucket_delete);
            return facts.operation.empty() ? "DeleteBucket" : facts.operation;
        }
        case Method::head:
            return "HeadBucket";
        case Method::post:
            return read_query(query, nullptr).is_delete ? "DeleteObjects" : "PostObject";
        default:
            return kUnknown;
    }
}

std::string_view object_operation(Method method, std::string_view query, bool has_copy_source) {
    switch (method) {
        case Method::get: {
            const QueryFacts facts = read_query(query, &Subresource::object_get);
            return facts.operation.empty() ? "GetObject" : facts.operation;
        }
        case Method::head:
            return "HeadObject";
        case Method::put: {
            const QueryFacts facts = read_query(query, &Subresource::object_put);
            if (facts.has_upload_id && facts.has_part_number) {
                return has_copy_source ? "UploadPartCopy" : "UploadPart";
            }
            if (!facts.operation.empty()) {
                return facts.operation;
            }
            return has_copy_source ? "CopyObject" : "PutObject";
        }
        case Method::delete_: {
            const QueryFacts facts = read_query(query, &Subresource::object_delete);
            return facts.operation.empty() ? "DeleteObject" : facts.operation;
        }
        case Method::post: {
            const QueryFacts facts = read_query(query, &Subresource::object_post);
            return facts.operation.empty() ? kUnknown : facts.operation;
        }
        default:
            return kUnknown;
    }
}

}  // namespace

ObjectQuery object_query_of(std::string_view path, std::string_view query) {
    const std::size_t slash = path.find('/', 1);
    if (slash == std::string_view::npos || slash + 1 >= path.size() || slash == 1 ||
        path.starts_with("/minio/")) {
        return ObjectQuery::other;
    }
    bool has_upload_id = false;
    bool has_part_number = false;
    while (!query.empty()) {
        const bool may_ask = may_begin_with_subresource(query);
        if (begins_with_argument(query, "partNumber")) {
            has_part_number = true;
        } else if (may_ask) {
            if (!begins_with_argument(query, "uploadId")) {
                return ObjectQuery::other;
            }
            has_upload_id = true;
        }
        const std::size_t end = query.find('&');
        query.remove_prefix(end == std::string_view::npos ? query.size() : end + 1);
    }
    return !has_upload_id    ? ObjectQuery::object
           : has_part_number ? ObjectQuery::part
                             : ObjectQuery::upload;
}

std::string_view operation_of(std::string_view method, const Path& parts, bool has_copy_source) {
    if (parts.path.empty()) {
        return kUnknown;
    }
    if (parts.path.starts_with("/minio/")) {
        const std::string_view operation = operation_of_minio_path(parts.path);
        if (!operation.empty()) {
            return operation;
        }
    }
    const Method which = method_of(method);
    if (which == Method::options) {
        return "Preflight";
    }
    if (parts.bucket.empty()) {
        return parts.key.empty() ? service_operation(which, parts.query) : kUnknown;
    }
    return parts.key.empty() ? bucket_operation(which, parts.query)
                             : object_operation(which, parts.query, has_copy_source);
}

}  // namespace s3gate::s3
