// Look-ups on threads of their own, because the system's resolver blocks and cannot be interrupted.
// The threads are few and detached: one that never returns is left behind and touches nothing but
// what it owns. Used by one thread, which also makes and destroys it.
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
    // Enough for every real configuration to be asked for at once; a bound for one with thousands
    // of names, and for a resolver that hangs.
    static constexpr std::size_t kMaxThreads = 32;
    // Names that were slow before get no more than these, so that the others have the rest.
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

    // Begins a look-up as soon as a thread is free. Its answer comes later, also when no thread can
    // be made: a failure then.
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
