// Bounds of the times until the head of an answer was complete: of the figures of a server, and of
// the decision that one is slow.
#pragma once

#include <array>
#include <cstdint>

namespace s3gate::policy {

struct HeadBounds {
    // Rising.
    static constexpr std::array<std::uint64_t, 10> kMilliseconds{5,   10,  25,   50,   100,
                                                                 250, 500, 1000, 2500, 10'000};
};

}  // namespace s3gate::policy
