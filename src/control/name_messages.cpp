#include "name_messages.hpp"

#include <spdlog/fmt/fmt.h>

#include <chrono>

#include "s3gate/state/snapshot.hpp"

namespace s3gate::control {
namespace {

std::string joined(const std::vector<base::IpAddress>& addresses) {
    std::string out;
    for (const base::IpAddress& address : addresses) {
        out += (out.empty() ? "" : ", ") + address.to_string();
    }
    return out;
}

std::string seconds_of(base::Duration duration) {
    return fmt::format("{} s", std::chrono::round<std::chrono::seconds>(duration).count());
}

}  // namespace

std::string unresolved_message(std::string_view group, const config::Server& server,
                               std::string_view reason) {
    return fmt::format("{} is down: cannot resolve {}: {}", state::label_of(group, server, {}),
                       server.host, reason);
}

std::string resolved_message(std::string_view group, const config::Server& server,
                             const std::vector<base::IpAddress>& addresses) {
    return state::label_of(group, server, joined(addresses)) + " is resolved";
}

std::vector<std::string> change_messages(std::string_view group, const config::Server& server,
                                         const policy::AddressChange& change) {
    std::vector<std::string> out;
    const auto label = [&](const base::IpAddress& address) {
        return state::label_of(group, server, address.to_string());
    };
    if (change.has_moved) {
        return {fmt::format("{} has moved: it was {}", label(change.added.front()),
                            change.left.front().to_string())};
    }
    for (const base::IpAddress& address : change.added) {
        out.push_back(label(address) + " is a new address");
    }
    for (const base::IpAddress& address : change.left) {
        out.push_back(label(address) + " is no longer an address of it");
    }
    return out;
}

std::string kept_message(std::string_view host, std::string_view reason,
                         const std::vector<base::IpAddress>& addresses, base::Duration age) {
    return fmt::format("cannot resolve {}: {}; the answer of {} ago is kept: {}", host, reason,
                       seconds_of(age), joined(addresses));
}

std::string recovered_message(std::string_view host, base::Duration outage) {
    return fmt::format("{} is resolved again, after {}", host, seconds_of(outage));
}

std::string surplus_message(std::string_view host, std::size_t surplus) {
    constexpr std::size_t kMost = policy::KnownAddresses::kMost;
    return fmt::format("{} has {} addresses; {} of them are used", host, kMost + surplus, kMost);
}

}  // namespace s3gate::control
