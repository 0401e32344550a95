// A resolver that says what a test tells it to, on whatever threads ask; it can hang.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "s3gate/base/clock.hpp"
#include "s3gate/control/resolver.hpp"

namespace s3gate::control {

inline base::IpAddress ip(const std::string& text) {
    return *base::IpAddress::parse(text);
}

inline LookupResult found(const std::vector<std::string>& addresses) {
    LookupResult out;
    for (const std::string& address : addresses) {
        out.addresses.push_back(ip(address));
    }
    return out;
}

inline LookupResult failed(policy::LookupFailure kind, std::string error = "no such name") {
    LookupResult out;
    out.kind = kind;
    out.error = std::move(error);
    return out;
}

class ScriptedLookup {
  public:
    ~ScriptedLookup() { release_all(); }

    // The function for the code under test; it may outlive this object.
    Lookup lookup() {
        return [state = state_](const std::string& host) { return state->answer(host); };
    }

    void set(const std::string& host, LookupResult result) {
        const std::lock_guard lock(state_->mutex);
        state_->results[host] = std::move(result);
    }
    void hang(const std::string& host) {
        const std::lock_guard lock(state_->mutex);
        state_->hanging.insert(host);
    }
    // Look-ups that hang return what is set then.
    void release(const std::string& host) {
        const std::lock_guard lock(state_->mutex);
        state_->hanging.erase(host);
        state_->released.notify_all();
    }
    void release_all() {
        const std::lock_guard lock(state_->mutex);
        state_->hanging.clear();
        state_->released.notify_all();
    }

    std::size_t asked(const std::string& host) const {
        const std::lock_guard lock(state_->mutex);
        const auto times = state_->asked.find(host);
        return times == state_->asked.end() ? 0 : times->second.size();
    }
    std::vector<base::TimePoint> times(const std::string& host) const {
        const std::lock_guard lock(state_->mutex);
        return state_->asked[host];
    }
    std::size_t running() const {
        const std::lock_guard lock(state_->mutex);
        return state_->running;
    }
    std::size_t most_running() const {
        const std::lock_guard lock(state_->mutex);
        return state_->most_running;
    }
    // True if a name was asked for while it was asked for.
    bool has_overlapped() const {
        const std::lock_guard lock(state_->mutex);
        return state_->has_overlapped;
    }

  private:
    struct State {
        LookupResult answer(const std::string& host) {
            std::unique_lock lock(mutex);
            asked[host].push_back(base::Clock::now());
            has_overlapped = !under_way.insert(host).second || has_overlapped;
            most_running = std::max(most_running, ++running);
            released.wait(lock, [&] { return !hanging.contains(host); });
            --running;
            under_way.erase(host);
            const auto result = results.find(host);
            return result == results.end() ? failed(policy::LookupFailure::unknown_name)
                                           : result->second;
        }

        std::mutex mutex;
        std::condition_variable released;
        std::map<std::string, LookupResult> results;
        std::set<std::string> hanging;
        std::set<std::string> under_way;
        std::map<std::string, std::vector<base::TimePoint>> asked;
        std::size_t running = 0;
        std::size_t most_running = 0;
        bool has_overlapped = false;
    };

    std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace s3gate::control
