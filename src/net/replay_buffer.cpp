#include "s3gate/net/replay_buffer.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace s3gate::net {

void ReplayBuffer::add(std::string_view bytes, bool stable) {
    if (!whole_) {
        return;
    }
    if (size() + bytes.size() > limit_) {
        drop();
        return;
    }
    if (stable && rest_size_ == 0 &&
        (front_.empty() || front_.data() + front_.size() == bytes.data())) {
        front_ =
            front_.empty() ? bytes : std::string_view(front_.data(), front_.size() + bytes.size());
    } else {
        std::memcpy(room(bytes.size()), bytes.data(), bytes.size());
        keep(bytes.size());
    }
}

char* ReplayBuffer::room(std::size_t size) {
    if (rest_size_ + size > capacity_) {
        grow(rest_size_ + size);
    }
    return rest_.get() + rest_size_;
}

void ReplayBuffer::grow(std::size_t least) {
    // For a known length the whole memory is allocated at once; otherwise it doubles.
    const std::size_t wanted =
        std::min(std::max({least, 2 * capacity_, kLeastCapacity}), std::max(limit_, least));
    const bool from_pool =
        pool_ != nullptr && wanted <= ReplayPool::kBlock && pool_->lent_ < ReplayPool::kBlocks;
    std::unique_ptr<char[]> larger =
        from_pool ? pool_->take() : std::make_unique_for_overwrite<char[]>(wanted);
    const std::size_t kept = rest_size_;
    if (kept > 0) {
        std::memcpy(larger.get(), rest_.get(), kept);
    }
    release();
    rest_ = std::move(larger);
    rest_size_ = kept;
    capacity_ = from_pool ? ReplayPool::kBlock : wanted;
    is_block_ = from_pool;
}

void ReplayBuffer::release() {
    if (is_block_) {
        pool_->give_back(std::move(rest_));
    }
    rest_.reset();
    rest_size_ = capacity_ = 0;
    is_block_ = false;
}

std::unique_ptr<char[]> ReplayPool::take() {
    ++lent_;
    if (free_.empty()) {
        return std::make_unique_for_overwrite<char[]>(kBlock);
    }
    std::unique_ptr<char[]> block = std::move(free_.back());
    free_.pop_back();
    return block;
}

void ReplayPool::give_back(std::unique_ptr<char[]> block) {
    --lent_;
    free_.push_back(std::move(block));
}

std::string_view ReplayBuffer::keep(std::size_t size) {
    const std::string_view kept(rest_.get() + rest_size_, size);
    rest_size_ += size;
    return kept;
}

}  // namespace s3gate::net
