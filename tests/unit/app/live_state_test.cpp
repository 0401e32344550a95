// The state of a running daemon as `s3gate route --live` reads it: why a server gets nothing.

#include "live_state.hpp"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

namespace s3gate::app {
namespace {

namespace json = boost::json;

const char* const kStatus = R"({
  "config": {"generation": 7},
  "names": [{"name": "n1.lab", "addresses": ["10.0.0.1", "2001:db8::1", "odd"]}],
  "sites": [{"groups": [{"name": "minio", "servers": [
    {"server": "n1.lab:9000", "max_connections": 0, "occupied": 0, "addresses": [
      {"address": "10.0.0.1:9000", "up": false, "recovering": true, "marked": false},
      {"address": "[2001:db8::1]:9000", "up": true, "marked": false, "in_flight": 3}]},
    {"server": "n2", "addresses": [{"address": "10.0.0.2:80", "up": false}]},
    {"server": "n3", "addresses": [{"address": "10.0.0.3:80", "up": true, "marked": true}]},
    {"server": "n4", "addresses": []},
    {"server": "n5", "down": true, "addresses": [{"address": "10.0.0.5:80", "up": true}]},
    {"server": "n6", "drained": true, "addresses": [{"address": "10.0.0.6:80", "up": true}]},
    {"server": "n8", "override": "drained", "addresses": [{"address": "10.0.0.8:80", "up": true}]},
    {"server": "n9", "override": "sessions", "addresses": [{"address": "10.0.0.9:80", "up": true}]},
    {"server": "n10", "override": null, "addresses": [{"address": "10.0.0.10:80", "up": true}]},
    {"server": "n7", "max_connections": 4, "occupied": 4,
     "addresses": [{"address": "10.0.0.7:80", "up": true}]}]}]}]
})";

class LiveStateTest : public testing::Test {
  protected:
    const LiveServer& of(const char* server) const { return *state.find("minio", server); }
    LiveState state{json::parse(kStatus).as_object()};
};

TEST_F(LiveStateTest, NamesTheReasonWhyAServerGetsNothing) {
    EXPECT_EQ(of("n1.lab:9000").reason, "");
    EXPECT_EQ(of("n2").reason, "down by the checks");
    EXPECT_EQ(of("n3").reason, "passively marked");
    EXPECT_EQ(of("n4").reason, "its name is not resolved");
    EXPECT_EQ(of("n5").reason, "down in the configuration");
    EXPECT_EQ(of("n6").reason, "drained");
    EXPECT_EQ(of("n8").reason, "drained by a command");
    EXPECT_EQ(of("n9").reason, "drained by a command, its sessions stay");
    EXPECT_EQ(of("n10").reason, "");
    EXPECT_EQ(of("n7").reason, "no room: 4 of 4 requests");
}

TEST_F(LiveStateTest, HasWhatASelectionAsksFor) {
    const LiveServer& server = of("n1.lab:9000");
    EXPECT_TRUE(server.has_room);
    EXPECT_FALSE(server.is_out);
    EXPECT_FALSE(server.addresses.at("10.0.0.1:9000").is_up);
    EXPECT_TRUE(server.addresses.at("10.0.0.1:9000").is_recovering);
    EXPECT_EQ(server.addresses.at("[2001:db8::1]:9000").in_flight, 3);
    EXPECT_TRUE(of("n5").is_out);
    EXPECT_TRUE(of("n6").is_out);
    EXPECT_TRUE(of("n8").is_out && !of("n8").keeps_uploads);
    EXPECT_TRUE(of("n9").is_out && of("n9").keeps_uploads);
    EXPECT_FALSE(of("n10").is_out);
    EXPECT_FALSE(of("n7").has_room);
    EXPECT_EQ(state.names().at("n1.lab").size(), 2U);
    EXPECT_EQ(state.generation(), 7);
    EXPECT_EQ(state.find("minio", "n11"), nullptr);
    EXPECT_EQ(state.find("other", "n1.lab:9000"), nullptr);
}

TEST(LiveState, TakesWhateverAnObjectHolds) {
    const LiveState odd(
        json::parse(R"({"config": 1, "names": [{}], "sites": [{"groups": 4}, 5]})").as_object());
    EXPECT_EQ(odd.generation(), 0);
    EXPECT_EQ(odd.find("?", "?"), nullptr);
}

}  // namespace
}  // namespace s3gate::app
