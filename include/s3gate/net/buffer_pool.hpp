// Large buffers and pipes for bodies. They are held only while they contain bytes, so a worker
// needs few. One pool of each per worker, no locks. The number of pipes is bounded for the whole
// process.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace s3gate::net {

// docs/architecture.md: one 256 KiB buffer carries all data that is not spliced.
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
    BufferPool* pool_ = nullptr;  // owner of data_, if any
    std::unique_ptr<char[]> data_;
};

class BufferPool {
  public:
    Buffer acquire();
    std::size_t in_use() const { return in_use_; }

  private:
    friend class Buffer;
    // Free buffers that the pool keeps; memory of a burst beyond them returns to the system.
    static constexpr std::size_t kKept = 4;
    std::vector<std::unique_ptr<char[]>> free_;
    std::size_t in_use_ = 0;
};

// The budget of pipes for the process, and their size.
class PipeBudget {
  public:
    // `limit` 0 = as many as the kernel gives this user at full size (pipe-user-pages-soft), or
    // plenty for a privileged user. `pools`: how many pools share the budget, one per worker.
    explicit PipeBudget(std::uint64_t limit, std::size_t pools = 1);
    // Another limit, as the constructor takes it. Pipes on loan above it come back one by one. Any
    // thread.
    void set_limit(std::uint64_t limit);
    bool take();
    void give_back();
    bool has_some() const { return in_use() < limit(); }
    std::uint64_t limit() const { return limit_.load(std::memory_order_relaxed); }
    std::uint64_t in_use() const { return used_.load(std::memory_order_relaxed); }
    // Idle pipes that each pool keeps, 1 to 8; they count against the budget. All together at most
    // half of it, as far as one each allows: idle workers must not leave a busy one without.
    std::size_t kept_per_pool() const { return kept_per_pool_.load(std::memory_order_relaxed); }

  private:
    std::size_t pools_;
    std::atomic<std::uint64_t> limit_{0};
    std::atomic<std::size_t> kept_per_pool_{0};
    std::atomic<std::uint64_t> used_{0};
};

class PipePool;

// A borrowed pipe. It returns to the pool if it is empty; otherwise it is closed.
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
    std::size_t held = 0;  // bytes inside; the code that splices keeps the count
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
    // True if acquire() will probably succeed and a pipe pays off for so many bytes: making and
    // closing a pipe costs more than copying a short body.
    bool offers(std::uint64_t bytes) const {
        return !free_.empty() ||
               ((bytes >= kWorthMaking || lent_ < budget_.kept_per_pool()) && budget_.has_some());
    }
    // An empty pipe of at least 64 KiB, or one that converts to false; the caller copies then.
    Pipe acquire();
    // Number of borrowed pipes.
    std::size_t lent() const { return lent_; }

  private:
    friend class Pipe;
    // Beyond its soft limit a user gets pipes of 8 KiB, which are worse than copying
    // (docs/architecture.md).
    static constexpr std::size_t kSmallest = 64 * 1024;
    // 1 MiB is the most that an unprivileged process gets (pipe-max-size). It needs a quarter less
    // CPU per byte than 256 KiB.
    static constexpr std::size_t kWanted = 1024 * 1024;
    static constexpr std::uint64_t kWorthMaking = 256 * 1024;
    PipeBudget& budget_;
    std::vector<Pipe> free_;
    std::size_t lent_ = 0;
    bool closing_ = false;
    unsigned refused_ = 0;  // acquisitions to skip after the kernel refused a pipe
};

}  // namespace s3gate::net
