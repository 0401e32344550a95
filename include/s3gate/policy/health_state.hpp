// Turns consecutive check results of one backend into up or down. Value type, no clock, no I/O;
// owned by the control thread.
#pragma once

namespace s3gate::policy {

enum class HealthFlip { none, went_up, went_down };

class HealthState {
  public:
    // Starts up. The first completed check alone decides (docs/architecture.md, "Health"); later
    // `fall` failures or `rise` successes in a row.
    HealthState(unsigned fall, unsigned rise) : fall_(fall), rise_(rise) {}

    // Takes the result of a completed check; tells whether the verdict changed.
    HealthFlip on_check(bool passed);

    bool is_up() const { return up_; }
    bool is_checked() const { return checked_; }
    unsigned failures() const { return failures_; }
    unsigned successes() const { return successes_; }

  private:
    unsigned fall_;
    unsigned rise_;
    unsigned failures_ = 0;
    unsigned successes_ = 0;
    bool up_ = true;
    bool checked_ = false;
};

}  // namespace s3gate::policy
