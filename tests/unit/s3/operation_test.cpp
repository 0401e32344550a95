#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "s3gate/s3/operation.hpp"

namespace s3gate::s3 {
namespace {

struct Row {
    const char* method;
    const char* target;
    const char* operation;
};

// What the first look finds is the operation, by the method.
void expect_first_look_agrees(std::string_view method, std::string_view target) {
    const Path parts = path_of(target);
    const ObjectQuery query = object_query_of(parts.path, parts.query);
    if (query == ObjectQuery::other) {
        return;
    }
    const bool is_upload = query != ObjectQuery::object;
    const std::map<std::string_view, std::string_view> expected{
        {"GET", is_upload ? "ListParts" : "GetObject"},
        {"HEAD", "HeadObject"},
        {"PUT", query == ObjectQuery::part ? "UploadPart" : "PutObject"},
        {"DELETE", is_upload ? "AbortMultipartUpload" : "DeleteObject"}};
    if (const auto found = expected.find(method); found != expected.end()) {
        EXPECT_EQ(operation_of(method, parts, false), found->second) << method << ' ' << target;
    }
}

TEST(S3Operation, IsNamedByMethodPathAndQuery) {
    const std::vector<Row> rows = {
        {"GET", "/", "ListBuckets"},
        {"GET", "/?x-id=ListBuckets", "ListBuckets"},
        {"GET", "/?events=s3:ObjectCreated:*", "ListenNotification"},
        {"GET", "/?prefix=x&max-buckets=3&continuation-token=t", "ListBuckets"},
        // Requests for a bucket whose host no domain names.
        {"GET", "/?list-type=2", "-"},
        {"GET", "/?location", "-"},
        {"GET", "/?uploads", "-"},
        {"POST", "/?delete", "-"},
        {"POST", "/", "Sts"},
        {"HEAD", "/", "-"},
        {"PUT", "/b", "CreateBucket"},
        {"PUT", "/b/", "CreateBucket"},
        {"HEAD", "/b", "HeadBucket"},
        {"DELETE", "/b", "DeleteBucket"},
        {"GET", "/b", "ListObjects"},
        {"GET", "/b?prefix=x&delimiter=/", "ListObjects"},
        {"GET", "/b/?list-type=2&prefix=x", "ListObjectsV2"},
        {"GET", "/b?prefix=x&list-type=2", "ListObjectsV2"},
        {"GET", "/b?versions", "ListObjectVersions"},
        {"GET", "/b?uploads=", "ListMultipartUploads"},
        {"GET", "/b?location", "GetBucketLocation"},
        {"GET", "/b?acl", "GetBucketAcl"},
        {"PUT", "/b?acl", "PutBucketAcl"},
        {"GET", "/b?policy", "GetBucketPolicy"},
        {"PUT", "/b?policy", "PutBucketPolicy"},
        {"DELETE", "/b?policy", "DeleteBucketPolicy"},
        {"GET", "/b?policyStatus", "GetBucketPolicyStatus"},
        {"DELETE", "/b?lifecycle", "DeleteBucketLifecycle"},
        {"GET", "/b?object-lock", "GetObjectLockConfiguration"},
        {"GET", "/b?publicAccessBlock", "GetPublicAccessBlock"},
        {"GET", "/b?replication", "GetBucketReplication"},
        {"GET", "/b?events=x&prefix=", "ListenBucketNotification"},
        {"GET", "/b?website", "GetBucketWebsite"},
        {"GET", "/b?accelerate", "GetBucketAccelerateConfiguration"},
        {"PUT", "/b?versioning", "PutBucketVersioning"},
        {"POST", "/b?delete", "DeleteObjects"},
        {"GET", "/b?=x", "ListObjects"},
        {"GET", "/b?&&acl", "GetBucketAcl"},
        {"POST", "/b", "PostObject"},
        {"GET", "/b/k", "GetObject"},
        {"GET", "/b/a/b/c?versionId=3&partNumber=1", "GetObject"},
        {"GET", "/b/k?response-content-type=a", "GetObject"},
        {"HEAD", "/b/k", "HeadObject"},
        {"PUT", "/b/k", "PutObject"},
        {"PUT", "/b/k/", "PutObject"},
        {"DELETE", "/b/k", "DeleteObject"},
        {"GET", "/b/k?acl", "GetObjectAcl"},
        {"GET", "/b/k?attributes", "GetObjectAttributes"},
        {"GET", "/b/k?tagging", "GetObjectTagging"},
        {"PUT", "/b/k?tagging", "PutObjectTagging"},
        {"DELETE", "/b/k?tagging", "DeleteObjectTagging"},
        {"PUT", "/b/k?retention", "PutObjectRetention"},
        {"PUT", "/b/k?legal-hold", "PutObjectLegalHold"},
        {"POST", "/b/k?restore", "RestoreObject"},
        {"POST", "/b/k?select&select-type=2", "SelectObjectContent"},
        {"POST", "/b/k?uploads", "CreateMultipartUpload"},
        {"PUT", "/b/k?partNumber=1&uploadId=u", "UploadPart"},
        {"PUT", "/b/k?uploadId=u&partNumber=1", "UploadPart"},
        {"PUT", "/b/k?uploadId=u", "PutObject"},
        {"POST", "/b/k?uploadId=u", "CompleteMultipartUpload"},
        {"DELETE", "/b/k?uploadId=u", "AbortMultipartUpload"},
        {"GET", "/b/k?uploadId=u", "ListParts"},
        {"POST", "/b/k", "-"},
        {"PATCH", "/b/k", "-"},
        {"OPTIONS", "/b/k", "Preflight"},
        // A bucket's subresource has no meaning on an object, and vice versa.
        {"GET", "/b/k?location", "GetObject"},
        {"GET", "/b?attributes", "ListObjects"},
        // Names are case-sensitive, as in S3 servers.
        {"PUT", "/b/k?PARTNUMBER=1&UPLOADID=u", "PutObject"},
        {"GET", "/minio/health/ready", "HealthReady"},
        {"HEAD", "/minio/health/live?x", "HealthLive"},
        {"GET", "/minio/health/cluster", "HealthCluster"},
        {"GET", "/minio/health/cluster/read", "HealthClusterRead"},
        {"POST", "/minio/admin/v3/info", "Admin"},
        {"GET", "/minio/v2/metrics/cluster", "Metrics"},
        {"GET", "/minio/metrics/v3", "Metrics"},
        {"GET", "/minio/prometheus/metrics", "Metrics"},
        {"GET", "/minio/grid/v1", "Internode"},
        {"GET", "/minio/administrator.txt", "GetObject"},
        {"GET", "/minio/file", "GetObject"},
        {"GET", "/minio", "ListObjects"},
        {"GET", "http://h:9000/b/k", "GetObject"},
        {"GET", "http://h/", "ListBuckets"},
        {"GET", "http://h", "-"},
        {"GET", "http://h?acl", "-"},
        {"GET", "//k", "-"},
        {"OPTIONS", "*", "-"},
        {"GET", "", "-"},
        {"-", "-", "-"},
        {"get", "/b/k", "-"},
    };
    for (const Row& row : rows) {
        EXPECT_EQ(operation_of(row.method, path_of(row.target), false), row.operation)
            << row.method << ' ' << row.target;
        expect_first_look_agrees(row.method, row.target);
    }
}

TEST(S3Operation, TheFirstLookAgreesWithTheWhole) {
    const std::vector<std::string> arguments = {
        "uploadId=u",  "partNumber=1",
        "tagging",     "x-id=GetObject",
        "sessionid=1", "uploadId",
        "uploadIdx=1", "partNumbers",
        "uploads",     "acl=",
        "partNumber",  "",
        "versionId=v", "u",
        "retention=",  "list-type=2",
        "delete",      "uploadId=",
    };
    std::mt19937 random(3);
    for (int round = 0; round < 5000; ++round) {
        std::string target = random() % 8 == 0 ? "/b" : random() % 8 == 0 ? "/b/" : "/b/k";
        for (unsigned i = 0, count = random() % 4; i < count; ++i) {
            target += (i == 0 ? "?" : "&") + arguments[random() % arguments.size()];
        }
        for (const char* method : {"GET", "HEAD", "PUT", "DELETE"}) {
            expect_first_look_agrees(method, target);
        }
    }
}

TEST(S3Operation, TheFirstLookIsEnoughForWhatIsUsual) {
    EXPECT_EQ(object_query_of("/b/k", "sessionid=1&x-id=GetObject"), ObjectQuery::object);
    EXPECT_EQ(object_query_of("/b/k", "uploadId=u&partNumber=1"), ObjectQuery::part);
    EXPECT_EQ(object_query_of("/b/k", "x-id=UploadPart&partNumber=1&uploadId=u"),
              ObjectQuery::part);
    EXPECT_EQ(object_query_of("/b/k", "uploadId=u"), ObjectQuery::upload);
    EXPECT_EQ(object_query_of("/b/k", "x=1&tagging"), ObjectQuery::other);
    EXPECT_EQ(object_query_of("/b/k", "uploadId=u&tagging"), ObjectQuery::other);
    EXPECT_EQ(object_query_of("/b/", ""), ObjectQuery::other);
    EXPECT_EQ(object_query_of("//k", ""), ObjectQuery::other);
}

TEST(S3Operation, OfACopyHasItsOwnName) {
    EXPECT_EQ(operation_of("PUT", path_of("/b/k"), true), "CopyObject");
    EXPECT_EQ(operation_of("PUT", path_of("/b/k?partNumber=1&uploadId=u"), true), "UploadPartCopy");
    EXPECT_EQ(operation_of("PUT", path_of("/b/k?tagging"), true), "PutObjectTagging");
    EXPECT_EQ(operation_of("GET", path_of("/b/k"), true), "GetObject");
}

TEST(S3Operation, OfABucketInTheHostTakesTheWholePathForTheKey) {
    const std::vector<Row> rows = {
        {"GET", "/", "ListObjects"},
        {"GET", "/?list-type=2", "ListObjectsV2"},
        {"GET", "/?location", "GetBucketLocation"},
        {"GET", "/?events=x", "ListenBucketNotification"},
        {"PUT", "/", "CreateBucket"},
        {"HEAD", "/", "HeadBucket"},
        {"DELETE", "/", "DeleteBucket"},
        {"POST", "/", "PostObject"},
        {"POST", "/?delete", "DeleteObjects"},
        {"GET", "/key.txt", "GetObject"},
        {"PUT", "/key.txt", "PutObject"},
        {"DELETE", "/key.txt", "DeleteObject"},
        {"GET", "/a/b/c", "GetObject"},
        {"GET", "//", "GetObject"},
        {"GET", "/upstream/health/", "GetObject"},
        {"PUT", "/key?uploadId=u&partNumber=1", "UploadPart"},
        {"GET", "/minio", "GetObject"},
        {"GET", "/minio/file", "GetObject"},
        {"GET", "/minio/health/live", "HealthLive"},
        {"GET", "http://mine.s3.lab/key", "GetObject"},
        {"OPTIONS", "*", "-"},
    };
    for (const Row& row : rows) {
        EXPECT_EQ(operation_of(row.method, path_of(row.target, "mine"), false), row.operation)
            << row.method << ' ' << row.target;
    }
    EXPECT_EQ(path_of("/a/b?c", "mine").bucket, "mine");
    EXPECT_EQ(path_of("/a/b?c", "mine").key, "a/b");
}

TEST(S3Path, FindsTheBucketInTheHost) {
    const std::vector<std::string> domains = {"s3.lab", "eu.s3.lab"};
    const std::vector<std::pair<const char*, const char*>> rows = {
        {"mine.s3.lab", "mine"},
        {"mine.s3.lab:9000", "mine"},
        {"mine.s3.lab.", "mine"},
        {"mine.s3.lab.:9000", "mine"},
        {"Mine.S3.LAB", "Mine"},
        {"my.dotted.bucket.s3.lab", "my.dotted.bucket"},
        {"mine.eu.s3.lab", "mine"},
        {"eu.s3.lab", "eu"},
        {"s3.lab", ""},
        {".s3.lab", ""},
        {"mines3.lab", ""},
        {"mine.s3.lab.example", ""},
        {"s3.lab.mine", ""},
        {"10.0.0.1:9000", ""},
        {"[::1]:9000", ""},
        {"", ""},
    };
    for (const auto& [host, bucket] : rows) {
        EXPECT_EQ(bucket_of_host(host, domains), bucket) << host;
    }
    EXPECT_EQ(bucket_of_host("mine.s3.lab", {}), "");
}

}  // namespace
}  // namespace s3gate::s3
