#include "s3gate/policy/tick_lateness.hpp"

#include <gtest/gtest.h>

namespace s3gate::policy {
namespace {

TEST(TickLateness, OneLateTickIsSeenForAWindowAtLeastAndForTwoAtMost) {
    for (unsigned before = 0; before < TickLateness::kWindow; ++before) {
        TickLateness lateness;
        for (unsigned i = 0; i < before; ++i) {
            ASSERT_EQ(lateness.note(1), 1u);
        }
        ASSERT_EQ(lateness.note(9), 9u);
        unsigned seen = 0;
        while (lateness.note(1) == 9) {
            ++seen;
        }
        EXPECT_GE(seen, TickLateness::kWindow);
        EXPECT_LT(seen, 2 * TickLateness::kWindow);
        EXPECT_EQ(lateness.note(0), 1u);
    }
}

}  // namespace
}  // namespace s3gate::policy
