// What the daemon serves when addresses of names change and the board has no room for them.

#include "deployment.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <boost/asio/io_context.hpp>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace s3gate::control {
namespace {

base::IpAddress ip(const char* text) {
    return *base::IpAddress::parse(text);
}

std::shared_ptr<const config::Config> config_of(const std::vector<std::string>& hosts) {
    auto config = std::make_shared<config::Config>();
    config->access_log.target = "off";
    config::Site& site = config->sites.emplace_back();
    site.name = "site";
    site.listen.emplace_back().address = *base::SocketAddress::parse("127.0.0.1:0");
    site.backends.name = "group";
    site.health.enabled = false;
    for (const std::string& host : hosts) {
        config::Server& server = site.backends.servers.emplace_back();
        server.host = host;
        server.text = host + ":9000";
        server.port = 9000;
    }
    return config;
}

class DeploymentTest : public testing::Test {
  protected:
    DeploymentTest() {
        // After the operational log, which installs its own logger.
        spdlog::set_default_logger(std::make_shared<spdlog::logger>(
            "test", std::make_shared<spdlog::sinks::ostream_sink_st>(log)));
    }
    ~DeploymentTest() override { spdlog::set_default_logger(before_); }

    Provision provide(const std::shared_ptr<const config::Config>& config) {
        const auto before = is_begun ? deployment.snapshot() : nullptr;
        return deployment.provision(build_parts(config, before), {{"moves", {ip("10.0.0.1")}}});
    }
    void begin(const std::vector<std::string>& hosts) {
        deployment.begin(provide(config_of(hosts)));
        is_begun = true;
    }
    bool move_to(const char* address) {
        return deployment.use_addresses({{"moves", {ip(address)}}}, {}, checker);
    }
    std::string address() const {
        return deployment.snapshot()->sites[0].groups[0].peers.back().address.to_string();
    }

    // First: operational_log installs another one.
    const std::shared_ptr<spdlog::logger> before_ = spdlog::default_logger();
    std::ostringstream log;
    boost::asio::io_context context;
    state::Board board{1};
    net::PipeBudget pipes{0, 1};
    OperationalLog operational_log{config::Log{}};
    Deployment deployment{Deployment::Parts{context, board, pipes, operational_log, 1024, 1}};
    RepeatedLines lines{[](auto, const std::string&) {}};
    HealthChecker checker{context, board, lines, {}};
    bool is_begun = false;
};

TEST_F(DeploymentTest, AddressesWithoutRoomAreNotUsedUntilThereIsSome) {
    begin({"10.0.0.9", "moves"});
    while (board.add_cell(state::CellKind::backend)) {
    }
    for (int attempt = 0; attempt < 3; ++attempt) {
        EXPECT_FALSE(move_to("10.0.0.2"));
        EXPECT_EQ(address(), "10.0.0.1:9000");
        EXPECT_THAT(deployment.addresses_problem(), testing::HasSubstr("no room on the board"));
    }
    EXPECT_THAT(log.str(), testing::MatchesRegex("[^\n]*new addresses are not used[^\n]*\n"))
        << "once";
    deployment.publish(provide(config_of({"moves"})), Leavers::close, {}, checker);
    EXPECT_EQ(deployment.addresses_problem(), "");
    EXPECT_TRUE(move_to("10.0.0.2")) << "a server that left made room";
    EXPECT_EQ(address(), "10.0.0.2:9000");
    EXPECT_EQ(deployment.addresses_problem(), "");
}

}  // namespace
}  // namespace s3gate::control
