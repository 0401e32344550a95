// What is counted for each bucket where `metrics.buckets` asks for it. The names of the first
// buckets that answer well get places in a table that all workers read; it is written once for each
// of them, by compare-and-swap. Requests of all other buckets count in SiteFigures::other_buckets.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "s3gate/policy/attempt_class.hpp"
#include "s3gate/state/counters.hpp"

namespace s3gate::state {

// Words for the places of a list; null where numbers do.
using PlaceWord = std::string (*)(std::size_t);

template <class Cell>
struct BucketCells {
    std::array<Cell, policy::kStatusClasses> requests{};
    std::array<Cell, 2> bytes{};  // payload from clients, and to them

    bool operator==(const BucketCells&) const = default;

    template <class Self, class Use>
    static void visit(Self& self, const Use& use) {
        use("requests", std::span(self.requests), PlaceWord{});
        use("bytes", std::span(self.bytes), PlaceWord{});
    }
};
using BucketTotals = BucketCells<std::uint64_t>;
void add(BucketTotals& sum, const BucketTotals& more);

// An answered request.
struct BucketRequest {
    std::string_view site;
    std::string_view bucket;  // raw, from the target or the host
    std::size_t status_class = 0;
    std::uint64_t bytes_in = 0;
    std::uint64_t bytes_out = 0;
};

// Counts in the cells of one bucket, or of all others.
void count(BucketCells<Counter>& cells, const BucketRequest& request);

class BucketFigures {
  public:
    static constexpr std::size_t kMost = 1000;

    BucketFigures(std::size_t workers, std::size_t most);
    ~BucketFigures();
    BucketFigures(const BucketFigures&) = delete;
    BucketFigures& operator=(const BucketFigures&) = delete;

    // The worker's cells for the request's bucket; null if the bucket has no place. It gets one if
    // there is one left and the answer was good: names that somebody makes up take none. Any
    // worker, in its own row. Allocates once for each name.
    BucketCells<Counter>* find(std::size_t worker, const BucketRequest& request);
    // Gives the bucket a place if there is one left, and its name can be one.
    bool add(std::string_view site, std::string_view bucket);

    struct Bucket {
        std::string site;
        std::string bucket;
        BucketTotals totals;
    };
    // Any thread.
    std::vector<Bucket> totals() const;

  private:
    struct Name {
        std::string site;
        std::string bucket;
    };
    struct alignas(64) Cells : BucketCells<Counter> {};
    static constexpr std::size_t kSlots = 2048;  // about twice kMost, for short walks
    static constexpr std::size_t kNone = kSlots;

    static std::size_t begin_of(std::string_view bucket);
    std::size_t find_slot(std::string_view site, std::string_view bucket) const;
    std::size_t add_slot(std::string_view site, std::string_view bucket);
    std::size_t insert(std::unique_ptr<Name> name);

    const std::size_t most_;
    std::atomic<std::size_t> names_{0};
    std::array<std::atomic<const Name*>, kSlots> slots_{};
    std::vector<std::unique_ptr<Cells[]>> rows_;  // of workers
};

}  // namespace s3gate::state
