#include "growth_warning.hpp"

#include <gtest/gtest.h>

namespace s3gate::control {
namespace {

using std::chrono::seconds;

class Growth : public ::testing::Test {
  protected:
    std::uint64_t after(seconds time, std::uint64_t value) {
        return warning.growth(value, base::TimePoint(time));
    }
    GrowthWarning warning;
};

TEST_F(Growth, IsSaidOnceAndAtMostEveryMinute) {
    EXPECT_EQ(after(seconds{100}, 0), 0u);
    EXPECT_EQ(after(seconds{101}, 5), 5u);
    EXPECT_EQ(after(seconds{105}, 7), 0u) << "too early";
    EXPECT_EQ(after(seconds{111}, 8), 0u) << "too early";
    EXPECT_EQ(after(seconds{161}, 8), 3u) << "all since the last time, though the growth is over";
    EXPECT_EQ(after(seconds{300}, 8), 0u);
}

TEST_F(Growth, OfACounterThatBeganAnewIsItsValue) {
    EXPECT_EQ(after(seconds{100}, 1000), 1000u);
    EXPECT_EQ(after(seconds{120}, 1002), 0u);
    EXPECT_EQ(after(seconds{130}, 0), 0u);
    EXPECT_EQ(after(seconds{161}, 4), 6u) << "two before it began anew";
}

TEST_F(Growth, CanBeAskedForMoreOften) {
    GrowthWarning quick(seconds{10});
    EXPECT_EQ(quick.growth(1, base::TimePoint(seconds{100})), 1u);
    EXPECT_EQ(quick.growth(2, base::TimePoint(seconds{110})), 1u);
}

}  // namespace
}  // namespace s3gate::control
