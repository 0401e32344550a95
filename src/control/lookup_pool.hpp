// Look-ups on threads of their own, because the system's resolver blocks and cannot be interrupted.
// The threads are few and detached. One that never returns outlives the pool and touches only what
// it owns. One thread makes, uses and destroys the pool.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "s3gate/base/clock.hpp"
#include "s3gate/control/resolver.hpp"

namespace s3gate::control {

class LookupPool {
  public:
    // Enough to look up all names of a usual configuration at once. It bounds a configuration with
    // thousands of names, and a resolver that hangs.
    static constexpr std::size_t kMaxThreads = 32;
    // Limit on threads for names that were slow before, so that other names have the rest.
    static constexpr std::size_t kMaxSlow = 24;

    enum class Lane { quick, slow };

    struct Answer {
        std::string host;
        LookupResult result;
        base::Duration took{};  // without the time in the queue
    };

    // `on_answer` is called on a thread of the pool when there are answers to take, never once the
    // destructor has returned. It must not call the pool.
    explicit LookupPool(Lookup lookup, std::function<void()> on_answer = {});
    ~LookupPool();  // does not wait
    LookupPool(const LookupPool&) = delete;
    LookupPool& operator=(const LookupPool&) = delete;

    // Begins a look-up as soon as a thread is free. Its answer comes later; if no thread can be
    // made, the answer is a failure.
    void ask(const std::string& host, Lane lane);
    // Takes back a look-up that no thread has begun. True if so: no answer comes for it.
    bool withdraw(const std::string& host);
    // All answers since the last call.
    std::vector<Answer> take();
    // Waits for an answer; false if there is none at `deadline`.
    bool wait_until(base::TimePoint deadline);

  private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace s3gate::control
