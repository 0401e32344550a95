#include "s3gate/state/cluster_status.hpp"
#include "s3gate/state/slot_directory.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "s3gate/state/passive_marks.hpp"

namespace s3gate::state {
namespace {

class ClusterStatusTest : public testing::Test {
  protected:
    config::Site& add_site(const std::string& name) {
        config::Site& site = config->sites.emplace_back();
        site.name = name;
        site.backends.name = "backend_" + name;
        return site;
    }

    static config::Server& add_server(config::Site& site, const std::string& host) {
        config::Server& server = site.backends.servers.emplace_back();
        server.host = host;
        server.port = 9000;
        server.text = host + ":9000";
        return server;
    }

    void build(const Resolution& resolution = {}) {
        snapshot = build_snapshot(config, resolution, directory);
    }

    ClusterStatus status() const { return cluster_status_of(*snapshot, board); }
    AddressStatus address(std::size_t server, std::size_t index = 0) const {
        return status().sites.at(0).groups.at(0).servers.at(server).addresses.at(index);
    }
    std::uint32_t slot(std::size_t peer) const {
        return snapshot->sites[0].default_group().peers[peer].slot;
    }

    std::shared_ptr<config::Config> config = std::make_shared<config::Config>();
    Board board{2};
    SlotDirectory directory{board};
    std::shared_ptr<const Snapshot> snapshot;
};

TEST_F(ClusterStatusTest, NamesEverythingInTheConfigurationsOrder) {
    config::Site& first = add_site("a");
    first.health.enabled = true;
    add_server(first, "10.0.0.2").weight = 3;
    add_server(first, "10.0.0.1").backup = true;
    config::Site& second = add_site("b");
    second.health.enabled = false;
    add_server(second, "two-addresses");
    add_server(second, "unknown");
    build({{"two-addresses",
            {*base::IpAddress::parse("10.1.0.1"), *base::IpAddress::parse("10.1.0.2")}}});
    const ClusterStatus all = status();
    ASSERT_EQ(all.sites.size(), 2U);
    EXPECT_EQ(all.sites[0].name, "a");
    const GroupStatus& group = all.sites[0].groups.at(0);
    EXPECT_EQ(group.name, "backend_a");
    EXPECT_TRUE(group.has_checks);
    ASSERT_EQ(group.servers.size(), 2U);
    EXPECT_EQ(group.servers[0].text, "10.0.0.2:9000");
    EXPECT_EQ(group.servers[0].weight, 3U);
    EXPECT_FALSE(group.servers[0].is_backup);
    EXPECT_TRUE(group.servers[1].is_backup);
    EXPECT_EQ(group.servers[1].addresses.at(0).address, "10.0.0.1:9000");
    const GroupStatus& other = all.sites[1].groups.at(0);
    EXPECT_FALSE(other.has_checks);
    ASSERT_EQ(other.servers.at(0).addresses.size(), 2U);
    EXPECT_EQ(other.servers[0].addresses[1].address, "10.1.0.2:9000");
    EXPECT_TRUE(other.servers[0].is_usable());
    EXPECT_TRUE(other.servers.at(1).addresses.empty());
    EXPECT_FALSE(other.servers[1].is_usable()) << "nobody knows an address of it";
}

TEST_F(ClusterStatusTest, SaysWhatKeepsRequestsAway) {
    config::Site& site = add_site("a");
    for (int i = 0; i < 6; ++i) {
        add_server(site, "10.0.0." + std::to_string(i + 1));
    }
    site.backends.servers[4].down = true;
    site.backends.servers[5].drained = true;
    build();
    board.set_up(slot(1), false);
    board.set_up(slot(2), false);
    board.set_recovering(slot(2), true);
    const Group& group = snapshot->sites[0].default_group();
    count_failure(board, group.peers, slot(3), {.max_fails = 1, .fail_timeout_ms = 1000}, 10);

    EXPECT_TRUE(address(0).is_usable && address(0).is_up);
    EXPECT_FALSE(address(1).is_usable || address(1).is_up || address(1).is_recovering);
    EXPECT_TRUE(address(2).is_recovering && !address(2).is_usable && !address(2).is_up);
    EXPECT_TRUE(address(3).is_marked && address(3).is_up && !address(3).is_usable);
    EXPECT_TRUE(address(4).is_up && !address(4).is_usable);
    const auto servers = status().sites[0].groups[0].servers;
    EXPECT_TRUE(servers[4].is_down && servers[4].is_out() && !servers[4].is_drained);
    EXPECT_TRUE(servers[5].is_drained && servers[5].is_out() && !servers[5].is_down);
    EXPECT_FALSE(servers[3].is_out());
    for (std::size_t i = 0; i < servers.size(); ++i) {
        EXPECT_EQ(servers[i].is_usable(), i == 0) << i;
        EXPECT_EQ(servers[i].is_usable(), is_usable(board, group.peers[i])) << i;
    }
}

TEST_F(ClusterStatusTest, CountsOverAllWorkers) {
    config::Site& site = add_site("a");
    add_server(site, "10.0.0.1").max_connections = 7;
    build();
    const Group& group = snapshot->sites[0].default_group();
    for (std::size_t worker = 0; worker < 2; ++worker) {
        board.add_in_flight(worker, slot(0), 2);
        board.add_group_requests(worker, group.cell, 3);
        board.add_site_connections(worker, snapshot->sites[0].cell.index, 5);
    }
    board.try_occupy(group.servers[0].room.index, 7);
    board.add_waiting(group.cell, 2);
    const SiteStatus shown = status().sites.at(0);
    EXPECT_EQ(shown.connections, 10);
    EXPECT_EQ(shown.groups.at(0).requests, 6);
    EXPECT_EQ(shown.groups[0].waiting, 2);
    EXPECT_EQ(shown.groups[0].servers.at(0).max_connections, 7U);
    EXPECT_EQ(shown.groups[0].servers[0].occupied, 1);
    EXPECT_EQ(address(0).in_flight, 4);
}

TEST_F(ClusterStatusTest, TellsWhatAnOperatorCommanded) {
    config::Site& site = add_site("a");
    add_server(site, "10.0.0.1");
    add_server(site, "10.0.0.2");
    build();
    board.set_override(slot(0), Override::keeps_sessions);
    const std::vector<ServerStatus> servers = status().sites.at(0).groups.at(0).servers;
    EXPECT_EQ(servers[0].override, Override::keeps_sessions);
    EXPECT_TRUE(servers[0].is_out());
    EXPECT_FALSE(servers[0].is_usable()) << "for the requests of others";
    EXPECT_TRUE(servers[0].addresses.at(0).is_up) << "the checks go on";
    EXPECT_EQ(servers[1].override, Override::none);
    EXPECT_TRUE(servers[1].is_usable());
}

}  // namespace
}  // namespace s3gate::state
