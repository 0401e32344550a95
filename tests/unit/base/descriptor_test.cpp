#include "s3gate/base/descriptor.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <utility>

namespace s3gate::base {
namespace {

bool is_open(int fd) {
    return ::fcntl(fd, F_GETFD) >= 0;
}

int fresh() {
    return ::eventfd(0, EFD_CLOEXEC);
}

TEST(Descriptor, ClosesWhatItOwnsOnce) {
    const int fd = fresh();
    {
        Descriptor owner(fd);
        EXPECT_TRUE(owner);
        EXPECT_EQ(owner.get(), fd);
    }
    EXPECT_FALSE(is_open(fd));
    Descriptor closed(fresh());
    const int number = closed.get();
    closed.close();
    EXPECT_FALSE(closed);
    const Descriptor other(fresh());  // the kernel gives the number to this one
    ASSERT_EQ(other.get(), number);
    closed.close();
    EXPECT_TRUE(is_open(other.get()));
}

TEST(Descriptor, MovesWithoutClosingAndClosesWhatItReplaces) {
    Descriptor first(fresh());
    const int kept = first.get();
    Descriptor second(std::move(first));
    EXPECT_EQ(second.get(), kept);
    Descriptor third(fresh());
    const int replaced = third.get();
    third = std::move(second);
    EXPECT_EQ(third.get(), kept);
    EXPECT_TRUE(is_open(kept));
    EXPECT_FALSE(is_open(replaced));
    const int given = third.release();
    EXPECT_FALSE(third);
    EXPECT_TRUE(is_open(given));
    ::close(given);
}

TEST(Descriptor, IsNoneFromTheStartOrForANegativeNumber) {
    EXPECT_FALSE(Descriptor());
    EXPECT_FALSE(Descriptor(-1));
}

}  // namespace
}  // namespace s3gate::base
