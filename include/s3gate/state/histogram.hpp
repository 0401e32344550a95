// A histogram of times with fixed bounds. One observation is two additions and one comparison.
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "s3gate/policy/head_bounds.hpp"
#include "s3gate/state/counters.hpp"

namespace s3gate::state {

// The bounds of a histogram, in milliseconds and rising.
struct ConnectBounds {
    static constexpr std::array<std::uint64_t, 6> kMilliseconds{1, 5, 25, 100, 500, 2500};
};
using policy::HeadBounds;
struct DurationBounds {
    static constexpr std::array<std::uint64_t, 9> kMilliseconds{5,    25,     100,    250,    1000,
                                                                2500, 10'000, 30'000, 120'000};
};

// The bucket of a time: the first one whose bound is not below it. The number of the highest bit
// gives it but for one comparison.
template <class Bounds>
class BucketTable {
    static constexpr unsigned kShift = 18;  // 0.26 ms
    static constexpr std::size_t kWidths = 64 - kShift + 1;
    static constexpr std::size_t kCount = Bounds::kMilliseconds.size();
    static constexpr std::uint64_t kNanoseconds = 1'000'000;

    // The lowest time of that width.
    static constexpr std::uint64_t lowest(std::size_t width) {
        return width == 0 ? 0 : std::uint64_t{1} << (width - 1 + kShift);
    }
    static constexpr auto make_bounds() {
        std::array<std::uint64_t, kCount + 1> out{};
        for (std::size_t i = 0; i < kCount; ++i) {
            out[i] = Bounds::kMilliseconds[i] * kNanoseconds;
        }
        out[kCount] = std::numeric_limits<std::uint64_t>::max();
        return out;
    }
    static constexpr std::array<std::uint64_t, kCount + 1> kBounds = make_bounds();
    // For each width the number of bounds below all its times.
    static constexpr auto make_first() {
        std::array<std::uint8_t, kWidths> out{};
        for (std::size_t width = 0; width < kWidths; ++width) {
            while (out[width] < kCount && kBounds[out[width]] < lowest(width)) {
                ++out[width];
            }
        }
        return out;
    }
    static constexpr std::array<std::uint8_t, kWidths> kFirst = make_first();
    static constexpr bool has_one_bound_each() {
        for (std::size_t width = 0; width + 1 < kWidths; ++width) {
            if (kFirst[width + 1] > kFirst[width] + 1) {
                return false;
            }
        }
        return true;
    }

  public:
    static constexpr std::size_t kBuckets = kCount + 1;

    static constexpr std::size_t index_of(std::uint64_t nanoseconds) {
        static_assert(has_one_bound_each(), "two bounds within a factor of two");
        const std::size_t first =
            kFirst[static_cast<std::size_t>(std::bit_width(nanoseconds >> kShift))];
        return first + (nanoseconds > kBounds[first] ? 1 : 0);
    }
};

// `Cell` is Counter where a thread counts, and std::uint64_t in a sum. The last bucket is of times
// beyond all bounds.
template <class Bounds_, class Cell>
struct Histogram {
    using Bounds = Bounds_;
    static constexpr std::size_t kBuckets = BucketTable<Bounds>::kBuckets;
    std::array<Cell, kBuckets> buckets{};
    Cell nanoseconds{};

    bool operator==(const Histogram&) const = default;

    void observe(std::uint64_t time)
        requires std::same_as<Cell, Counter>
    {
        bump(buckets[BucketTable<Bounds>::index_of(time)]);
        bump(nanoseconds, time);
    }
};

}  // namespace s3gate::state
