#include "inherited_sockets.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "s3gate/base/text.hpp"
#include "s3gate/net/listen_socket.hpp"

namespace s3gate::control {
namespace {

constexpr std::string_view kPrefix = "s3gate-listen-";
// `workers` is at most that (main_rows.cpp).
constexpr std::size_t kMostPlaces = 1024;
constexpr std::size_t kMostNamesShown = 5;

struct Place {
    std::string address;  // the name without the place
    std::size_t place = 0;
};

std::optional<Place> place_of(const std::string& name) {
    const std::size_t dash = name.rfind('-');
    if (!name.starts_with(kPrefix) || dash < kPrefix.size()) {
        return std::nullopt;
    }
    const auto place = base::parse_decimal(std::string_view(name).substr(dash + 1));
    if (!place || *place >= kMostPlaces) {
        return std::nullopt;
    }
    return Place{name.substr(0, dash), static_cast<std::size_t>(*place)};
}

// The names come from outside.
std::string printable(std::string name) {
    std::ranges::replace_if(name, [](char c) { return c < ' ' || c > '~'; }, '?');
    return name;
}

template <class Names>
std::string list_of(const Names& names) {
    std::string text;
    std::size_t shown = 0;
    for (const std::string& name : names) {
        if (++shown > kMostNamesShown) {
            return text + ", …";
        }
        text += (text.empty() ? "" : ", ") + name;
    }
    return text;
}

}  // namespace

// An identity has letters, digits and ". _ - [ ]" besides what is replaced here.
std::string listener_name(std::string_view identity) {
    std::string name(kPrefix);
    for (const char c : identity) {
        name += c == ':' ? ';' : c == ' ' ? ',' : c;
    }
    return name;
}

std::string socket_name(std::string_view identity, std::size_t place) {
    return listener_name(identity) + "-" + std::to_string(place);
}

std::vector<std::uint64_t> overlapping(std::span<const BoundSocket> sockets,
                                       const base::SocketAddress& address) {
    std::vector<std::uint64_t> inodes;
    for (const BoundSocket& socket : sockets) {
        if (base::overlaps(socket.address, address)) {
            inodes.push_back(socket.inode);
        }
    }
    return inodes;
}

void claim(const std::vector<PassedSocket>& passed, SocketStore& store) {
    for (const PassedSocket& item : passed) {
        if (place_of(item.name)) {
            store.drop(item.name);
        }
    }
}

InheritedSockets::InheritedSockets(std::vector<PassedSocket> passed, Heritage heritage,
                                   std::vector<BoundSocket> closing)
    : heritage_(heritage), bound_(std::move(closing)) {
    std::set<std::string> foreign;
    for (PassedSocket& item : passed) {
        const auto place = place_of(item.name);
        if (!place) {
            foreign.insert(printable(item.name));
            continue;
        }
        if (const auto bound = net::bound_address(item.socket.get())) {
            bound_.push_back({*bound, net::inode_of(item.socket.get())});
        }
        by_address_[place->address].emplace(place->place, std::move(item.socket));
    }
    if (!foreign.empty()) {
        warnings_.push_back(
            "passed sockets (LISTEN_FDS) are ignored, because s3gate opens its own: " +
            list_of(foreign));
    }
}

void InheritedSockets::close_unusable(const state::Snapshot& snapshot) {
    std::map<std::string, Places, std::less<>> usable;
    std::set<std::string> taken;
    for (const state::ListenAddress* const address : state::listen_addresses_of(snapshot)) {
        auto found = by_address_.extract(listener_name(address->identity));
        if (!found) {
            continue;
        }
        close_misfits(found.mapped(), *address);
        if (!found.mapped().empty()) {
            taken.insert(address->text);
            usable.insert(std::move(found));
        }
    }
    std::set<std::string> left;
    for (const auto& [name, places] : by_address_) {
        const auto bound = net::bound_address(places.begin()->second.get());
        left.insert(bound ? bound->to_string() : printable(name));
        unused_.insert(name);
    }
    by_address_ = std::move(usable);
    report(taken, left);
}

void InheritedSockets::report(const std::set<std::string>& taken,
                              const std::set<std::string>& left) {
    if (heritage_ == Heritage::upgrade) {
        return;  // no address is in another state than the configuration says
    }
    if (!taken.empty()) {
        warnings_.push_back(
            "the process before ended without a stop; its listening sockets are taken over: " +
            list_of(taken));
    }
    if (!left.empty()) {
        warnings_.push_back(
            "the process before left listening sockets of addresses that are not configured any "
            "more; they are closed: " +
            list_of(left));
    }
}

void InheritedSockets::close_misfits(Places& places, const state::ListenAddress& address) {
    std::set<std::string> reasons;
    base::SocketAddress wanted = address.address;
    std::erase_if(places, [&](const auto& item) {
        std::string reason = net::adopt_listener(item.second.get(), wanted);
        if (!reason.empty()) {
            reasons.insert(std::move(reason));
            return true;
        }
        // Port 0: the first socket decides.
        wanted = net::bound_address(item.second.get()).value_or(wanted);
        return false;
    });
    if (!reasons.empty() && heritage_ == Heritage::upgrade) {
        places.clear();
        unused_.insert(listener_name(address.identity));
    }
    if (!reasons.empty()) {
        warnings_.push_back("the process before left a socket of " + address.text +
                            " that cannot be used and is opened anew: " + list_of(reasons));
    }
}

std::vector<base::Descriptor> InheritedSockets::take(const state::ListenAddress& address) {
    std::vector<base::Descriptor> sockets;
    auto found = by_address_.extract(listener_name(address.identity));
    if (found) {
        for (auto& [place, socket] : found.mapped()) {
            sockets.resize(place + 1);
            sockets[place] = std::move(socket);
        }
    }
    return sockets;
}

}  // namespace s3gate::control
