// Active checks of all backends, on the control thread's io_context, with connections of its own.
// Results go through policy::HealthState to the board; flips are logged with their reason.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>

#include "s3gate/state/board.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::control {

class HealthChecker {
  public:
    // Called on the control thread when a backend goes down: `hard` is true when the deciding check
    // failed by connect failure or timeout (its parked connections close, exchanges waiting on it
    // move on).
    using OnDown = std::function<void(state::CellId backend, bool hard)>;

    HealthChecker(boost::asio::io_context& context, state::Board& board, OnDown on_down);
    ~HealthChecker();

    // Begins to check the peers of this generation; those that an earlier one had keep their state.
    // Health verdicts of peers whose group has checks off are set up.
    void use(std::shared_ptr<const state::Snapshot> snapshot);
    // Calls `done` once every peer has completed its first check, or after `limit`
    // (docs/architecture.md: READY waits at most timeout + 1 s).
    void when_first_round_done(std::function<void()> done, base::Duration limit);
    // Our own process stood still: results of checks in progress are thrown away.
    void discard_running();
    void stop();

  private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace s3gate::control
