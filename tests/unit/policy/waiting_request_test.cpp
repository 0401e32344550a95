#include "s3gate/policy/waiting_request.hpp"

#include <gtest/gtest.h>

namespace s3gate::policy {
namespace {

TEST(WaitsByNature, BucketNotifications) {
    EXPECT_TRUE(waits_by_nature("GET", "/bucket", "events=s3:ObjectCreated:*&prefix="));
    EXPECT_TRUE(waits_by_nature("GET", "/bucket/", "prefix=&suffix=&events=s3%3AObjectCreated"));
    EXPECT_TRUE(waits_by_nature("GET", "/", "ping=10&events=s3:BucketCreated:*"));
    EXPECT_FALSE(waits_by_nature("PUT", "/bucket", "events=s3:ObjectCreated:*"));
    EXPECT_FALSE(waits_by_nature("GET", "/bucket", "events="));
    EXPECT_FALSE(waits_by_nature("GET", "/bucket", "list-type=2&prefix=events=x"));
    EXPECT_FALSE(waits_by_nature("GET", "/bucket/events=x", ""));
    EXPECT_FALSE(waits_by_nature("GET", "/bucket/key", "events=s3:ObjectCreated:*"));
}

TEST(WaitsByNature, StreamsOfTheAdministrationApi) {
    for (const char* path :
         {"/minio/admin/v3/trace", "/minio/admin/v3/log", "/minio/admin/v3/speedtest",
          "/minio/admin/v3/speedtest/drive", "/minio/admin/v3/metrics", "/minio/admin/v4/trace",
          "/minio/admin/v3/bandwidth", "/minio/admin/v3/replication/diff"}) {
        EXPECT_TRUE(waits_by_nature("GET", path, "")) << path;
        EXPECT_TRUE(waits_by_nature("POST", path, "all=true")) << path;
    }
    for (const char* path :
         {"/minio/admin/v3/info", "/minio/admin/v3/tracer", "/minio/admin/v", "/minio/admin/v3",
          "/minio/admin/v3/", "/minio/health/ready", "/bucket/minio/admin/v3/trace", "/", "",
          "/minio/admin/v3/heal/bucket"}) {
        EXPECT_FALSE(waits_by_nature("GET", path, "")) << path;
    }
}

TEST(IsEventStream, ByItsMediaType) {
    EXPECT_TRUE(is_event_stream("text/event-stream"));
    EXPECT_TRUE(is_event_stream("Text/Event-Stream;charset=utf-8"));
    EXPECT_TRUE(is_event_stream("text/event-stream ; x=y"));
    EXPECT_FALSE(is_event_stream("text/event-streams"));
    EXPECT_FALSE(is_event_stream("text/plain"));
    EXPECT_FALSE(is_event_stream(""));
}

}  // namespace
}  // namespace s3gate::policy
