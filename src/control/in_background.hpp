// Runs long work on a thread of its own. The control loop goes on with checks, signals and the
// watchdog meanwhile.
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>

#include "process_setup.hpp"
#include "s3gate/base/clock.hpp"

namespace s3gate::control {

// How often the loop looks whether the work is done.
inline constexpr std::chrono::milliseconds kBackgroundPoll{5};

// Calls `work` on a thread of its own; returns its result or throws its exception. `work` must own
// all that it touches: a disk that never answers keeps the thread for ever, also after the caller
// is destroyed. Throws std::system_error if no thread can be started.
template <class Work>
boost::asio::awaitable<std::invoke_result_t<Work>> in_background(Work work) {
    struct State {
        explicit State(Work&& given) : work(std::move(given)) {}
        Work work;
        std::optional<std::invoke_result_t<Work>> result;
        std::exception_ptr error;
        std::atomic<bool> is_done{false};
    };
    const auto state = std::make_shared<State>(std::move(work));
    {
        const SignalsBlocked blocked;
        std::thread([state] {
            try {
                state->result.emplace(state->work());
            } catch (...) {
                state->error = std::current_exception();
            }
            state->is_done.store(true, std::memory_order_release);
        }).detach();
    }
    boost::asio::basic_waitable_timer<base::Clock, boost::asio::wait_traits<base::Clock>> timer(
        co_await boost::asio::this_coro::executor);
    while (!state->is_done.load(std::memory_order_acquire)) {
        timer.expires_after(kBackgroundPoll);
        co_await timer.async_wait(boost::asio::use_awaitable);
    }
    if (state->error) {
        std::rethrow_exception(state->error);
    }
    co_return std::move(*state->result);
}

}  // namespace s3gate::control
