#include "s3gate/net/task.hpp"

#include <array>
#include <new>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define S3GATE_POOL_FRAMES 0
#else
#define S3GATE_POOL_FRAMES 1
#endif

namespace s3gate::net {
namespace {

constexpr std::size_t kStep = 64;
constexpr std::size_t kClasses = 64;        // up to 4 KiB
constexpr std::size_t kMaxPerClass = 4096;  // bounds the frames that a burst leaves

struct FreeFrame {
    FreeFrame* next;
};

// Trivially destructible: coroutines may end while the thread's other objects are being destroyed.
struct FramePool {
    std::array<FreeFrame*, kClasses> heads{};
    std::array<std::size_t, kClasses> counts{};
};

[[maybe_unused]] FramePool& frame_pool() {
    thread_local FramePool pool;
    return pool;
}

constexpr std::size_t class_of(std::size_t size) {
    return (size + kStep - 1) / kStep - 1;
}

}  // namespace

void* allocate_frame(std::size_t size) {
#if S3GATE_POOL_FRAMES
    const std::size_t index = class_of(size);
    if (index < kClasses) {
        FramePool& pool = frame_pool();
        if (FreeFrame* frame = pool.heads[index]) {
            pool.heads[index] = frame->next;
            --pool.counts[index];
            return frame;
        }
        return ::operator new((index + 1) * kStep);
    }
#endif
    return ::operator new(size);
}

void free_frame(void* frame, std::size_t size) noexcept {
#if S3GATE_POOL_FRAMES
    const std::size_t index = class_of(size);
    if (index < kClasses) {
        FramePool& pool = frame_pool();
        if (pool.counts[index] < kMaxPerClass) {
            auto* free = static_cast<FreeFrame*>(frame);
            free->next = pool.heads[index];
            pool.heads[index] = free;
            ++pool.counts[index];
            return;
        }
    }
#else
    (void)size;
#endif
    ::operator delete(frame);
}

}  // namespace s3gate::net
