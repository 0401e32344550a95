#include "s3gate/policy/known_addresses.hpp"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <iterator>
#include <utility>

namespace s3gate::policy {
namespace {

using base::IpAddress;

bool contains(std::span<const IpAddress> addresses, const IpAddress& address) {
    return std::ranges::find(addresses, address) != addresses.end();
}

// Those of `first` that `second` lacks.
std::vector<IpAddress> difference(std::span<const IpAddress> first,
                                  std::span<const IpAddress> second) {
    std::vector<IpAddress> out;
    std::ranges::copy_if(first, std::back_inserter(out),
                         [&](const IpAddress& address) { return !contains(second, address); });
    return out;
}

}  // namespace

std::string_view word_of(LookupFailure kind) {
    switch (kind) {
        case LookupFailure::timeout:
            return "timeout";
        case LookupFailure::unavailable:
            return "unavailable";
        case LookupFailure::unknown_name:
            return "unknown_name";
        case LookupFailure::no_address:
            return "no_address";
        case LookupFailure::other:
            break;
    }
    return "other";
}

void KnownAddresses::note_answer(base::TimePoint now) {
    last_answer_ = now;
    failing_since_.reset();
    reported_.fill(false);
}

std::vector<KnownAddresses::Entry> KnownAddresses::entries_after(
    std::span<const IpAddress> answer) {
    std::vector<Entry> out;
    for (const Entry& entry : entries_) {
        const unsigned misses = contains(answer, entry.address) ? 0 : entry.misses + 1;
        if (misses < kMissesToLeave) {
            out.push_back({entry.address, misses});
        }
    }
    std::size_t room =
        kMost - static_cast<std::size_t>(std::ranges::count(out, 0U, &Entry::misses));
    surplus_ = 0;
    for (const IpAddress& address : answer) {
        if (std::ranges::find(out, address, &Entry::address) != out.end()) {
            continue;
        }
        if (room > 0) {
            out.push_back({address, 0});
            --room;
        } else {
            ++surplus_;
        }
    }
    while (out.size() > kMost) {  // what the answer has is at most kMost, so one that it lacks goes
        out.erase(std::ranges::max_element(out, {}, &Entry::misses));
    }
    return out;
}

AddressChange KnownAddresses::on_answer(std::span<const IpAddress> answer, base::TimePoint now) {
    assert(!answer.empty());
    note_answer(now);
    const std::vector<IpAddress> before = addresses();
    const bool is_one = std::ranges::all_of(
        answer, [&](const IpAddress& address) { return address == answer.front(); });
    AddressChange change;
    change.has_moved = before.size() == 1 && is_one && before.front() != answer.front();
    if (change.has_moved) {
        surplus_ = 0;
        entries_ = {{answer.front(), 0}};
    } else {
        entries_ = entries_after(answer);
    }
    const std::vector<IpAddress> after = addresses();
    change.added = difference(after, before);
    change.left = difference(before, after);
    return change;
}

bool KnownAddresses::on_failure(LookupFailure kind, base::TimePoint now) {
    const auto index = static_cast<std::size_t>(kind);
    ++failures_[index];
    last_failure_ = {kind, now};
    failing_since_ = failing_since_.value_or(now);
    return !std::exchange(reported_[index], true);
}

std::vector<IpAddress> KnownAddresses::addresses() const {
    std::vector<IpAddress> out;
    out.reserve(entries_.size());
    std::ranges::transform(entries_, std::back_inserter(out), &Entry::address);
    return out;
}

base::TimePoint next_lookup(const LookupPace& pace, base::TimePoint asked, base::TimePoint now,
                            double random) {
    constexpr double kEarly = 0.1;
    const auto part = [random](base::Duration whole, double share) {
        return std::chrono::duration_cast<base::TimePoint::duration>(whole * (random * share));
    };
    const base::TimePoint next =
        asked +
        (pace.is_first ? part(pace.interval, 1) : pace.interval - part(pace.interval, kEarly));
    if (next > now) {
        return next;
    }
    return now + part(std::min<base::Duration>(pace.interval, std::chrono::seconds{1}), 1);
}

}  // namespace s3gate::policy
