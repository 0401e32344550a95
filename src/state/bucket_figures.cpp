#include "s3gate/state/bucket_figures.hpp"

#include <algorithm>

#include "s3gate/base/text.hpp"

namespace s3gate::state {
namespace {

constexpr std::size_t kSuccess = 1;  // 2xx
constexpr std::size_t kShortest = 3;
constexpr std::size_t kLongest = 63;

// The rules for names of buckets, those of old ones included. "other" is the label of all others.
bool may_be_bucket(std::string_view name) {
    return name != "other" && name.size() >= kShortest && name.size() <= kLongest &&
           std::ranges::all_of(name, [](char c) {
               const char lower = base::to_lower(c);
               return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
                      c == '.' || c == '_';
           });
}

}  // namespace

void add(BucketTotals& sum, const BucketTotals& more) {
    for (std::size_t i = 0; i < sum.requests.size(); ++i) {
        sum.requests[i] += more.requests[i];
    }
    for (std::size_t i = 0; i < sum.bytes.size(); ++i) {
        sum.bytes[i] += more.bytes[i];
    }
}

void count(BucketCells<Counter>& cells, const BucketRequest& request) {
    bump(cells.requests[request.status_class]);
    bump(cells.bytes[0], request.bytes_in);
    bump(cells.bytes[1], request.bytes_out);
}

BucketFigures::BucketFigures(std::size_t workers, std::size_t most) : most_(std::min(most, kMost)) {
    for (std::size_t i = 0; i < workers; ++i) {
        rows_.push_back(std::make_unique<Cells[]>(kSlots));
    }
}

BucketFigures::~BucketFigures() {
    for (const auto& slot : slots_) {
        delete slot.load();
    }
}

// FNV-1a. A client that looks for collisions makes other buckets' walks longer, but never longer
// than the buckets that there are.
std::size_t BucketFigures::begin_of(std::string_view bucket) {
    std::uint32_t hash = 2166136261U;
    for (const char c : bucket) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
    }
    return (hash ^ (hash >> 16)) % kSlots;
}

std::size_t BucketFigures::find_slot(std::string_view site, std::string_view bucket) const {
    for (std::size_t slot = begin_of(bucket);; slot = (slot + 1) % kSlots) {
        const Name* const name = slots_[slot].load(std::memory_order_acquire);
        if (name == nullptr) {
            return kNone;
        }
        if (name->bucket == bucket && name->site == site) {
            return slot;
        }
    }
}

std::size_t BucketFigures::add_slot(std::string_view site, std::string_view bucket) {
    if (!may_be_bucket(bucket)) {
        return kNone;
    }
    if (names_.fetch_add(1) >= most_) {
        names_.fetch_sub(1);
        return kNone;
    }
    return insert(std::make_unique<Name>(Name{std::string(site), std::string(bucket)}));
}

// Another worker may insert the same name at this moment: then its slot is the one.
std::size_t BucketFigures::insert(std::unique_ptr<Name> name) {
    for (std::size_t slot = begin_of(name->bucket);; slot = (slot + 1) % kSlots) {
        const Name* there = nullptr;
        if (slots_[slot].compare_exchange_strong(there, name.get(), std::memory_order_acq_rel)) {
            [[maybe_unused]] const Name* const owned = name.release();  // by the slot
            return slot;
        }
        if (there->bucket == name->bucket && there->site == name->site) {
            names_.fetch_sub(1);
            return slot;
        }
    }
}

BucketCells<Counter>* BucketFigures::find(std::size_t worker, const BucketRequest& request) {
    std::size_t slot = find_slot(request.site, request.bucket);
    if (slot == kNone && request.status_class == kSuccess &&
        names_.load(std::memory_order_relaxed) < most_) {
        slot = add_slot(request.site, request.bucket);
    }
    return slot == kNone ? nullptr : &rows_[worker][slot];
}

bool BucketFigures::add(std::string_view site, std::string_view bucket) {
    return find_slot(site, bucket) != kNone || add_slot(site, bucket) != kNone;
}

std::vector<BucketFigures::Bucket> BucketFigures::totals() const {
    std::vector<Bucket> out;
    for (std::size_t slot = 0; slot < kSlots; ++slot) {
        const Name* const name = slots_[slot].load(std::memory_order_acquire);
        if (name == nullptr) {
            continue;
        }
        Bucket& bucket = out.emplace_back(Bucket{name->site, name->bucket, {}});
        for (const auto& row : rows_) {
            for (std::size_t i = 0; i < bucket.totals.requests.size(); ++i) {
                bucket.totals.requests[i] += row[slot].requests[i].load(std::memory_order_relaxed);
            }
            for (std::size_t i = 0; i < bucket.totals.bytes.size(); ++i) {
                bucket.totals.bytes[i] += row[slot].bytes[i].load(std::memory_order_relaxed);
            }
        }
    }
    return out;
}

}  // namespace s3gate::state
