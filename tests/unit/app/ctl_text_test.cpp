#include "ctl_text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <string>

namespace s3gate::app {
namespace {

namespace json = boost::json;
using testing::HasSubstr;
using testing::Not;

TEST(Aligned, FillsAllColumnsButTheLast) {
    EXPECT_EQ(aligned({{"A", "B"}, {"long", "x"}, {"ü", "y"}}, 2),
              "  A     B\n"
              "  long  x\n"
              "  ü     y\n");
    EXPECT_EQ(aligned({}, 2), "");
}

TEST(PrintAge, HasAtMostTwoUnits) {
    EXPECT_EQ(print_age(0), "0 s");
    EXPECT_EQ(print_age(59.9), "59 s");
    EXPECT_EQ(print_age(-3), "0 s");
    EXPECT_EQ(print_age(60), "1 m");
    EXPECT_EQ(print_age(3600), "1 h");
    EXPECT_EQ(print_age(11'530), "3 h 12 m");
    EXPECT_EQ(print_age(183'600), "2 d 3 h");
}

constexpr const char* kStatus = R"({
  "version": "0.1.0", "pid": 42, "phase": "standby", "standby": true, "uptime_seconds": 11530,
  "health": {"healthy": false, "reason": "standby"},
  "config": {"file": "/etc/s3gate/s3gate.yaml", "generation": 3,
             "loaded_at": "2026-01-31T12:00:00Z", "age_seconds": 65, "old_generations": 1,
             "differs_from_disk": true, "confirm_within_seconds": 40, "reload_running": true,
             "pending_restart": ["workers", "user"], "addresses_problem": "no room",
             "ring_digest": "885e12797b180b458bf91da0abb45fdc"},
  "overrides": [
    {"group": "minio", "server": "n1:9000", "state": "sessions", "since": "2026-01-31T12:01:00Z",
     "by": "root, pid 7", "requests": 12, "requests_in_old_processes": 0},
    {"group": "minio", "server": "n2:9000", "state": "maintenance", "by": "root, pid 8",
     "since": "2026-01-31T12:02:00Z", "requests": 1, "requests_in_old_processes": 3}],
  "requests": 12, "connections": 3, "workers": [{"connections": 1}, {"connections": 2}],
  "sites": [{"name": "s3", "connections": 3, "groups": [
    {"name": "minio", "checks": true, "requests": 12, "waiting": 2, "servers": [
      {"server": "n1:9000", "backup": false, "down": false, "drained": false,
       "override": "sessions", "addresses": [
        {"address": "10.0.0.1:9000", "up": true, "recovering": false, "marked": false,
         "in_flight": 7},
        {"address": "10.0.0.2:9000", "up": true, "recovering": false, "marked": true,
         "in_flight": 5}]},
      {"server": "n2:9000", "backup": true, "down": false, "drained": false,
       "override": "maintenance", "addresses": [
        {"address": "10.0.0.3:9000", "up": false, "recovering": true, "marked": false,
         "in_flight": 0}]},
      {"server": "n3:9000", "backup": false, "down": false, "drained": true, "addresses": []},
      {"server": "n4:9000", "backup": false, "down": false, "drained": false, "addresses": []}]}]}],
  "counters": {"requests": 99, "retries": 0}
})";

TEST(StatusText, IsMadeOfAlignedColumns) {
    EXPECT_EQ(
        status_text(json::parse(kStatus).as_object()),
        "s3gate 0.1.0, pid 42, up 3 h 12 m: standby\n"
        "/healthz answers 503: standby\n"
        "configuration /etc/s3gate/s3gate.yaml, generation 3, loaded 1 m ago "
        "(2026-01-31T12:00:00Z)\n"
        "ring digest 885e12797b180b458bf91da0abb45fdc\n"
        "1 old generation still in use\n"
        "to be confirmed within 40 s: s3gate ctl confirm\n"
        "running differs from disk\n"
        "a reload is running\n"
        "a restart is pending: workers, user\n"
        "new addresses of names are not used: no room\n"
        "12 requests in progress, 3 connections (by worker: 1 2)\n"
        "by command: minio: n1:9000: sessions since 2026-01-31T12:01:00Z by root, pid 7, "
        "12 requests in progress\n"
        "by command: minio: n2:9000: maintenance since 2026-01-31T12:02:00Z by root, pid 8, "
        "1 request in progress and 3 in old processes\n"
        "\n"
        "site s3: 3 connections\n"
        "  group minio: 12 requests in progress, 2 of them waiting for room\n"
        "    SERVER            ADDRESS        STATE                                IN FLIGHT\n"
        "    n1:9000           10.0.0.1:9000  up, drained (sessions stay)          7\n"
        "    n1:9000           10.0.0.2:9000  up, marked, drained (sessions stay)  5\n"
        "    n2:9000 (backup)  10.0.0.3:9000  down, recovering, maintenance        0\n"
        "    n3:9000           -              out (drained)                        -\n"
        "    n4:9000           -              unresolved                           -\n"
        "\n"
        "counters\n"
        "  requests  99\n");
}

TEST(ConnectionsText, IsOneTable) {
    const json::object answer = json::parse(R"({
      "more": 2, "silent_workers": [1], "old_processes": [{"pid": 123, "connections": 3}],
      "connections": [
        {"client": "192.0.2.7", "peer": "10.0.0.9:4711", "site": "s3", "listener": "0.0.0.0:9000",
         "worker": 1, "age_ms": 61000, "requests": 12, "state": "download",
         "request": {"age_ms": 120, "bytes_in": 0, "bytes_out": 400, "server": "n1:9000",
                     "op": "GetObject", "method": "GET", "target": "/b/k\u001b[31m"}},
        {"client": "192.0.2.8", "peer": "192.0.2.8:99", "site": "s3", "listener": "0.0.0.0:9000",
         "worker": 0, "age_ms": 5, "requests": 0, "state": "idle", "request": null}]})")
                                    .as_object();
    EXPECT_EQ(connections_text(answer),
              "CLIENT     PEER           SITE  LISTENER      WORKER  AGE   REQUESTS  STATE     FOR "
              "    IN  "
              "OUT  SERVER   OPERATION  REQUEST\n"
              "192.0.2.7  10.0.0.9:4711  s3    0.0.0.0:9000  1       1 m   12        download  120 "
              "ms  0   "
              "400  n1:9000  GetObject  GET /b/k\\x1b[31m\n"
              "192.0.2.8  192.0.2.8:99   s3    0.0.0.0:9000  0       5 ms  0         idle      -   "
              "    -   "
              "-    -        -          -\n"
              "2 more; --limit shows more of them\n"
              "3 more in the old process 123\n"
              "without an answer of worker 1, which does not move\n");
    EXPECT_THAT(connections_text({}), HasSubstr("no connection"));
}

TEST(LogLevelText, SaysWhatTheConfigurationSays) {
    const auto text = [](const char* answer) {
        return log_level_text(json::parse(answer).as_object());
    };
    EXPECT_EQ(text(R"({"level": "info", "configured": "info", "changed": false})"),
              "log level info\n");
    EXPECT_EQ(text(R"({"level": "debug", "configured": "info", "changed": true,
                       "ends_in_seconds": 540})"),
              "log level debug by command; log.level says info, again in 9 m\n");
}

// Another version of the daemon answers less, or something else.
TEST(StatusText, TakesWhateverAnObjectHolds) {
    EXPECT_THAT(status_text({}), HasSubstr("s3gate ?"));
    const json::object odd =
        json::parse(R"({"version": 1, "config": 2, "sites": [3, {"groups": 4}], "workers": {},
                        "counters": [], "health": "x", "connections": null})")
            .as_object();
    EXPECT_THAT(status_text(odd), HasSubstr("site ?"));
    EXPECT_THAT(status_text(odd), Not(HasSubstr("counters")));
}

}  // namespace
}  // namespace s3gate::app
