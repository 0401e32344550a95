// Snapshots: peers per address, rings of the configured texts, cells that stay the same over
// generations.

#include "s3gate/state/snapshot.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <stdexcept>

#include "s3gate/state/slot_directory.hpp"

namespace s3gate::state {
namespace {

base::IpAddress ip(const char* text) {
    return *base::IpAddress::parse(text);
}

config::Server server(const std::string& host, std::uint16_t port = 9000) {
    config::Server out;
    out.host = host;
    out.port = port;
    out.text = host + ":" + std::to_string(port);
    return out;
}

config::Site site(const std::string& name, std::vector<config::Server> servers) {
    config::Site out;
    out.name = name;
    out.backends.name = "backend_" + name;
    out.backends.servers = std::move(servers);
    return out;
}

std::shared_ptr<config::Config> config_of(std::vector<config::Site> sites) {
    auto out = std::make_shared<config::Config>();
    out->sites = std::move(sites);
    return out;
}

TEST(Snapshot, MakesOnePeerPerAddressInOrder) {
    Board board(1);
    SlotDirectory directory(board);
    const auto config =
        config_of({site("a", {server("n1"), server("n2"), server("10.0.0.9", 81)})});
    const auto snapshot = build_snapshot(
        config, {{"n1", {ip("10.0.0.1"), ip("2001:db8::1"), ip("10.0.0.1")}}}, directory);
    ASSERT_EQ(snapshot->sites.size(), 1u);
    EXPECT_EQ(snapshot->sites[0].config, &config->sites[0]);
    const Group& built = snapshot->sites[0].default_group();
    EXPECT_EQ(built.name, "backend_a");
    ASSERT_EQ(built.peers.size(), 3u);
    EXPECT_EQ(built.peers[0].address_text, "10.0.0.1:9000");
    EXPECT_EQ(built.peers[1].address_text, "[2001:db8::1]:9000");
    EXPECT_EQ(built.peers[2].address_text, "10.0.0.9:81");  // numeric: no resolution needed
    EXPECT_EQ(built.peers[2].server, 2u);
    ASSERT_EQ(built.servers.size(), 3u);
    EXPECT_TRUE(std::ranges::equal(built.servers[0].peers(), std::vector<std::uint32_t>{0, 1}));
    EXPECT_TRUE(built.servers[1].peers().empty());  // not resolved
    EXPECT_TRUE(std::ranges::equal(built.servers[2].peers(), std::vector<std::uint32_t>{2}));
    std::set<std::uint32_t> slots;
    for (const Peer& peer : built.peers) {
        slots.insert(peer.slot);
    }
    EXPECT_EQ(slots.size(), 3u);
}

// All messages name a server in one form, with its address only where that adds information.
TEST(Snapshot, LabelsNameAServerWithItsAddressWhereThatSaysMore) {
    Board board(1);
    SlotDirectory directory(board);
    const auto config = config_of(
        {site("a", {server("n1"), server("10.0.0.9", 81), server("::1"), server("10.0.0.8", 80)})});
    config->sites[0].backends.servers[2].text = "[::1]:9000";
    config->sites[0].backends.servers[3].text = "10.0.0.8";
    const auto snapshot =
        build_snapshot(config, {{"n1", {ip("10.0.0.1"), ip("2001:db8::1")}}}, directory);
    std::vector<std::string> labels;
    for (const Peer& peer : snapshot->sites[0].default_group().peers) {
        labels.push_back(label_of(snapshot->sites[0].default_group(), peer));
    }
    EXPECT_EQ(labels, (std::vector<std::string>{
                          "backend_a: n1:9000 (10.0.0.1:9000)",
                          "backend_a: n1:9000 ([2001:db8::1]:9000)",
                          "backend_a: 10.0.0.9:81",
                          "backend_a: [::1]:9000",
                          "backend_a: 10.0.0.8",
                      }));
    EXPECT_EQ(label_of("backend_a", config->sites[0].backends.servers[0], {}),
              "backend_a: n1:9000");
}

// The ring depends on the text only: name resolution moves no key.
TEST(Snapshot, RingHashesTheConfiguredText) {
    Board board(1);
    SlotDirectory directory(board);
    std::vector<config::Server> servers = {server("n1"), server("n2"), server("n3")};
    servers[1].down = true;
    servers[2].weight = 2;
    const auto config = config_of({site("a", servers)});
    const auto unresolved = build_snapshot(config, {}, directory);
    const auto resolved = build_snapshot(config, {{"n1", {ip("10.0.0.1")}}}, directory);
    const std::vector<policy::RingServer> texts = {{"n1:9000", 1}, {"n2:9000", 1}, {"n3:9000", 2}};
    const policy::KetamaRing expected(texts);
    for (const auto& snapshot : {unresolved, resolved}) {
        const auto& points = snapshot->sites[0].default_group().ring.points();
        ASSERT_EQ(points.size(), expected.points().size());
        for (std::size_t i = 0; i < points.size(); ++i) {
            EXPECT_EQ(points[i].hash, expected.points()[i].hash);
            EXPECT_EQ(points[i].server, expected.points()[i].server);
        }
    }
}

TEST(Snapshot, OtherMethodsHaveNoRing) {
    Board board(1);
    SlotDirectory directory(board);
    config::Site console = site("a", {server("10.0.0.1")});
    console.balance.method = config::BalanceMethod::least_conn;
    EXPECT_TRUE(
        build_snapshot(config_of({console}), {}, directory)->sites[0].default_group().ring.empty());
}

TEST(Snapshot, CellsStayTheSameInLaterGenerations) {
    Board board(1);
    SlotDirectory directory(board);
    const auto first =
        build_snapshot(config_of({site("a", {server("10.0.0.1"), server("10.0.0.2")}),
                                  site("b", {server("10.0.0.1")})}),
                       {}, directory);
    const auto second =
        build_snapshot(config_of({site("b", {server("10.0.0.3"), server("10.0.0.1")}),
                                  site("a", {server("10.0.0.2")})}),
                       {}, directory);
    const Group& a1 = first->sites[0].default_group();
    const Group& b1 = first->sites[1].default_group();
    const Group& b2 = second->sites[0].default_group();
    const Group& a2 = second->sites[1].default_group();
    EXPECT_EQ(a1.cell, a2.cell);
    EXPECT_EQ(b1.cell, b2.cell);
    EXPECT_NE(a1.cell, b1.cell);
    EXPECT_EQ(first->sites[0].cell, second->sites[1].cell);
    EXPECT_EQ(first->sites[1].cell, second->sites[0].cell);
    EXPECT_NE(first->sites[0].cell, first->sites[1].cell);
    EXPECT_EQ(a1.peers[1].slot, a2.peers[0].slot);
    EXPECT_EQ(b1.peers[0].slot, b2.peers[1].slot);
    // The same address in another group has another cell; a new server takes a new cell.
    EXPECT_NE(a1.peers[0].slot, b1.peers[0].slot);
    EXPECT_EQ((std::set<std::uint32_t>{a1.peers[0].slot, a1.peers[1].slot, b1.peers[0].slot,
                                       b2.peers[0].slot})
                  .size(),
              4u);
}

config::Listen listen(const char* text) {
    config::Listen out;
    out.address = *base::SocketAddress::parse(text);
    out.text = text;
    return out;
}

// Until a head is read, the site of a shared address is unknown.
TEST(Snapshot, AnAddressHasTheSettingsOfItsDefaultSite) {
    Board board(1);
    SlotDirectory directory(board);
    config::Site first = site("a", {server("10.0.0.1")});
    first.listen = {listen("127.0.0.1:81"), listen("127.0.0.1:80")};
    first.timeouts.client_head = base::Duration{7};
    first.timeouts.client_idle = base::Duration{8};
    first.limits.per_client = 10;
    config::Site second = site("b", {server("10.0.0.1")});
    second.listen = {listen("127.0.0.1:80"), listen("127.0.0.1:82")};
    second.hosts = {"b.lab", "*.b.lab"};
    second.limits.requests_per_client.requests = 5;
    second.limits.requests_per_client.period = std::chrono::seconds{1};
    const auto snapshot = build_snapshot(config_of({first, second}), {}, directory);
    ASSERT_EQ(snapshot->addresses.size(), 3u);
    const Address& shared = snapshot->addresses[1];
    EXPECT_EQ(shared.text, "127.0.0.1:80");
    EXPECT_EQ(shared.sites, (std::vector<std::uint32_t>{0, 1}));
    EXPECT_EQ(shared.default_site, 0u);
    EXPECT_EQ(shared.leading_site, 0u);
    EXPECT_EQ(shared.site_of("B.lab.:80"), 1u);
    EXPECT_EQ(shared.site_of("x.b.lab"), 1u);
    EXPECT_EQ(shared.site_of("c.lab"), 0u);
    EXPECT_EQ(shared.client_head, base::Duration{7});
    EXPECT_EQ(shared.client_idle, base::Duration{8});
    EXPECT_EQ(snapshot->addresses[2].text, "127.0.0.1:82");
    EXPECT_EQ(snapshot->addresses[2].leading_site, 1u);
    EXPECT_EQ(snapshot->addresses[2].site_of("b.lab"), 1u);
    EXPECT_EQ(snapshot->addresses[2].site_of("c.lab"), std::nullopt) << "it has hosts";
    EXPECT_TRUE(snapshot->sites[0].limits_clients);
    EXPECT_TRUE(snapshot->sites[1].limits_clients) << "their requests are counted";
}

// Only what one of several sites takes must be looked up.
TEST(Snapshot, ASiteAloneTakesEveryHost) {
    Board board(1);
    SlotDirectory directory(board);
    config::Site alone = site("a", {server("10.0.0.1")});
    alone.listen = {listen("127.0.0.1:80")};
    alone.domains = {"s3.lab"};
    const auto snapshot = build_snapshot(config_of({alone}), {}, directory);
    EXPECT_TRUE(snapshot->addresses[0].hosts.empty());
    EXPECT_EQ(snapshot->addresses[0].site_of("10.0.0.1"), 0u);
    EXPECT_FALSE(snapshot->sites[0].limits_clients);
}

// Settings of an address without a default site are those of the first; a default site that comes
// later has them instead.
TEST(Snapshot, TheLeadingSiteIsTheDefaultSiteOrTheFirst) {
    Board board(1);
    SlotDirectory directory(board);
    config::Site first = site("a", {server("10.0.0.1")});
    first.listen = {listen("127.0.0.1:80"), listen("127.0.0.1:81")};
    first.hosts = {"a.lab"};
    config::Site second = site("b", {server("10.0.0.1")});
    second.listen = {listen("127.0.0.1:80")};
    second.timeouts.client_head = base::Duration{7};
    config::Site third = site("c", {server("10.0.0.1")});
    third.listen = {listen("127.0.0.1:81")};
    third.hosts = {"c.lab"};
    const auto snapshot = build_snapshot(config_of({first, second, third}), {}, directory);
    EXPECT_EQ(snapshot->addresses[0].leading_site, 1u);
    EXPECT_EQ(snapshot->addresses[0].client_head, base::Duration{7});
    EXPECT_EQ(snapshot->addresses[1].leading_site, 0u);
    EXPECT_EQ(snapshot->addresses[1].site_of("b.lab"), std::nullopt);
}

// Port 0 asks for a port of its own.
TEST(Snapshot, PortZeroIsNoSharedAddress) {
    Board board(1);
    SlotDirectory directory(board);
    config::Site first = site("a", {server("10.0.0.1")});
    first.listen = {listen("127.0.0.1:0"), listen("127.0.0.1:0")};
    const auto snapshot = build_snapshot(config_of({first}), {}, directory);
    EXPECT_EQ(snapshot->addresses.size(), 2u);
    EXPECT_EQ(snapshot->addresses[1].site_of("x"), 0u);
}

// An address may go from a site to operators and back: its sockets are other ones then.
TEST(Snapshot, AddressesOfOperatorsHaveIdentitiesOfTheirOwn) {
    Board board(1);
    SlotDirectory directory(board);
    config::Site first = site("admin", {server("10.0.0.1")});
    first.listen = {listen("127.0.0.1:80"), listen("127.0.0.1:0")};
    const auto config = config_of({first});
    config->admin.listen = {listen("127.0.0.1:80"), listen("127.0.0.1:0"), listen("127.0.0.1:0"),
                            listen("[::1]:80")};
    const auto snapshot = build_snapshot(config, {}, directory);
    ASSERT_EQ(snapshot->admin_addresses.size(), 4u);
    EXPECT_EQ(snapshot->admin_addresses[0].text, "127.0.0.1:80");
    EXPECT_EQ(snapshot->admin_addresses[3].address.to_string(), "[::1]:80");
    std::set<std::string> identities;
    std::size_t operators = 0;
    for (const ListenAddress* const address : listen_addresses_of(*snapshot)) {
        identities.insert(address->identity);
        operators += address->is_admin ? 1 : 0;
    }
    EXPECT_EQ(identities.size(), 6u);
    EXPECT_EQ(operators, 4u);
}

TEST(Snapshot, GroupsComeInTheOrderOfTheSites) {
    Board board(1);
    SlotDirectory directory(board);
    const auto snapshot = build_snapshot(config_of({site("a", {}), site("b", {})}), {}, directory);
    std::vector<std::string> names;
    for (const Group& group : groups_of(*snapshot)) {
        names.push_back(group.name);
    }
    EXPECT_EQ(names, (std::vector<std::string>{"backend_a", "backend_b"}));
    const Site& first = snapshot->sites[0];
    ASSERT_EQ(first.routes.size(), 1u);
    EXPECT_EQ(&first.group_of(first.routes[0]), &first.default_group());
}

TEST(Snapshot, ChecksGoToTheirPort) {
    Board board(1);
    SlotDirectory directory(board);
    config::Site console = site("a", {server("10.0.0.1", 9001)});
    EXPECT_EQ(build_snapshot(config_of({console}), {}, directory)
                  ->sites[0]
                  .default_group()
                  .peers[0]
                  .check_address.port(),
              9001);
    console.health.port = 9000;
    const auto snapshot = build_snapshot(config_of({console}), {}, directory);
    EXPECT_EQ(snapshot->sites[0].default_group().peers[0].check_address.to_string(),
              "10.0.0.1:9000");
    EXPECT_EQ(snapshot->sites[0].default_group().peers[0].address.port(), 9001);
}

TEST(Snapshot, HeadersBecomeLines) {
    Board board(1);
    SlotDirectory directory(board);
    config::Site console = site("a", {server("10.0.0.1")});
    console.headers_set = {{"X-NginX-Proxy", "true"}, {"X-B", "c d"}};
    const auto snapshot = build_snapshot(config_of({console}), {}, directory);
    EXPECT_EQ(snapshot->sites[0].extra_lines, "X-NginX-Proxy: true\r\nX-B: c d\r\n");
    EXPECT_EQ(snapshot->sites[0].extra_names, (std::vector<std::string>{"x-nginx-proxy", "x-b"}));
}

TEST(Snapshot, PassiveRuleAndBackups) {
    Board board(1);
    SlotDirectory directory(board);
    config::Site plain = site("a", {server("10.0.0.1")});
    plain.passive.max_fails = 7;
    plain.passive.fail_timeout = std::chrono::seconds{5};
    const auto on = build_snapshot(config_of({plain}), {}, directory);
    EXPECT_EQ(on->sites[0].default_group().servers[0].passive.max_fails, 7u);
    EXPECT_EQ(on->sites[0].default_group().servers[0].passive.fail_timeout_ms, 5000u);
    EXPECT_FALSE(on->sites[0].default_group().has_backups);
    plain.backends.servers[0].max_fails = 9;
    const auto own = build_snapshot(config_of({plain}), {}, directory);
    EXPECT_EQ(own->sites[0].default_group().servers[0].passive.max_fails, 9u);
    plain.backends.servers[0].max_fails = 0;
    const auto never = build_snapshot(config_of({plain}), {}, directory);
    EXPECT_EQ(never->sites[0].default_group().servers[0].passive.max_fails, 0u);
    plain.passive.enabled = false;
    plain.backends.servers[0].backup = true;
    const auto off = build_snapshot(config_of({plain}), {}, directory);
    EXPECT_EQ(off->sites[0].default_group().servers[0].passive.max_fails, 0u);  // never marks
    EXPECT_TRUE(off->sites[0].default_group().has_backups);
}

TEST(Snapshot, ChecksGoToThePortOfTheServerOrOfTheSite) {
    Board board(1);
    SlotDirectory directory(board);
    config::Site one = site("a", {server("10.0.0.1"), server("10.0.0.2")});
    one.backends.servers[1].health_port = 7;
    const auto ports_of = [&] {
        const auto snapshot = build_snapshot(config_of({one}), {}, directory);
        std::vector<std::uint16_t> ports;
        for (const Peer& peer : snapshot->sites[0].default_group().peers) {
            ports.push_back(peer.check_address.port());
        }
        return ports;
    };
    const std::uint16_t own = one.backends.servers[0].port;
    EXPECT_EQ(ports_of(), (std::vector<std::uint16_t>{own, 7}));
    one.health.port = 8;
    EXPECT_EQ(ports_of(), (std::vector<std::uint16_t>{8, 7}));
}

// The message names the refused part.
TEST(Snapshot, AFullBoardRefusesAGenerationByName) {
    using ::testing::HasSubstr;
    using ::testing::ThrowsMessage;
    Board board(1, Board::kMostSlots - 1);
    SlotDirectory directory(board);
    const auto config = config_of({site("a", {server("10.0.0.1")})});
    const auto snapshot = build_snapshot(config, {}, directory);
    config->sites[0].backends.servers.push_back(server("10.0.0.2"));
    EXPECT_THAT([&] { build_snapshot(config, {}, directory); },
                ThrowsMessage<std::length_error>(
                    HasSubstr("server 10.0.0.2:9000 (10.0.0.2:9000) of group backend_a")));
    config->sites[0].backends.servers.pop_back();
    config->sites[0].backends.servers[0].max_connections = 1;
    EXPECT_THAT([&] { build_snapshot(config, {}, directory); },
                ThrowsMessage<std::length_error>(
                    HasSubstr("max_connections of server 10.0.0.1:9000 of group backend_a")));
    // Known servers keep their cells.
    config->sites[0].backends.servers[0].max_connections = 0;
    const auto again = build_snapshot(config, {}, directory);
    EXPECT_EQ(again->sites[0].default_group().peers[0].id(),
              snapshot->sites[0].default_group().peers[0].id());
}

}  // namespace
}  // namespace s3gate::state
