#include "s3gate/net/buffer_pool.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <vector>

namespace s3gate::net {
namespace {

TEST(BufferPool, LendsAndTakesBack) {
    BufferPool pool;
    const char* place = nullptr;
    {
        Buffer buffer = pool.acquire();
        ASSERT_TRUE(buffer);
        place = buffer.data();
        buffer.data()[Buffer::size() - 1] = 'x';
        Buffer moved = std::move(buffer);
        EXPECT_FALSE(buffer);
        EXPECT_EQ(moved.data(), place);
        EXPECT_EQ(pool.in_use(), 1u);
    }
    EXPECT_EQ(pool.in_use(), 0u);
    Buffer again = pool.acquire();
    EXPECT_EQ(again.data(), place) << "the same memory";
    Buffer other = pool.acquire();
    EXPECT_NE(other.data(), place);
    EXPECT_EQ(pool.in_use(), 2u);
    other = std::move(again);
    EXPECT_EQ(pool.in_use(), 1u);
    other.release();
    other.release();
    EXPECT_EQ(pool.in_use(), 0u);
}

TEST(PipeBudget, IsABound) {
    PipeBudget budget(2);
    EXPECT_TRUE(budget.take());
    EXPECT_TRUE(budget.take());
    EXPECT_FALSE(budget.take());
    EXPECT_EQ(budget.in_use(), 2u);
    budget.give_back();
    EXPECT_TRUE(budget.take());
    EXPECT_GT(PipeBudget(0).limit(), 0u) << "0 = as many as the kernel gives";
}

bool is_empty(const Pipe& pipe) {
    char byte;
    return ::read(pipe.read_end(), &byte, 1) == -1 && errno == EAGAIN;
}

std::vector<Pipe> acquire(PipePool& pool, int count) {
    std::vector<Pipe> pipes;
    for (int i = 0; i < count; ++i) {
        pipes.push_back(pool.acquire());
        EXPECT_TRUE(pipes.back()) << i;
    }
    return pipes;
}

TEST(PipePool, KeepsEmptyPipes) {
    PipeBudget budget(4);
    PipePool pool(budget);
    int write_end = -1;
    {
        Pipe pipe = pool.acquire();
        ASSERT_TRUE(pipe);
        EXPECT_GE(pipe.capacity(), 64u * 1024);
        EXPECT_TRUE(is_empty(pipe));
        write_end = pipe.write_end();
    }
    EXPECT_EQ(budget.in_use(), 1u) << "an idle pipe counts";
    const Pipe again = pool.acquire();
    EXPECT_EQ(again.write_end(), write_end);
    EXPECT_EQ(budget.in_use(), 1u);
}

TEST(PipePool, ADirtyPipeNeverComesBack) {
    PipeBudget budget(1);
    PipePool pool(budget);
    for (int round = 0; round < 20; ++round) {
        Pipe pipe = pool.acquire();
        ASSERT_TRUE(pipe) << "the budget was given back";
        ASSERT_TRUE(is_empty(pipe)) << "bytes of another message";
        ASSERT_EQ(::write(pipe.write_end(), "secret", 6), 6);
        pipe.held = 6;
        if (round % 2 == 0) {
            Pipe moved = std::move(pipe);
            EXPECT_EQ(moved.held, 6u);
            EXPECT_EQ(pipe.held, 0u);
        } else {
            pipe = Pipe();
        }
        EXPECT_EQ(budget.in_use(), 0u);
    }
}

TEST(PipePool, GivesNothingBeyondTheBudget) {
    PipeBudget budget(1);
    PipePool pool(budget);
    PipePool other(budget);
    Pipe pipe = pool.acquire();
    ASSERT_TRUE(pipe);
    EXPECT_FALSE(other.acquire());
    EXPECT_FALSE(pool.acquire());
    EXPECT_EQ(budget.in_use(), 1u);
    pipe.held = 1;
    pipe.release();
    EXPECT_TRUE(other.acquire()) << "asked again at once: the budget is no failure of the kernel";
}

TEST(PipePool, OffersAShortBodyOnlyAPipeThatStays) {
    PipeBudget budget(6);  // 3 are kept
    PipePool pool(budget);
    constexpr std::uint64_t kLong = 256 * 1024;
    std::vector<Pipe> lent;
    for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(pool.offers(1));
        lent.push_back(pool.acquire());
    }
    EXPECT_FALSE(pool.offers(kLong - 1)) << "it would be made and closed again";
    EXPECT_TRUE(pool.offers(kLong));
    lent.pop_back();
    EXPECT_TRUE(pool.offers(1)) << "one is free";
    for (int i = 0; i < 4; ++i) {
        lent.push_back(pool.acquire());
    }
    EXPECT_EQ(budget.in_use(), 6u);
    EXPECT_FALSE(pool.offers(kLong)) << "none is left";
}

TEST(PipePool, KeepsFewAndClosesAllInTheEnd) {
    PipeBudget budget(20);
    {
        PipePool pool(budget);
        {
            const std::vector<Pipe> pipes = acquire(pool, 20);
            EXPECT_EQ(budget.in_use(), 20u);
        }
        EXPECT_EQ(budget.in_use(), 8u);
    }
    EXPECT_EQ(budget.in_use(), 0u);
}

TEST(PipePool, IdlePipesOfManyPoolsLeaveHalfOfTheBudget) {
    PipeBudget budget(12, 3);
    PipePool idle(budget);
    PipePool busy(budget);
    acquire(idle, 12).clear();
    EXPECT_EQ(budget.in_use(), 2u);
    const std::vector<Pipe> pipes = acquire(busy, 10);
    EXPECT_EQ(PipeBudget(3, 16).kept_per_pool(), 1u) << "a pool without any would make one a turn";
}

}  // namespace
}  // namespace s3gate::net
