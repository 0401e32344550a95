#include "s3gate/policy/waiting_request.hpp"

#include <gtest/gtest.h>

namespace s3gate::policy {
namespace {

TEST(WaitingOf, BucketNotificationsAreEndless) {
    const auto is_endless = [](auto method, auto path, auto query) {
        return waiting_of(method, path, query) == Waiting::endless;
    };
    EXPECT_TRUE(is_endless("GET", "/bucket", "events=s3:ObjectCreated:*&prefix="));
    EXPECT_TRUE(is_endless("GET", "/bucket/", "prefix=&suffix=&events=s3%3AObjectCreated"));
    EXPECT_TRUE(is_endless("GET", "/", "ping=10&events=s3:BucketCreated:*"));
    EXPECT_FALSE(is_endless("PUT", "/bucket", "events=s3:ObjectCreated:*"));
    EXPECT_FALSE(is_endless("GET", "/bucket", "events="));
    EXPECT_FALSE(is_endless("GET", "/bucket", "list-type=2&prefix=events=x"));
    EXPECT_FALSE(is_endless("GET", "/bucket/events=x", ""));
    EXPECT_FALSE(is_endless("GET", "/bucket/key", "events=s3:ObjectCreated:*"));
}

TEST(WaitingOf, CallsOfTheAdministrationApi) {
    for (const char* path :
         {"/minio/admin/v3/trace", "/minio/admin/v3/log", "/minio/admin/v3/speedtest",
          "/minio/admin/v3/speedtest/drive", "/minio/admin/v3/metrics", "/minio/admin/v4/trace",
          "/minio/admin/v3/bandwidth"}) {
        EXPECT_EQ(waiting_of("GET", path, ""), Waiting::endless) << path;
        EXPECT_EQ(waiting_of("POST", path, "all=true"), Waiting::endless) << path;
    }
    for (const char* path :
         {"/minio/admin/v3/heal/bucket", "/minio/admin/v3/profile", "/minio/admin/v3/inspect-data",
          "/minio/admin/v3/healthinfo", "/minio/admin/v3/replication/diff"}) {
        EXPECT_EQ(waiting_of("POST", path, ""), Waiting::long_silence) << path;
    }
    for (const char* path :
         {"/minio/admin/v3/info", "/minio/admin/v3/tracer", "/minio/admin/v", "/minio/admin/v3",
          "/minio/admin/v3/", "/minio/health/ready", "/bucket/minio/admin/v3/trace", "/", ""}) {
        EXPECT_EQ(waiting_of("GET", path, ""), Waiting::no) << path;
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
