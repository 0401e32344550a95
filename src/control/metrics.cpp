#include "metrics.hpp"

#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <stdexcept>
#include <utility>

#include "in_background.hpp"

namespace s3gate::control {

namespace asio = boost::asio;

asio::awaitable<std::optional<std::string>> Metrics::text() {
    if (waiting_ >= kMostWaiting) {
        co_return std::nullopt;
    }
    ++waiting_;
    std::shared_ptr<Rendering> rendering = running_;
    if (!rendering) {
        rendering = running_ = std::make_shared<Rendering>();
        co_await render(rendering);
        running_.reset();
    }
    asio::basic_waitable_timer<base::Clock, asio::wait_traits<base::Clock>> pause(
        co_await asio::this_coro::executor);
    while (!rendering->is_done) {
        pause.expires_after(kBackgroundPoll);
        co_await pause.async_wait(asio::use_awaitable);
    }
    --waiting_;
    if (rendering->has_failed) {
        throw std::runtime_error("the metrics cannot be rendered");
    }
    // A text of megabytes is not copied where nobody else has it.
    co_return rendering.use_count() == 1 ? std::move(rendering->text) : rendering->text;
}

asio::awaitable<void> Metrics::render(std::shared_ptr<Rendering> into) {
    try {
        // Named: GCC 12 destroys a temporary with captures twice within co_await (PR 99576).
        MetricsFacts facts = facts_();
        facts.digest = digest_;
        const auto work = [facts = std::move(facts)] { return metrics_text(facts); };
        into->text = co_await in_background(work);
    } catch (const std::exception&) {
        into->has_failed = true;
    }
    into->is_done = true;
}

}  // namespace s3gate::control
