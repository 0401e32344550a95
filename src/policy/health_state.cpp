#include "s3gate/policy/health_state.hpp"

namespace s3gate::policy {

HealthFlip HealthState::on_check(bool passed) {
    const bool is_first = !checked_;
    checked_ = true;
    if (passed) {
        failures_ = 0;
        ++successes_;
        if (!up_ && successes_ >= rise_) {
            up_ = true;
            return HealthFlip::went_up;
        }
        return HealthFlip::none;
    }
    successes_ = 0;
    ++failures_;
    // The first failed check takes a backend down at once: it must not get requests until `fall`
    // checks failed. (A first check that passes changes nothing, because the state starts up.)
    if (up_ && (is_first || failures_ >= fall_)) {
        up_ = false;
        return HealthFlip::went_down;
    }
    return HealthFlip::none;
}

}  // namespace s3gate::policy
