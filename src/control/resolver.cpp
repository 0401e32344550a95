#include "s3gate/control/resolver.hpp"

#include <netdb.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "lookup_pool.hpp"

namespace s3gate::control {
namespace {

struct AddressList {
    addrinfo* first = nullptr;
    AddressList() = default;
    AddressList(const AddressList&) = delete;
    AddressList& operator=(const AddressList&) = delete;
    ~AddressList() {
        if (first != nullptr) {
            ::freeaddrinfo(first);
        }
    }
};

int ask(const std::string& host, int flags, AddressList& list) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = flags;
    return ::getaddrinfo(host.c_str(), nullptr, &hints, &list.first);
}

policy::LookupFailure kind_of(int code) {
    switch (code) {
        case EAI_AGAIN:
            return policy::LookupFailure::unavailable;
        case EAI_NONAME:
            return policy::LookupFailure::unknown_name;
        case EAI_NODATA:
        case EAI_ADDRFAMILY:
            return policy::LookupFailure::no_address;
        default:
            return policy::LookupFailure::other;
    }
}

}  // namespace

LookupResult look_up(const std::string& host) {
    AddressList list;
    // AI_ADDRCONFIG leaves out addresses of a family that this host cannot reach (as nginx does). A
    // host with only its loopback interface gets no answer this way, hence the second call.
    int code = ask(host, AI_ADDRCONFIG, list);
    if (code == EAI_NONAME || code == EAI_ADDRFAMILY || code == EAI_NODATA) {
        code = ask(host, 0, list);
    }
    LookupResult out;
    if (code != 0) {
        out.kind = kind_of(code);
        out.error =
            code == EAI_SYSTEM ? std::generic_category().message(errno) : ::gai_strerror(code);
        return out;
    }
    for (const addrinfo* item = list.first; item != nullptr; item = item->ai_next) {
        const auto address = base::SocketAddress::from_sockaddr(item->ai_addr, item->ai_addrlen);
        if (address && std::ranges::find(out.addresses, address->ip()) == out.addresses.end()) {
            out.addresses.push_back(address->ip());
        }
    }
    if (out.addresses.empty()) {
        out.error = "the name has no address";
        out.kind = policy::LookupFailure::no_address;
    }
    return out;
}

std::set<std::string> host_names(const config::Config& config) {
    std::set<std::string> names;
    for (const config::Site& site : config.sites) {
        for (const config::Server& server : site.backends.servers) {
            if (!base::IpAddress::parse(server.host)) {
                names.insert(server.host);
            }
        }
    }
    return names;
}

ResolveOutcome resolve_all(const config::Config& config, base::Duration limit,
                           const Lookup& lookup) {
    const base::TimePoint deadline = base::Clock::now() + limit;
    ResolveOutcome out;
    LookupPool pool(lookup);
    for (const std::string& host : host_names(config)) {
        out.errors[host] = "no answer in time";
        pool.ask(host, LookupPool::Lane::quick);
    }
    std::size_t open = out.errors.size();
    while (open > 0 && pool.wait_until(deadline)) {
        for (LookupPool::Answer& answer : pool.take()) {
            --open;
            if (answer.result.addresses.empty()) {
                out.errors[answer.host] = answer.result.error;
            } else {
                out.errors.erase(answer.host);
                out.addresses[answer.host] = std::move(answer.result.addresses);
            }
        }
    }
    for (const config::Site& site : config.sites) {
        for (const config::Server& server : site.backends.servers) {
            if (const auto numeric = base::IpAddress::parse(server.host)) {
                out.addresses[server.host] = {*numeric};
            }
        }
    }
    return out;
}

}  // namespace s3gate::control
