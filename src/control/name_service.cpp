#include "name_service.hpp"

#include <spdlog/spdlog.h>

namespace s3gate::control {

NameService::NameService(boost::asio::io_context&, state::ControlCounters& counters, OnChange)
    : counters_(counters) {}

void NameService::use(const config::Config& config) {
    hosts_ = host_names(config);
    for (const config::Site& site : config.sites) {
        for (const config::Server& server : site.backends.servers) {
            if (hosts_.contains(server.host) && !addresses_.contains(server.host)) {
                spdlog::warn("{} is down: cannot resolve {}: {}",
                             state::label_of(site.backends.name, server, {}), server.host, "?");
            }
        }
    }
}

void NameService::resolve_first(base::Duration limit) {
    when_known(hosts_, limit, [] {});
}

void NameService::when_known(const std::set<std::string>& hosts, base::Duration limit,
                             std::function<void()> done) {
    PendingResolution pending(hosts);
    pending.wait_until(base::Clock::now() + limit);
    for (auto& [host, addresses] : pending.outcome().addresses) {
        addresses_[host] = addresses;
    }
    done();
}

}  // namespace s3gate::control
