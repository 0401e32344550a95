// What is kept of request bodies for a further attempt.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace s3gate::net {

// Memory of a worker's replay buffers: blocks go from request to request, the last one first, which
// is still in the caches. Not for threads.
class ReplayPool {
  public:
    static constexpr std::size_t kBlock = 64 * 1024;

  private:
    friend class ReplayBuffer;
    // So many blocks are kept for the next taker or lent; who comes beyond them allocates what it
    // needs and frees it.
    static constexpr std::size_t kBlocks = 64;
    std::unique_ptr<char[]> take();
    void give_back(std::unique_ptr<char[]> block);
    std::vector<std::unique_ptr<char[]>> free_;
    std::size_t lent_ = 0;
};

// The bytes of a request body received so far, kept while they fit, so that a further attempt can
// begin again.
class ReplayBuffer {
  public:
    // `pool`, if any, must outlive it.
    explicit ReplayBuffer(ReplayPool* pool = nullptr) : pool_(pool) {}
    ~ReplayBuffer() { release(); }
    ReplayBuffer(const ReplayBuffer&) = delete;
    ReplayBuffer& operator=(const ReplayBuffer&) = delete;

    // Begins anew, empty and without memory of its own.
    void reset(std::size_t limit) {
        limit_ = limit;
        whole_ = true;
        front_ = {};
        release();
    }
    // `stable`: the bytes stay where they are until the request ends and are not copied.
    void add(std::string_view bytes, bool stable);
    // True while every body byte received so far is in here.
    bool is_whole() const { return whole_; }
    std::string_view front() const { return front_; }
    std::string_view rest() const { return {rest_.get(), rest_size_}; }
    std::size_t size() const { return front_.size() + rest_size_; }
    // Keeps nothing from now on. The memory stays until reset(): a send may be under way from it.
    void drop() {
        whole_ = false;
        front_ = {};
        rest_size_ = 0;
    }
    // True if `bytes` more can be kept, and so be received in place: room() for them, then keep()
    // of what came.
    bool has_room(std::uint64_t bytes) const { return whole_ && bytes <= limit_ - size(); }
    // Where the next `size` bytes belong, uninitialised. rest() may move.
    char* room(std::size_t size);
    // Takes the first `size` bytes of the room, which stay where they are until more room is asked
    // for; returns them.
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
