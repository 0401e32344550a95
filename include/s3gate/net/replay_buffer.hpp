// Keeps request bodies for another attempt.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace s3gate::net {

// Memory for a worker's replay buffers. Blocks pass from request to request, the last used first:
// it is still in the caches. One thread.
class ReplayPool {
  public:
    static constexpr std::size_t kBlock = 64 * 1024;

  private:
    friend class ReplayBuffer;
    // Number of blocks that are free or lent. Further requests allocate memory and free it.
    static constexpr std::size_t kBlocks = 64;
    std::unique_ptr<char[]> take();
    void give_back(std::unique_ptr<char[]> block);
    std::vector<std::unique_ptr<char[]>> free_;
    std::size_t lent_ = 0;
};

// The body bytes received so far, as long as they fit, for a resend to another backend.
class ReplayBuffer {
  public:
    // `pool`, if any, must outlive the buffer.
    explicit ReplayBuffer(ReplayPool* pool = nullptr) : pool_(pool) {}
    ~ReplayBuffer() { release(); }
    ReplayBuffer(const ReplayBuffer&) = delete;
    ReplayBuffer& operator=(const ReplayBuffer&) = delete;

    // Starts a new body: empty, without memory of its own.
    void reset(std::size_t limit) {
        limit_ = limit;
        whole_ = true;
        front_ = {};
        release();
    }
    // `stable`: the bytes stay in place until the request ends, so they are not copied.
    void add(std::string_view bytes, bool stable);
    // True while the buffer has every body byte received so far.
    bool is_whole() const { return whole_; }
    std::string_view front() const { return front_; }
    std::string_view rest() const { return {rest_.get(), rest_size_}; }
    std::size_t size() const { return front_.size() + rest_size_; }
    // Keeps nothing from now on. The memory stays until reset(), because a send may still use it.
    void drop() {
        whole_ = false;
        front_ = {};
        rest_size_ = 0;
    }
    // True if `bytes` more fit. The caller may then receive them in place: room() for them, then
    // keep() of those received.
    bool has_room(std::uint64_t bytes) const { return whole_ && bytes <= limit_ - size(); }
    // Uninitialised memory for the next `size` bytes. May move rest().
    char* room(std::size_t size);
    // Keeps the first `size` bytes of room() and returns them. They stay in place until the next
    // room().
    std::string_view keep(std::size_t size);

  private:
    static constexpr std::size_t kLeastCapacity = 4 * 1024;
    void grow(std::size_t least);
    void release();

    ReplayPool* pool_;
    bool is_block_ = false;  // rest_ belongs to the pool
    std::size_t limit_ = 0;
    bool whole_ = true;
    std::string_view front_;
    std::unique_ptr<char[]> rest_;
    std::size_t rest_size_ = 0;
    std::size_t capacity_ = 0;
};

}  // namespace s3gate::net
