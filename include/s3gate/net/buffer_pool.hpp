// Big buffers and pipes that bodies pass through. Both are held only while bytes are in them, so
// that a worker needs few. One pool of each per worker, no locks; the number of pipes is bounded
// for the whole process.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace s3gate::net {

// docs/architecture.md: one 256 KiB buffer carries everything that is not spliced.
inline constexpr std::size_t kBufferSize = 256 * 1024;

class BufferPool;

class Buffer {
  public:
    Buffer() = default;
    Buffer(Buffer&& other) noexcept = default;
    Buffer& operator=(Buffer&& other) noexcept {
        if (this != &other) {
            release();
            pool_ = other.pool_;
            data_ = std::move(other.data_);
        }
        return *this;
    }
    ~Buffer() { release(); }
    explicit operator bool() const { return data_ != nullptr; }
    char* data() { return data_.get(); }
    static constexpr std::size_t size() { return kBufferSize; }
    void release() {
        if (data_) {
            give_back();
        }
    }

  private:
    friend class BufferPool;
    Buffer(BufferPool* pool, std::unique_ptr<char[]> data) : pool_(pool), data_(std::move(data)) {}
    void give_back();
    BufferPool* pool_ = nullptr;  // of data_, if any
    std::unique_ptr<char[]> data_;
};

class BufferPool {
  public:
    Buffer acquire();
    std::size_t in_use() const { return in_use_; }

  private:
    friend class Buffer;
    // Free buffers kept for the next taker; a burst of slow receivers gives the rest back to the
    // system.
    static constexpr std::size_t kKept = 4;
    std::vector<std::unique_ptr<char[]>> free_;
    std::size_t in_use_ = 0;
};

// The process-wide budget of pipes and their size.
class PipeBudget {
  public:
    // 0 = as many as the kernel gives this user without shrinking them (pipe-user-pages-soft), or
    // plenty for a privileged one. `pools`: how many share it, one per worker.
    explicit PipeBudget(std::uint64_t limit, std::size_t pools = 1);
    bool take();
    void give_back();
    bool has_some() const { return in_use() < limit_; }
    std::uint64_t limit() const { return limit_; }
    std::uint64_t in_use() const { return used_.load(std::memory_order_relaxed); }
    // Idle pipes that each pool keeps, 1 to 8; they count against the budget. All together at most
    // half of it, as far as one each allows: idle workers must not leave a busy one without.
    std::size_t kept_per_pool() const { return kept_per_pool_; }

  private:
    std::uint64_t limit_;
    std::size_t kept_per_pool_;
    std::atomic<std::uint64_t> used_{0};
};

class PipePool;

// A pipe on loan. Goes back to the pool when it is empty, is closed when bytes are left in it.
class Pipe {
  public:
    Pipe() = default;
    Pipe(Pipe&& other) noexcept;
    Pipe& operator=(Pipe&& other) noexcept;
    ~Pipe() { release(); }
    explicit operator bool() const { return read_ >= 0; }
    int read_end() const { return read_; }
    int write_end() const { return write_; }
    std::size_t capacity() const { return capacity_; }
    std::size_t held = 0;  // bytes inside, kept by whoever splices
    void release();

  private:
    friend class PipePool;
    PipePool* pool_ = nullptr;
    int read_ = -1;
    int write_ = -1;
    std::size_t capacity_ = 0;
};

class PipePool {
  public:
    explicit PipePool(PipeBudget& budget) : budget_(budget) {}
    ~PipePool();
    // True if acquire() is likely to give one, and that is worth it for so many bytes: making a
    // pipe and closing it again costs more than copying a short body.
    bool offers(std::uint64_t bytes) const {
        return !free_.empty() ||
               ((bytes >= kWorthMaking || lent_ < budget_.kept_per_pool()) && budget_.has_some());
    }
    // An empty pipe of at least 64 KiB, or one that converts to false: the caller copies instead.
    Pipe acquire();
    // Pipes that are out on loan.
    std::size_t lent() const { return lent_; }

  private:
    friend class Pipe;
    // What the kernel gives a user past its soft limit is 8 KiB: worse than copying
    // (docs/architecture.md).
    static constexpr std::size_t kSmallest = 64 * 1024;
    // 1 MiB, the most an unprivileged process may ask for (pipe-max-size), needs a quarter less CPU
    // per byte than 256 KiB.
    static constexpr std::size_t kWanted = 1024 * 1024;
    static constexpr std::uint64_t kWorthMaking = 256 * 1024;
    PipeBudget& budget_;
    std::vector<Pipe> free_;
    std::size_t lent_ = 0;
    bool closing_ = false;
    unsigned refused_ = 0;  // acquisitions to skip after the kernel refused one
};

}  // namespace s3gate::net
