#include "s3gate/control/resolver.hpp"

#include <netdb.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>

#include "process_setup.hpp"

namespace s3gate::control {
namespace {

// Enough threads to resolve a typical configuration at once; a bound for thousands of names.
constexpr std::size_t kMaxThreads = 32;

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

struct PendingResolution::State {
    Lookup lookup;
    std::vector<std::string> hosts;
    mutable std::mutex mutex;
    std::condition_variable done;
    std::size_t next = 0;  // first host without a thread
    std::size_t answered = 0;
    std::map<std::string, LookupResult> results;
    bool abandoned = false;
    std::string thread_error;  // why no thread could be made

    void run();
};

void PendingResolution::State::run() {
    std::unique_lock lock(mutex);
    while (!abandoned && next < hosts.size()) {
        const std::string host = hosts[next++];
        lock.unlock();
        LookupResult result = lookup(host);
        lock.lock();
        results.insert_or_assign(host, std::move(result));
        if (++answered == hosts.size()) {
            done.notify_all();
        }
    }
}

PendingResolution::PendingResolution(const std::set<std::string>& hosts, const Lookup& lookup)
    : state_(std::make_shared<State>()) {
    state_->lookup = lookup;
    state_->hosts.assign(hosts.begin(), hosts.end());
    const SignalsBlocked blocked;
    for (std::size_t i = 0; i < std::min(hosts.size(), kMaxThreads); ++i) {
        try {
            // Detached, because getaddrinfo cannot be interrupted and may hang. The thread's
            // shared_ptr keeps all that it uses alive.
            std::thread([state = state_] { state->run(); }).detach();
        } catch (const std::system_error& error) {
            const std::lock_guard lock(state_->mutex);
            if (i == 0) {
                state_->thread_error =
                    std::string("cannot start a thread: ") + error.code().message();
            }
            break;
        }
    }
}

PendingResolution::~PendingResolution() {
    const std::lock_guard lock(state_->mutex);
    state_->abandoned = true;
}

void PendingResolution::wait_until(base::TimePoint deadline) {
    std::unique_lock lock(state_->mutex);
    state_->done.wait_until(lock, deadline, [this] {
        return state_->answered == state_->hosts.size() || !state_->thread_error.empty();
    });
}

bool PendingResolution::is_done() const {
    const std::lock_guard lock(state_->mutex);
    return state_->answered == state_->hosts.size() || !state_->thread_error.empty();
}

ResolveOutcome PendingResolution::outcome() const {
    const std::lock_guard lock(state_->mutex);
    ResolveOutcome out;
    for (const std::string& host : state_->hosts) {
        const auto found = state_->results.find(host);
        if (found == state_->results.end()) {
            out.errors[host] =
                state_->thread_error.empty() ? "no answer in time" : state_->thread_error;
        } else if (found->second.addresses.empty()) {
            out.errors[host] = found->second.error;
        } else {
            out.addresses[host] = found->second.addresses;
        }
    }
    return out;
}

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
    PendingResolution pending(host_names(config), lookup);
    pending.wait_until(deadline);
    ResolveOutcome out = pending.outcome();
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
