// The threads of look-ups: bounded, left behind when they hang, used again when they return.

#include "lookup_pool.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>

#include "scripted_lookup.hpp"

namespace s3gate::control {
namespace {

using std::chrono::seconds;
using Lane = LookupPool::Lane;

class LookupPoolTest : public testing::Test {
  protected:
    void ask_many(const std::string& prefix, std::size_t count, Lane lane) {
        for (std::size_t i = 0; i < count; ++i) {
            pool->ask(prefix + std::to_string(i), lane);
        }
    }
    void hang_many(const std::string& prefix, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
            names.hang(prefix + std::to_string(i));
        }
    }
    // Takes answers until there have been `count`; fewer after a generous deadline.
    std::size_t take(std::size_t count) {
        const base::TimePoint deadline = base::Clock::now() + seconds{20};
        std::size_t taken = 0;
        while (taken < count && pool->wait_until(deadline)) {
            taken += pool->take().size();
        }
        return taken;
    }
    bool has_running(std::size_t count) {
        const base::TimePoint deadline = base::Clock::now() + seconds{20};
        while (names.running() != count && base::Clock::now() < deadline) {
            std::this_thread::yield();
        }
        return names.running() == count;
    }

    ScriptedLookup names;
    std::unique_ptr<LookupPool> pool = std::make_unique<LookupPool>(names.lookup());
};

TEST_F(LookupPoolTest, AnswersEachQuestion) {
    names.set("a", found({"10.0.0.1"}));
    pool->ask("a", Lane::quick);
    ASSERT_TRUE(pool->wait_until(base::Clock::now() + seconds{20}));
    const auto answers = pool->take();
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].host, "a");
    EXPECT_EQ(answers[0].result.addresses, found({"10.0.0.1"}).addresses);
    EXPECT_TRUE(pool->take().empty());
    EXPECT_FALSE(pool->wait_until(base::Clock::now()));
}

TEST_F(LookupPoolTest, ThreadsAreBoundedAndUsedAgain) {
    const std::size_t count = LookupPool::kMaxThreads + 10;
    hang_many("n", count);
    ask_many("n", count, Lane::quick);
    ASSERT_TRUE(has_running(LookupPool::kMaxThreads));
    names.release("n0");
    EXPECT_EQ(take(1), 1u);
    ASSERT_TRUE(has_running(LookupPool::kMaxThreads)) << "the next one took the place";
    names.release_all();
    EXPECT_EQ(take(count - 1), count - 1);
    EXPECT_EQ(names.most_running(), LookupPool::kMaxThreads);
    ask_many("n", count, Lane::quick);
    EXPECT_EQ(take(count), count) << "and again, with new threads";
}

TEST_F(LookupPoolTest, SlowNamesLeaveThreadsToTheOthers) {
    hang_many("slow", 50);
    ask_many("slow", 50, Lane::slow);
    ASSERT_TRUE(has_running(LookupPool::kMaxSlow));
    ask_many("quick", 50, Lane::quick);
    EXPECT_EQ(take(50), 50u);
    EXPECT_EQ(names.running(), LookupPool::kMaxSlow);
    names.release_all();
    EXPECT_EQ(take(50), 50u) << "none of the slow ones was forgotten";
}

TEST_F(LookupPoolTest, WhatNoThreadHasBegunCanBeTakenBack) {
    hang_many("n", LookupPool::kMaxThreads);
    ask_many("n", LookupPool::kMaxThreads, Lane::quick);
    ASSERT_TRUE(has_running(LookupPool::kMaxThreads));
    pool->ask("late", Lane::quick);
    EXPECT_FALSE(pool->withdraw("n0"));
    EXPECT_TRUE(pool->withdraw("late"));
    EXPECT_FALSE(pool->withdraw("late"));
    names.release_all();
    EXPECT_EQ(take(LookupPool::kMaxThreads), LookupPool::kMaxThreads);
    EXPECT_EQ(names.asked("late"), 0u);
}

// The threads left behind touch only what they own (address sanitizer) and tell nobody.
TEST_F(LookupPoolTest, WhoHangsIsLeftBehind) {
    auto told = std::make_shared<std::atomic<int>>(0);
    pool = std::make_unique<LookupPool>(names.lookup(), [told] { ++*told; });
    hang_many("n", 40);
    ask_many("n", 40, Lane::quick);
    ASSERT_TRUE(has_running(LookupPool::kMaxThreads));
    pool.reset();
    names.release_all();
    ASSERT_TRUE(has_running(0));
    EXPECT_EQ(*told, 0);
    EXPECT_EQ(names.asked("n39"), 0u) << "nothing new is begun";
}

}  // namespace
}  // namespace s3gate::control
