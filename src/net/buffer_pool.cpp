#include "s3gate/net/buffer_pool.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace s3gate::net {

void Buffer::give_back() {
    --pool_->in_use_;
    if (pool_->free_.size() < BufferPool::kKept) {
        pool_->free_.push_back(std::move(data_));
    }
    data_.reset();
}

Buffer BufferPool::acquire() {
    ++in_use_;
    if (free_.empty()) {
        return Buffer(this, std::unique_ptr<char[]>(new char[kBufferSize]));
    }
    Buffer buffer(this, std::move(free_.back()));
    free_.pop_back();
    return buffer;
}

namespace {

// True if the kernel exempts this process from pipe-user-pages-soft (CAP_SYS_RESOURCE or
// CAP_SYS_ADMIN, fs/pipe.c). /proc/self/status tells, because capabilities decide, not the user id.
bool is_exempt_from_pipe_limit() {
    std::FILE* file = std::fopen("/proc/self/status", "re");
    if (file == nullptr) {
        return false;
    }
    char line[256];
    unsigned long long effective = 0;
    while (std::fgets(line, sizeof line, file) != nullptr) {
        if (std::sscanf(line, "CapEff: %llx", &effective) == 1) {
            break;
        }
    }
    std::fclose(file);
    constexpr unsigned kSysAdmin = 21;
    constexpr unsigned kSysResource = 24;
    return ((effective >> kSysAdmin) & 1u) != 0 || ((effective >> kSysResource) & 1u) != 0;
}

std::uint64_t automatic_pipe_limit() {
    constexpr std::uint64_t kPrivileged = 1024;
    if (is_exempt_from_pipe_limit()) {
        return kPrivileged;
    }
    unsigned long pages = 16384;  // the kernel's default: 64 MiB
    if (std::FILE* file = std::fopen("/proc/sys/fs/pipe-user-pages-soft", "re")) {
        if (std::fscanf(file, "%lu", &pages) != 1) {
            pages = 16384;
        }
        std::fclose(file);
    }
    if (pages == 0) {
        return kPrivileged;  // 0 = no limit
    }
    // 256 pages per pipe; an eighth is left for other programs of the same user.
    const std::uint64_t pipes = pages / 256;
    return pipes - pipes / 8;
}

}  // namespace

PipeBudget::PipeBudget(std::uint64_t limit, std::size_t pools)
    : pools_(std::max<std::size_t>(pools, 1)) {
    set_limit(limit);
}

void PipeBudget::set_limit(std::uint64_t limit) {
    const std::uint64_t wanted = limit > 0 ? limit : automatic_pipe_limit();
    limit_.store(wanted, std::memory_order_relaxed);
    kept_per_pool_.store(
        static_cast<std::size_t>(std::clamp<std::uint64_t>(wanted / (2 * pools_), 1, 8)),
        std::memory_order_relaxed);
}

bool PipeBudget::take() {
    if (used_.fetch_add(1, std::memory_order_relaxed) < limit()) {
        return true;
    }
    used_.fetch_sub(1, std::memory_order_relaxed);
    return false;
}

void PipeBudget::give_back() {
    used_.fetch_sub(1, std::memory_order_relaxed);
}

Pipe::Pipe(Pipe&& other) noexcept
    : held(std::exchange(other.held, 0)),
      pool_(std::exchange(other.pool_, nullptr)),
      read_(std::exchange(other.read_, -1)),
      write_(std::exchange(other.write_, -1)),
      capacity_(other.capacity_) {}

Pipe& Pipe::operator=(Pipe&& other) noexcept {
    if (this != &other) {
        release();
        held = std::exchange(other.held, 0);
        pool_ = std::exchange(other.pool_, nullptr);
        read_ = std::exchange(other.read_, -1);
        write_ = std::exchange(other.write_, -1);
        capacity_ = other.capacity_;
    }
    return *this;
}

void Pipe::release() {
    if (read_ < 0) {
        return;
    }
    if (!pool_->closing_) {
        --pool_->lent_;
    }
    // Only an empty pipe is used again: bytes inside belong to a message that was cut.
    if (held == 0 && !pool_->closing_ && pool_->free_.size() < pool_->budget_.kept_per_pool()) {
        PipePool& pool = *pool_;
        pool.free_.push_back(std::move(*this));
        return;
    }
    ::close(read_);
    ::close(write_);
    read_ = write_ = -1;
    pool_->budget_.give_back();
}

PipePool::~PipePool() {
    closing_ = true;
    free_.clear();
}

Pipe PipePool::acquire() {
    if (!free_.empty()) {
        Pipe pipe = std::move(free_.back());
        free_.pop_back();
        ++lent_;
        return pipe;
    }
    if (refused_ > 0) {
        --refused_;
        return {};
    }
    if (!budget_.take()) {
        return {};
    }
    Pipe pipe;
    int ends[2];
    if (::pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0) {
        int capacity = ::fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(kWanted));
        if (capacity < 0) {
            capacity = ::fcntl(ends[1], F_GETPIPE_SZ);
        }
        if (capacity >= static_cast<int>(kSmallest)) {
            pipe.pool_ = this;
            pipe.read_ = ends[0];
            pipe.write_ = ends[1];
            pipe.capacity_ = static_cast<std::size_t>(capacity);
            ++lent_;
            return pipe;
        }
        ::close(ends[0]);
        ::close(ends[1]);
    }
    // No descriptor, or the user's pipe pages are spent. Copying always works, so the pool does not
    // try again for a while.
    budget_.give_back();
    refused_ = 64;
    return pipe;
}

}  // namespace s3gate::net
