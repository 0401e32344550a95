// The keys that a worker has sent to servers within the last while: the sessions that are present
// at a server. A set with false positives, of a fixed size, in two generations: a key is known for
// at least the time between two calls of turn(), and at most twice that. With 10,000 keys about 1 %
// of the others look known, with 50,000 about 12 %. The worker writes; any thread may read.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <utility>

namespace s3gate::state {

class SeenKeys {
  public:
    static constexpr std::size_t kWords = 4096;  // of one generation

    SeenKeys() = default;
    SeenKeys(const SeenKeys&) = delete;
    SeenKeys& operator=(const SeenKeys&) = delete;

    // `key`, `server`: hashes of the key and of the server's text. A request costs one look at one
    // word. Its worker only.
    void note(std::uint32_t key, std::uint32_t server) {
        const Place place = place_of(key, server);
        const std::atomic_ref<std::uint64_t> word(present_[place.word]);
        const std::uint64_t before = word.load(std::memory_order_relaxed);
        if ((before & place.bits) != place.bits) {
            word.store(before | place.bits, std::memory_order_relaxed);
        }
    }
    bool has(std::uint32_t key, std::uint32_t server) const {
        const Place place = place_of(key, server);
        return is_set(first_.get(), place) || is_set(second_.get(), place);
    }
    // Calls turn() where the last call, or the first of this function, is `ttl` ago. Its worker
    // only.
    void turn_after(std::uint64_t now, std::uint64_t ttl) {
        if (turned_at_ != 0 && now - turned_at_ < ttl) {
            return;
        }
        if (std::exchange(turned_at_, now) != 0) {
            turn();
        }
    }
    // Forgets the older generation and begins a new one.
    void turn() {
        present_ = present_ == first_.get() ? second_.get() : first_.get();
        clear(present_);
    }
    // Forgets all. While no worker uses it.
    void clear() {
        clear(first_.get());
        clear(second_.get());
    }
    // Adds the words of both generations to `sum`, which has kWords. Any thread.
    void add_to(std::span<std::uint64_t> sum) const;
    // Notes what add_to() gave elsewhere. Before its worker uses it.
    void take_in(std::size_t word, std::uint64_t bits) { first_[word] |= bits; }

  private:
    // Memory that is zero and costs nothing before it is used.
    struct Free {
        void operator()(std::uint64_t* words) const { std::free(words); }
    };
    using Words = std::unique_ptr<std::uint64_t[], Free>;
    static Words make_words();

    // Two bits of one word, so that a key touches one cache line.
    struct Place {
        std::size_t word;
        std::uint64_t bits;
    };
    static Place place_of(std::uint32_t key, std::uint32_t server) {
        // 2^64 divided by the golden ratio: the high bits depend on all bits of both.
        const std::uint64_t hash =
            (std::uint64_t{key} << 32 | (key ^ server)) * 0x9e3779b97f4a7c15ULL;
        return {hash >> 52,
                std::uint64_t{1} << (hash >> 46 & 63) | std::uint64_t{1} << (hash >> 40 & 63)};
    }
    static bool is_set(std::uint64_t* words, Place place) {
        const std::uint64_t word =
            std::atomic_ref(words[place.word]).load(std::memory_order_relaxed);
        return (word & place.bits) == place.bits;
    }
    static void clear(std::uint64_t* words);

    Words first_ = make_words();
    Words second_ = make_words();
    std::uint64_t* present_ = second_.get();  // one of them
    std::uint64_t turned_at_ = 0;             // 0: never
};

}  // namespace s3gate::state
