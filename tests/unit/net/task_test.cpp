#include "s3gate/net/task.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace s3gate::net {
namespace {

// A coroutine waits here until the test resumes it.
struct Gate {
    std::coroutine_handle<> waiter;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> self) noexcept { waiter = self; }
    void await_resume() const noexcept {}
    void open() { std::exchange(waiter, nullptr).resume(); }
};

task<std::unique_ptr<int>> make_pointer(int value) {
    co_return std::make_unique<int>(value);
}

task<std::string> add(std::string left, std::string right) {
    co_return left + right;
}

task<int> sum_to(int n) {
    if (n == 0) {
        co_return 0;
    }
    co_return n + co_await sum_to(n - 1);
}

detached run(std::unique_ptr<int>& pointer, std::string& text, int& sum) {
    pointer = co_await make_pointer(42);
    text = co_await add("a long text that does not fit into the object itself, ", "and another");
    sum = co_await sum_to(100);
}

TEST(Task, HandsItsValueOverByMoving) {
    std::unique_ptr<int> pointer;
    std::string text;
    int sum = 0;
    run(pointer, text, sum);
    ASSERT_TRUE(pointer);
    EXPECT_EQ(*pointer, 42);
    EXPECT_EQ(text, "a long text that does not fit into the object itself, and another");
    EXPECT_EQ(sum, 5050);
}

task<void> note(std::vector<int>& events, Gate& gate) {
    events.push_back(2);
    co_await gate;
    events.push_back(4);
}

detached note_around(std::vector<int>& events, Gate& gate) {
    task<void> inner = note(events, gate);
    events.push_back(1);
    co_await inner;
    events.push_back(5);
}

TEST(Task, IsLazyAndResumesItsAwaiterDirectly) {
    std::vector<int> events;
    Gate gate;
    note_around(events, gate);
    events.push_back(3);
    gate.open();
    EXPECT_EQ(events, (std::vector<int>{1, 2, 3, 4, 5}));
}

task<void> hold(std::shared_ptr<int> held) {
    (void)held;
    co_return;
}

TEST(Task, FreesAFrameThatNeverRan) {
    auto held = std::make_shared<int>(1);
    {
        task<void> never = hold(held);
        task<void> moved = std::move(never);
        EXPECT_EQ(held.use_count(), 2);
    }
    EXPECT_EQ(held.use_count(), 1);
}

TEST(Frames, AreRecycledBySizeClass) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "sanitizer builds pass frames on to the heap";
#else
    void* first = allocate_frame(1000);
    void* second = allocate_frame(1000);
    EXPECT_NE(first, second);
    free_frame(first, 1000);
    free_frame(second, 1000);
    EXPECT_EQ(allocate_frame(961), second) << "the same class of 64 bytes, the latest first";
    EXPECT_EQ(allocate_frame(1024), first);
    void* other = allocate_frame(1025);
    EXPECT_NE(other, first);
    free_frame(other, 1025);
    EXPECT_NE(allocate_frame(1024), other) << "another class";
    EXPECT_EQ(allocate_frame(1088), other);
#endif
    // Large frames go to the heap and come back from it.
    for (const std::size_t size : {std::size_t{1}, std::size_t{64}, std::size_t{4096},
                                   std::size_t{4097}, std::size_t{100000}}) {
        char* frame = static_cast<char*>(allocate_frame(size));
        frame[0] = frame[size - 1] = 'x';
        free_frame(frame, size);
    }
}

}  // namespace
}  // namespace s3gate::net
