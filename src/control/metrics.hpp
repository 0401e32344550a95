// Answers scrapes: gathers the facts on the control thread and renders the text on a thread of its
// own, one rendering at a time. Control thread only.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "metrics_text.hpp"

namespace s3gate::control {

class Metrics {
  public:
    // Scrapes that wait at a time; a further one is refused.
    static constexpr std::size_t kMostWaiting = 16;

    // `facts` is called once for each rendering.
    explicit Metrics(std::function<MetricsFacts()> facts) : facts_(std::move(facts)) {}
    Metrics(const Metrics&) = delete;
    Metrics& operator=(const Metrics&) = delete;

    // The metrics as they are now. A scrape that comes during a rendering gets the same text.
    // nullopt if too many wait. Does not block; may throw what the rendering throws.
    boost::asio::awaitable<std::optional<std::string>> text();

  private:
    struct Rendering {
        std::string text;
        bool is_done = false;
        bool has_failed = false;
    };
    boost::asio::awaitable<void> render(std::shared_ptr<Rendering> into);

    std::function<MetricsFacts()> facts_;
    // Only the thread of a rendering uses it, and there is one at a time.
    std::shared_ptr<RingDigest> digest_ = std::make_shared<RingDigest>();
    std::shared_ptr<Rendering> running_;
    std::size_t waiting_ = 0;
};

}  // namespace s3gate::control
