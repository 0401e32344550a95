#include "process_self.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <vector>

namespace s3gate::control {
namespace {

class ProcessSelfTest : public testing::Test {
  protected:
    ~ProcessSelfTest() override { ::setrlimit(RLIMIT_NOFILE, &before); }

    rlimit before = [] {
        rlimit limit{};
        ::getrlimit(RLIMIT_NOFILE, &limit);
        return limit;
    }();
};

// A metric that says 0 then would silence the alert that looks at it.
TEST_F(ProcessSelfTest, CountsWhereNoDescriptorIsLeft) {
    const ProcessSelf process;
    const std::int64_t at_first = process.open_descriptors().value();
    EXPECT_GT(at_first, 2);
    const rlimit few{64, before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
    std::vector<base::Descriptor> all;
    for (int fd = ::open("/dev/null", O_RDONLY); fd >= 0; fd = ::open("/dev/null", O_RDONLY)) {
        all.emplace_back(fd);
    }
    EXPECT_EQ(process.open_descriptors(), at_first + static_cast<std::int64_t>(all.size()));
    EXPECT_GT(process.resident_bytes().value(), 1u << 20);
    all.clear();
    EXPECT_EQ(process.open_descriptors(), at_first);
}

TEST_F(ProcessSelfTest, KnowsWhenTheProcessBegan) {
    const double now =
        std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    const double start = ProcessSelf().started_at().value();
    EXPECT_LE(start, now + 1);
    EXPECT_GT(start, now - 600);
}

}  // namespace
}  // namespace s3gate::control
