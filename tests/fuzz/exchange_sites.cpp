#include "exchange_sites.hpp"

#include <chrono>
#include <map>
#include <string>

#include "s3gate/state/slot_directory.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::fuzz {
namespace {

std::shared_ptr<const config::Config> make_config(unsigned options) {
    using std::chrono::milliseconds;
    auto made = std::make_shared<config::Config>();
    config::Site& site = made->sites.emplace_back();
    const auto has = [&](Option option) { return (options & option) != 0; };
    site.name = "site";
    site.listen.emplace_back().address = *base::SocketAddress::parse("0.0.0.0:80");
    site.type = has(kHttp) ? config::SiteType::http : config::SiteType::s3;
    site.backends.name = "group";
    for (const char* host : {"10.1.0.1", "10.1.0.2", "two.example"}) {
        config::Server& server = site.backends.servers.emplace_back();
        server.host = host;
        server.port = 9000;
        server.text = std::string(host) + ":9000";
    }
    site.backends.servers[1].backup = has(kBackup);
    site.backends.keepalive = has(kNoKeepalive) ? 0 : 2;
    site.backends.idle_timeout = milliseconds{1500};
    site.balance.method = has(kLeastConn)    ? config::BalanceMethod::least_conn
                          : has(kRoundRobin) ? config::BalanceMethod::round_robin
                                             : config::BalanceMethod::ketama;
    if (has(kRetryNothing)) {
        site.retry.on = {false, false, false, false, false, false};
    } else if (has(kRetryNoStatus)) {
        site.retry.on = {true, true, false, false, false, false};
    }
    site.retry.max_tries = has(kTwoTries) ? 2 : 3;
    site.retry.max_time = milliseconds{4000};
    site.retry.replay_buffer = has(kSmallReplay) ? 64 : 64 * 1024;
    site.upgrade = has(kUpgrade);
    site.expect_empty_body =
        has(kExpectClose) ? config::EmptyExpect::close : config::EmptyExpect::synth100;
    site.when_all_down =
        has(kRefuseAllDown) ? config::AllDown::refuse : config::AllDown::try_anyway;
    if (has(kSmallLimits)) {
        site.limits.head = site.limits.response_head = 1024;
    }
    site.limits.connections = has(kConnectionLimit) ? 2 : 0;
    site.passive.max_fails = has(kQuickMarks) ? 1 : 3;
    site.passive.fail_timeout = milliseconds{2000};
    site.session_header = has(kSession) ? "X-Session-ID" : "";
    site.timeouts.connect = milliseconds{500};
    site.timeouts.client_head = milliseconds{1000};
    site.timeouts.client_idle = milliseconds{1500};
    site.timeouts.client_body = milliseconds{1000};
    site.timeouts.client_write = milliseconds{1000};
    site.timeouts.backend_head = milliseconds{1500};
    site.timeouts.backend_body = milliseconds{1000};
    site.timeouts.tunnel_idle = milliseconds{2000};
    return made;
}

}  // namespace

std::shared_ptr<const state::Snapshot> snapshot_of(unsigned options) {
    static std::map<unsigned, std::shared_ptr<const state::Snapshot>> made;
    static state::Board board(1);
    static state::SlotDirectory directory(board);
    std::shared_ptr<const state::Snapshot>& snapshot = made[options];
    if (!snapshot) {
        const state::Resolution resolution = {
            {"two.example",
             {*base::IpAddress::parse("10.1.0.3"), *base::IpAddress::parse("10.1.0.4")}}};
        snapshot = state::build_snapshot(make_config(options), resolution, directory);
    }
    return snapshot;
}

}  // namespace s3gate::fuzz
