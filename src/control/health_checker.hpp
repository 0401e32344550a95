// Active checks of all backends, on the control thread's io_context, with connections of their own.
// Results go through policy::HealthState to the board. Changes between up and down are logged with
// their reason.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>

#include "repeated_lines.hpp"
#include "s3gate/state/board.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::control {

class HealthChecker {
  public:
    // Called on the control thread when a backend goes down. `hard` is true if the deciding check
    // ended in a connect failure or a timeout; parked connections are closed then, and waiting
    // exchanges move on.
    using OnDown = std::function<void(state::CellId backend, bool hard)>;

    // The arguments must outlive the checker.
    HealthChecker(boost::asio::io_context& context, state::Board& board, RepeatedLines& lines,
                  OnDown on_down);
    ~HealthChecker();

    // Checks the peers of this generation from now on. Peers of an earlier generation keep their
    // state. Peers in a group without checks are set up.
    void use(std::shared_ptr<const state::Snapshot> snapshot);
    // Calls `done` when every peer has completed its first check, or after `limit`
    // (docs/architecture.md: READY waits at most timeout + 1 s).
    void when_first_round_done(std::function<void()> done, base::Duration limit);
    // True once a check of that peer has had a verdict.
    bool has_checked(state::CellId peer) const;
    // Discards the results of checks in progress, after a stall of this process.
    void discard_running();
    void stop();

  private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace s3gate::control
