#include "listener_table.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <system_error>
#include <utility>

#include "s3gate/net/listen_socket.hpp"

namespace s3gate::control {
namespace {

// With commas between them.
std::string names_of_sites(const state::Snapshot& snapshot, const state::Address& address) {
    std::string names;
    for (const std::uint32_t site : address.sites) {
        names += (names.empty() ? "" : ", ") + snapshot.sites[site].config->name;
    }
    return names;
}

// A process closes its sockets 1.5 s after it has no use for them.
constexpr base::Duration kEarlierSockets = std::chrono::minutes{1};

std::string cannot_listen(const state::ListenAddress& address, const std::string& owner,
                          const std::string& reason) {
    return "cannot listen on " + address.text + " (" + owner + "): " + reason;
}

}  // namespace

// With SO_REUSEPORT a second instance would silently take a part of the first one's clients. So no
// other process may have the address (docs/architecture.md, "Start, drain, stop"). Sockets of our
// own are no obstacle: a reload may replace a wildcard by one of its addresses.
ListenerTable::Obstacle ListenerTable::obstacle_of(const state::ListenAddress& address) const {
    const std::vector<std::uint64_t> own = overlapping_sockets(address);
    if (own.empty()) {
        const net::ProbeResult probe = net::probe_bind(address.address);
        return {probe.error, probe.no_ipv6};
    }
    const auto foreign = net::find_foreign_listener(address.address, own);
    return {foreign ? "another process listens on " + foreign->to_string() : std::string(), false};
}

ListenerTable::Living ListenerTable::living_of(const std::shared_ptr<proxy::Listener>& listener) {
    Living living{listener, {}};
    for (std::size_t place = 0; place < listener->places(); ++place) {
        living.inodes.push_back(net::inode_of(listener->socket(place)));
    }
    return living;
}

std::vector<std::uint64_t> ListenerTable::overlapping_sockets(
    const state::ListenAddress& address) const {
    std::vector<std::uint64_t> inodes = inherited_.overlapping(address.address);
    std::ranges::copy(overlapping(earlier(), address.address), std::back_inserter(inodes));
    for (const Living& living : living_) {
        const std::shared_ptr<proxy::Listener> listener = living.listener.lock();
        if (listener && base::overlaps(listener->address(), address.address)) {
            inodes.insert(inodes.end(), living.inodes.begin(), living.inodes.end());
        }
    }
    return inodes;
}

std::uint32_t ListenerTable::free_index() {
    const auto place =
        std::ranges::find_if(living_, [](const Living& item) { return item.listener.expired(); });
    if (place == living_.end()) {
        living_.emplace_back();
        return static_cast<std::uint32_t>(living_.size() - 1);
    }
    return static_cast<std::uint32_t>(place - living_.begin());
}

std::vector<ListenerTable::Wanted> ListenerTable::addresses_of(const state::Snapshot& snapshot) {
    std::vector<Wanted> out;
    for (std::uint32_t i = 0; i < snapshot.addresses.size(); ++i) {
        const state::Address& address = snapshot.addresses[i];
        out.push_back({&address, "site " + names_of_sites(snapshot, address), i, nullptr});
    }
    for (const state::ListenAddress& address : snapshot.admin_addresses) {
        out.push_back({&address, "admin", 0, nullptr});
    }
    return out;
}

ListenerTable::Provided ListenerTable::provide(const state::Snapshot& snapshot,
                                               Findings& findings) {
    inherited_.close_unusable(snapshot);
    std::ranges::copy(inherited_.warnings(), std::back_inserter(findings.warnings));
    std::vector<Wanted> wanted = addresses_of(snapshot);
    std::erase_if(wanted, [&](Wanted& item) {
        const state::ListenAddress& address = *item.address;
        if (const auto known = open_.find(address.identity); known != open_.end()) {
            item.listener = known->second;
            return false;
        }
        const Obstacle obstacle = obstacle_of(address);
        if (obstacle.is_no_ipv6) {
            findings.warnings.push_back("no IPv6 on this host: " + item.owner +
                                        " does not listen on " + address.text);
        } else if (!obstacle.problem.empty()) {
            findings.problems.push_back(cannot_listen(address, item.owner, obstacle.problem));
        }
        return obstacle.is_no_ipv6 || !obstacle.problem.empty();
    });
    open(wanted, findings);
    Provided out;
    for (Wanted& item : wanted) {
        if (item.listener && item.address->is_admin) {
            out.admin.push_back(std::move(item.listener));
        } else if (item.listener) {
            out.clients.push_back({std::move(item.listener), item.index});
        }
    }
    if (findings.problems.empty() && out.clients.empty()) {
        findings.problems.emplace_back("no address to listen on");
    }
    return out;
}

// Nothing listens before all are bound: a client in the queue of one would be reset because of the
// problem of another.
void ListenerTable::open(std::vector<Wanted>& wanted, Findings& findings) {
    std::vector<Wanted*> missing;
    for (Wanted& item : wanted) {
        if (!item.listener) {
            missing.push_back(&item);
        }
    }
    const auto for_each = [&](const auto& step) {
        for (Wanted* const item : missing) {
            if (!findings.problems.empty()) {
                return;
            }
            try {
                step(*item);
            } catch (const std::system_error& error) {
                findings.problems.push_back(
                    cannot_listen(*item->address, item->owner, error.code().message()));
            }
        }
    };
    for_each([&](Wanted& item) {
        const std::uint32_t index = free_index();
        const std::size_t sockets = item.address->is_admin ? 1 : workers_;
        item.listener =
            proxy::bind_listener(index, *item.address, sockets, inherited_.take(*item.address));
        living_[index] = living_of(item.listener);
    });
    if (listens_) {
        for_each([](const Wanted& item) { item.listener->listen(); });
    }
}

void ListenerTable::listen() {
    listens_ = true;
    for (const auto& [identity, listener] : open_) {
        listener->listen();
    }
}

void ListenerTable::give_to(uid_t user) const {
    for (const Living& living : living_) {
        if (const std::shared_ptr<proxy::Listener> listener = living.listener.lock()) {
            listener->give_to(user);
        }
    }
}

void ListenerTable::remember_inherited() {
    unused_ = inherited_.unused();
    if (!inherited_.bound().empty()) {
        earlier_ = inherited_.bound();
        earlier_until_ = base::Clock::now() + kEarlierSockets;
    }
    inherited_ = {};
}

std::span<const BoundSocket> ListenerTable::earlier() const {
    return base::Clock::now() < earlier_until_ ? std::span<const BoundSocket>(earlier_)
                                               : std::span<const BoundSocket>();
}

std::vector<BoundSocket> ListenerTable::closing() const {
    std::set<std::uint64_t> open;
    std::vector<BoundSocket> out;
    for (const Living& living : living_) {
        const std::shared_ptr<proxy::Listener> listener = living.listener.lock();
        if (!listener) {
            continue;
        }
        const bool is_open =
            std::ranges::any_of(open_, [&](const auto& item) { return item.second == listener; });
        for (const std::uint64_t inode : living.inodes) {
            if (is_open) {
                open.insert(inode);
            } else {
                out.push_back({listener->address(), inode});
            }
        }
    }
    std::ranges::copy_if(earlier(), std::back_inserter(out),
                         [&](const BoundSocket& socket) { return !open.contains(socket.inode); });
    return out;
}

void ListenerTable::use(const Listeners& listeners) {
    remember_inherited();
    for (const auto& listener : listeners) {
        open_.emplace(listener->identity(), listener);
    }
}

ListenerTable::Listeners ListenerTable::take_unused(const Listeners& listeners) {
    std::map<std::string, std::shared_ptr<proxy::Listener>> unused = std::exchange(open_, {});
    use(listeners);
    Listeners taken;
    for (auto& [identity, listener] : unused) {
        if (!open_.contains(identity)) {
            release(*listener);
            taken.push_back(std::move(listener));
        }
    }
    return taken;
}

ListenerTable::Listeners ListenerTable::take_named(const std::set<std::string>& names) {
    Listeners taken;
    std::erase_if(open_, [&](const auto& item) {
        const bool is_named = names.contains(listener_name(item.first));
        if (is_named) {
            release(*item.second);
            taken.push_back(item.second);
        }
        return is_named;
    });
    return taken;
}

ListenerTable::Listeners ListenerTable::take_all() {
    Listeners taken;
    for (auto& [identity, listener] : std::exchange(open_, {})) {
        taken.push_back(std::move(listener));
    }
    kept_.clear();
    return taken;
}

void ListenerTable::keep() {
    for (const auto& [identity, listener] : open_) {
        keep(*listener);
    }
}

void ListenerTable::keep(const proxy::Listener& listener) {
    for (std::size_t place = 0; store_ != nullptr && place < listener.places(); ++place) {
        std::string name = socket_name(listener.identity(), place);
        if (listener.socket(place) >= 0 && !kept_.contains(name)) {
            store_->keep(name, listener.socket(place));
            kept_.insert(std::move(name));
        }
    }
}

std::vector<PassedSocket> ListenerTable::copies() const {
    std::vector<PassedSocket> out;
    for (const auto& [identity, listener] : open_) {
        for (std::size_t place = 0; place < listener->places(); ++place) {
            if (listener->socket(place) < 0) {
                continue;
            }
            base::Descriptor copy(::fcntl(listener->socket(place), F_DUPFD_CLOEXEC, 0));
            if (!copy) {
                throw std::system_error(errno, std::generic_category(), "copy of a socket");
            }
            out.push_back({socket_name(identity, place), std::move(copy)});
        }
    }
    return out;
}

void ListenerTable::release(const proxy::Listener& listener) {
    for (std::size_t place = 0; place < listener.places(); ++place) {
        const auto kept = kept_.find(socket_name(listener.identity(), place));
        if (kept != kept_.end()) {
            store_->drop(*kept);
            kept_.erase(kept);
        }
    }
}

void ListenerTable::release() {
    for (const std::string& name : std::exchange(kept_, {})) {
        store_->drop(name);
    }
}

void ListenerTable::refuse_handshakes() const {
    for (const auto& [identity, listener] : open_) {
        if (!listener->is_admin()) {
            listener->refuse_handshakes();
        }
    }
}

std::string ListenerTable::describe(const proxy::Publication& publication) {
    const state::Snapshot& snapshot = *publication.snapshot;
    std::string text;
    for (const proxy::Listening& item : publication.listening) {
        text += (text.empty() ? "" : ", ") + item.listener->address().to_string() + " (" +
                names_of_sites(snapshot, snapshot.addresses[item.address]) + ")";
    }
    return text;
}

std::string ListenerTable::describe(const Listeners& admin) {
    std::string text;
    for (const auto& listener : admin) {
        text += (text.empty() ? "" : ", ") + listener->address().to_string();
    }
    return text;
}

}  // namespace s3gate::control
