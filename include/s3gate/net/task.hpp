// Coroutines of the data path. task<T> is lazy, has one awaiter and resumes it directly at its end.
// Frames come from a per-thread pool, so a request allocates nothing in the steady state. All of it
// belongs to one worker thread.
//
// Do not write co_await where it may be skipped (after && or ||, in an arm of ?:). GCC 12 runs it
// even then if the whole is converted to another type, as in `optional = done() ? a : co_await
// b()`.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <utility>

namespace s3gate::net {

// Recycles coroutine frames by size class (steps of 64 bytes up to 4 KiB; larger ones use the
// heap). Per thread, no locks. Sanitizer builds use the heap for all, so they see a frame used
// after its end.
void* allocate_frame(std::size_t size);
void free_frame(void* frame, std::size_t size) noexcept;

namespace detail {

struct FrameAllocation {
    static void* operator new(std::size_t size) { return allocate_frame(size); }
    static void operator delete(void* frame, std::size_t size) noexcept { free_frame(frame, size); }
};

struct FinalAwaiter {
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) const noexcept {
        const std::coroutine_handle<> next = self.promise().continuation;
        return next ? next : std::noop_coroutine();
    }
    void await_resume() const noexcept {}
};

struct PromiseBase : FrameAllocation {
    std::coroutine_handle<> continuation;
    std::suspend_always initial_suspend() const noexcept { return {}; }
    FinalAwaiter final_suspend() const noexcept { return {}; }
    // The data path throws nothing of its own. An exception here means exhausted memory or a broken
    // invariant; both end the process.
    [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
};

}  // namespace detail

template <class T>
class [[nodiscard]] task {
  public:
    struct promise_type : detail::PromiseBase {
        std::optional<T> value;
        task get_return_object() {
            return task(std::coroutine_handle<promise_type>::from_promise(*this));
        }
        template <class U>
        void return_value(U&& result) {
            value.emplace(std::forward<U>(result));
        }
    };

    task(task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    task& operator=(task&&) = delete;
    ~task() {
        if (handle_) {
            handle_.destroy();
        }
    }
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiter) noexcept {
        handle_.promise().continuation = awaiter;
        return handle_;
    }
    T await_resume() { return std::move(*handle_.promise().value); }

  private:
    explicit task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
    std::coroutine_handle<promise_type> handle_;
};

template <>
class [[nodiscard]] task<void> {
  public:
    struct promise_type : detail::PromiseBase {
        task get_return_object() {
            return task(std::coroutine_handle<promise_type>::from_promise(*this));
        }
        void return_void() const noexcept {}
    };

    task(task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    task& operator=(task&&) = delete;
    ~task() {
        if (handle_) {
            handle_.destroy();
        }
    }
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiter) noexcept {
        handle_.promise().continuation = awaiter;
        return handle_;
    }
    void await_resume() const noexcept {}

  private:
    explicit task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
    std::coroutine_handle<promise_type> handle_;
};

// A coroutine that starts at once and owns itself: the root of a connection, or the upload half of
// an exchange. The starting code needs a way to see its end (a counter, a flag set by its last
// statement).
struct detached {
    struct promise_type : detail::FrameAllocation {
        detached get_return_object() const noexcept { return {}; }
        std::suspend_never initial_suspend() const noexcept { return {}; }
        std::suspend_never final_suspend() const noexcept { return {}; }
        [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
        void return_void() const noexcept {}
    };
};

}  // namespace s3gate::net
