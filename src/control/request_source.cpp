#include "request_source.hpp"

#include <algorithm>
#include <cstdint>

#include "s3gate/base/text.hpp"

namespace s3gate::control {
namespace {

constexpr std::uint16_t kHttpPort = 80;

bool is_loopback(const base::IpAddress& ip) {
    static const std::vector<base::Cidr> kBlocks{*base::Cidr::parse("127.0.0.0/8"),
                                                 *base::Cidr::parse("::1/128")};
    return base::contains(kBlocks, ip);
}

bool is_own(std::string_view host, const OwnNames& own) {
    if (const auto literal = base::IpAddress::parse(host)) {
        return *literal == own.address || is_loopback(*literal);
    }
    if (host.ends_with('.')) {  // the root of the DNS
        host.remove_suffix(1);
    }
    const std::string_view name = own.host;
    return base::iequals(host, "localhost") ||
           (!host.empty() &&
            (base::iequals(host, name) || base::iequals(host, name.substr(0, name.find('.')))));
}

// A page of this very listener.
bool is_same_origin(std::string_view origin, const base::HostPort& host) {
    constexpr std::string_view kScheme = "http://";
    if (!origin.starts_with(kScheme)) {
        return false;
    }
    const auto site = base::parse_host_port(origin.substr(kScheme.size()));
    return site && base::iequals(site->host, host.host) &&
           site->port.value_or(kHttpPort) == host.port.value_or(kHttpPort);
}

}  // namespace

std::optional<SourceRefusal> find_foreign(const RequestSource& source, const OwnNames& own) {
    if (source.hosts.size() > 1) {
        return SourceRefusal{400, "the request has more than one Host"};
    }
    if (source.hosts.empty() && source.needs_host) {
        return SourceRefusal{400, "the request has no Host"};
    }
    std::optional<base::HostPort> host;
    if (!source.hosts.empty()) {
        host = base::parse_host_port(source.hosts.front());
        if (!host || !is_own(host->host, own)) {
            return SourceRefusal{403,
                                 "Host is neither the address of this connection, nor localhost, "
                                 "nor the name of this host"};
        }
    }
    const auto is_own_page = [&](std::string_view origin) {
        return host && is_same_origin(origin, *host);
    };
    if (!std::ranges::all_of(source.origins, is_own_page)) {
        return SourceRefusal{403, "Origin is another site"};
    }
    return std::nullopt;
}

}  // namespace s3gate::control
