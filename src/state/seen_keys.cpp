#include "s3gate/state/seen_keys.hpp"

#include <new>

namespace s3gate::state {

SeenKeys::Words SeenKeys::make_words() {
    Words words(static_cast<std::uint64_t*>(std::calloc(kWords, sizeof(std::uint64_t))));
    if (!words) {
        throw std::bad_alloc();
    }
    return words;
}

void SeenKeys::clear(std::uint64_t* words) {
    for (std::size_t i = 0; i < kWords; ++i) {
        const std::atomic_ref<std::uint64_t> word(words[i]);
        if (word.load(std::memory_order_relaxed) != 0) {  // else its page stays unused
            word.store(0, std::memory_order_relaxed);
        }
    }
}

void SeenKeys::add_to(std::span<std::uint64_t> sum) const {
    for (std::size_t i = 0; i < kWords; ++i) {
        for (std::uint64_t* const words : {first_.get(), second_.get()}) {
            sum[i] |= std::atomic_ref(words[i]).load(std::memory_order_relaxed);
        }
    }
}

}  // namespace s3gate::state
