// What is known about the addresses of one host name: which ones are used after each look-up, and
// how look-ups failed. Value types, no clock, no I/O; owned by the control thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "s3gate/base/address.hpp"
#include "s3gate/base/clock.hpp"

namespace s3gate::policy {

// Why a look-up gave no address, as far as the system's resolver tells: it has one code for a name
// server that answers SERVFAIL or REFUSED and for one that does not answer.
enum class LookupFailure : std::uint8_t {
    timeout,       // no answer within the time that we allow
    unavailable,   // SERVFAIL, REFUSED, or no name server answered
    unknown_name,  // NXDOMAIN
    no_address,    // the name exists and has no address
    other,
};
inline constexpr std::size_t kLookupFailures = 5;

// A word for machines: "timeout", "unavailable", "unknown_name", "no_address", "other".
std::string_view word_of(LookupFailure kind);

// What one answer changed.
struct AddressChange {
    std::vector<base::IpAddress> added;
    std::vector<base::IpAddress> left;
    bool has_moved = false;  // one single address became another one

    bool is_empty() const { return added.empty() && left.empty(); }
};

// The addresses of one name. An answer adds what is new in it at once. What it lacks stays until
// kMissesToLeave answers in a row lacked it: name servers rotate and give subsets. The exception is
// a name with one address whose answer is one other address: the name moved. A failure says nothing
// about addresses and changes none; it neither counts as an answer without them nor ends a row.
class KnownAddresses {
  public:
    static constexpr std::size_t kMost = 64;
    static constexpr unsigned kMissesToLeave = 3;

    struct Failure {
        LookupFailure kind;
        base::TimePoint when;
    };

    // Takes the addresses of one answer, at least one; their order and repetitions do not count.
    // At most kMost are used afterwards: first the known ones in the answer, then the new ones in
    // its order, then the known ones that it lacks, those with the shortest row of misses first.
    AddressChange on_answer(std::span<const base::IpAddress> answer, base::TimePoint now);
    // True if it is the first failure of this kind since the last answer: worth a message.
    bool on_failure(LookupFailure kind, base::TimePoint now);

    // Those that are used: known ones keep their places, new ones follow. Empty until the first
    // answer and never again.
    std::vector<base::IpAddress> addresses() const;
    bool is_known() const { return !entries_.empty(); }
    // How many addresses of the last answer are not used: it had more than kMost.
    std::size_t surplus() const { return surplus_; }

    std::optional<base::TimePoint> last_answer() const { return last_answer_; }
    std::optional<Failure> last_failure() const { return last_failure_; }
    // Since when every look-up has failed; nullopt if the last one did not.
    std::optional<base::TimePoint> failing_since() const { return failing_since_; }
    // By kind, since the name is used.
    const std::array<std::uint64_t, kLookupFailures>& failures() const { return failures_; }

  private:
    struct Entry {
        base::IpAddress address;
        unsigned misses = 0;  // answers in a row without it
    };

    void note_answer(base::TimePoint now);
    std::vector<Entry> entries_after(std::span<const base::IpAddress> answer);

    std::vector<Entry> entries_;
    std::size_t surplus_ = 0;
    std::optional<base::TimePoint> last_answer_;
    std::optional<Failure> last_failure_;
    std::optional<base::TimePoint> failing_since_;
    std::array<std::uint64_t, kLookupFailures> failures_{};
    std::array<bool, kLookupFailures> reported_{};  // since the last answer
};

// When a name is asked for again.
struct LookupPace {
    base::Duration interval{};
    bool is_first = false;  // the first look-up was made together with those of other names
};

// The time of the next look-up, after one that was made at `asked` and ended at `now`. `random` is
// from [0, 1). It spreads names that were looked up together over the first interval; they stay
// apart, because every later look-up comes up to a tenth of the interval early. A look-up that took
// longer than its interval is followed by the next one within a second.
base::TimePoint next_lookup(const LookupPace& pace, base::TimePoint asked, base::TimePoint now,
                            double random);

}  // namespace s3gate::policy
