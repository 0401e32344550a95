// The exchanges of one worker, and the memory of ended ones, which later requests reuse. One
// thread.
#pragma once

#include <boost/intrusive/list.hpp>
#include <cstddef>
#include <memory>
#include <vector>

#include "s3gate/base/clock.hpp"

namespace s3gate::proxy {

class Exchange;
struct ClientConnection;
struct ExchangeSlot;
class Worker;

// In the list of exchanges in progress.
using ActiveHook = boost::intrusive::list_base_hook<boost::intrusive::tag<struct ActiveTag>>;

class ExchangePool {
  public:
    using Active = boost::intrusive::list<Exchange, boost::intrusive::base_hook<ActiveHook>>;

    explicit ExchangePool(Worker& worker);
    ~ExchangePool();
    ExchangePool(const ExchangePool&) = delete;
    ExchangePool& operator=(const ExchangePool&) = delete;

    // Makes the exchange for the client's next request, whose first byte arrived at `asked_at`. It
    // is in progress until end().
    ExchangeSlot& begin(ClientConnection& client, base::TimePoint asked_at);
    void end(ExchangeSlot& slot);
    // Frees memory that the last stretch of ticks did not need. Call it at every tick.
    void on_tick();

    Active& active() { return active_; }
    std::size_t active_count() const { return active_.size(); }

  private:
    std::size_t to_keep() const;

    Worker& worker_;
    std::vector<std::unique_ptr<ExchangeSlot>> idle_;  // without an exchange
    Active active_;
    // Largest number in progress at a time, in the current and the last stretch of ticks.
    std::size_t most_ = 0;
    std::size_t most_before_ = 0;
    unsigned ticks_ = 0;  // of the current stretch
};

}  // namespace s3gate::proxy
