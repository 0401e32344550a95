#include "overrides.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "s3gate/state/slot_directory.hpp"

namespace s3gate::control {
namespace {

using state::Override;

class OverridesTest : public testing::Test {
  protected:
    OverridesTest() {
        config::Site& site = config->sites.emplace_back();
        site.name = site.backends.name = "g";
        for (const char* host : {"10.0.0.1", "10.0.0.2", "named"}) {
            config::Server& server = site.backends.servers.emplace_back();
            server.host = host;
            server.port = 9000;
            server.text = std::string(host) + ":9000";
        }
        build();
    }

    config::Server& server(std::size_t number) {
        return config->sites[0].backends.servers.at(number);
    }
    // A generation of what `config` says now.
    void build(const char* address = "10.0.0.3") {
        const auto copy = std::make_shared<config::Config>(*config);
        snapshot = build_snapshot(copy, {{"named", {*base::IpAddress::parse(address)}}}, directory);
        overrides.follow(*snapshot);
    }
    void command(const std::string& text, Override what) {
        const auto& servers = config->sites[0].backends.servers;
        const auto found = std::ranges::find(servers, text, &config::Server::text);
        overrides.set({"g", text}, {.command = what, .by = "root", .settings = settings_of(*found)},
                      *snapshot);
    }
    Override on_board(std::size_t peer) const {
        return board.override_of(snapshot->sites[0].default_group().peers.at(peer).slot);
    }
    std::uint64_t back_since(std::size_t peer) const {
        return board.back_since(snapshot->sites[0].default_group().peers.at(peer).slot);
    }

    std::shared_ptr<config::Config> config = std::make_shared<config::Config>();
    state::Board board{1};
    state::SlotDirectory directory{board};
    std::vector<std::string> changes;
    Overrides overrides{board, [this](const ServerKey& key, Override what) {
                            changes.push_back(key.server + " " + std::string(word_of(what)));
                        }};
    std::shared_ptr<const state::Snapshot> snapshot;
};

TEST_F(OverridesTest, HoldAtOnceAndEnd) {
    EXPECT_EQ(on_board(0), Override::none);
    command("10.0.0.1:9000", Override::drained);
    EXPECT_EQ(on_board(0), Override::drained);
    EXPECT_EQ(on_board(1), Override::none);
    EXPECT_EQ(back_since(0), 0U);
    overrides.set({"g", "10.0.0.1:9000"}, {}, *snapshot);
    EXPECT_EQ(on_board(0), Override::none);
    EXPECT_NE(back_since(0), 0U) << "its share grows from now on";
    EXPECT_EQ(back_since(1), 0U);
    EXPECT_EQ(changes, (std::vector<std::string>{"10.0.0.1:9000 drained", "10.0.0.1:9000 "}));
}

TEST_F(OverridesTest, FollowANameToAnotherAddress) {
    command("named:9000", Override::down);
    const std::uint32_t before = snapshot->sites[0].default_group().peers.at(2).slot;
    build("10.0.0.9");
    ASSERT_NE(snapshot->sites[0].default_group().peers.at(2).slot, before);
    EXPECT_EQ(on_board(2), Override::down);
    overrides.set({"g", "named:9000"}, {}, *snapshot);
    build();  // back at the first address, which was away when the command ended
    EXPECT_EQ(on_board(2), Override::none);
}

TEST_F(OverridesTest, OutlastOtherChangesOfTheConfiguration) {
    command("10.0.0.1:9000", Override::maintained);
    server(1).weight = 5;
    std::swap(server(0), server(1));
    build();
    EXPECT_EQ(on_board(1), Override::maintained);
    EXPECT_EQ(on_board(0), Override::none);
}

TEST_F(OverridesTest, EndWithEachSettingOfTheServer) {
    const std::vector<void (*)(config::Server&)> all{
        [](config::Server& s) { s.weight = 7; },
        [](config::Server& s) { s.backup = true; },
        [](config::Server& s) { s.down = true; },
        [](config::Server& s) { s.drained = true; },
        [](config::Server& s) { s.max_connections = 3; },
        [](config::Server& s) { s.text = "other:1"; },
    };
    for (const auto& change : all) {
        const config::Server before = server(0);
        build();
        command("10.0.0.1:9000", Override::drained);
        change(server(0));
        build();
        EXPECT_EQ(on_board(0), Override::none);
        EXPECT_TRUE(overrides.all().empty());
        server(0) = before;
    }
}

TEST_F(OverridesTest, ComeBackWithAnUndoneTrial) {
    command("10.0.0.1:9000", Override::drained);
    command("10.0.0.2:9000", Override::down);
    overrides.begin_trial();
    server(0).weight = 2;
    server(1).weight = 2;
    build();
    EXPECT_TRUE(overrides.all().empty());
    command("10.0.0.2:9000", Override::keeps_sessions);  // the later command counts
    server(0).weight = 1;
    overrides.undo_trial();
    build();
    EXPECT_EQ(on_board(0), Override::drained);
    EXPECT_EQ(on_board(1), Override::keeps_sessions);
    overrides.begin_trial();
    server(0).weight = 2;
    build();
    overrides.end_trial();  // confirmed
    overrides.undo_trial();
    EXPECT_EQ(overrides.of({"g", "10.0.0.1:9000"}), Override::none);
}

TEST_F(OverridesTest, OfATrialOutlastIt) {
    overrides.begin_trial();
    server(0).weight = 2;
    build();
    command("10.0.0.1:9000", Override::drained);
    server(0).weight = 1;
    overrides.undo_trial();
    build();
    EXPECT_EQ(on_board(0), Override::drained);
    EXPECT_EQ(overrides.all().begin()->second.settings, settings_of(server(0)));
    server(0).weight = 2;
    build();
    EXPECT_EQ(on_board(0), Override::none) << "its settings are those of the configuration before";
}

TEST_F(OverridesTest, GoToAnotherProcess) {
    command("10.0.0.1:9000", Override::drained);
    command("10.0.0.2:9000", Override::maintained);
    boost::json::array list = overrides.to_json();
    list.push_back({{"group", "g"}, {"server", "named:9000"}, {"state", "dancing"}});
    list.push_back("nonsense");
    // Another version knows another setting, and lacks one.
    list[0].at("settings").as_object()["colour"] = "blue";
    list[0].at("settings").as_object().erase("weight");
    server(0).weight = 4;
    server(1).weight = 4;
    state::Board other_board{1};
    state::SlotDirectory other_directory{other_board};
    const auto other_snapshot =
        build_snapshot(config, {{"named", {*base::IpAddress::parse("10.0.0.3")}}}, other_directory);
    Overrides other(other_board);
    other.replace(list);
    EXPECT_EQ(other.all().size(), 2U);
    other.follow(*other_snapshot);
    EXPECT_EQ(other.of({"g", "10.0.0.1:9000"}), Override::drained);
    EXPECT_EQ(other.all().begin()->second.by, "root");
    EXPECT_EQ(other.of({"g", "10.0.0.2:9000"}), Override::none) << "its weight changed";
    const auto& peers = other_snapshot->sites[0].default_group().peers;
    EXPECT_EQ(other_board.override_of(peers[0].slot), Override::drained);
}

}  // namespace
}  // namespace s3gate::control
