// What is counted for each server and each site. A worker counts in a row of its own on the board;
// a reader adds the rows up.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "s3gate/policy/attempt_class.hpp"
#include "s3gate/state/bucket_figures.hpp"
#include "s3gate/state/counters.hpp"
#include "s3gate/state/histogram.hpp"
#include "s3gate/state/labels.hpp"

namespace s3gate::state {

template <const auto& kWords>
std::string word_at(std::size_t place) {
    return std::string(kWords[place]);
}

// The name of the fault's counter.
std::string word_of_fault(std::size_t place);

// Of a configured server: its addresses share it. The checks' figures are in the control thread's
// row, all others in those of workers. `Cell` is Counter in a row, std::uint64_t in a sum.
template <class Cell>
struct ServerFigures {
    std::array<Cell, policy::kAttemptClasses> attempts{};  // by policy::AttemptClass
    // Of those, answers that refuse for load: 503 and above, and others (429).
    std::array<Cell, 2> load{};
    std::array<Cell, kServerFaults> faults{};  // by ServerFault
    std::array<Cell, 2> bytes{};               // payload to the server, and from it to clients
    std::array<Cell, 1> reused{};              // attempts on a kept connection
    std::array<Cell, 1> retries{};             // made elsewhere because of it
    std::array<Cell, 2> marks{};               // passive marks set, cleared
    std::array<Cell, 2> checks{};              // passed, failed
    std::array<Cell, kDownReasons.size()> downs{};
    std::array<Cell, 1> ups{};
    Histogram<ConnectBounds, Cell> connect;    // of new connections
    Histogram<HeadBounds, Cell> head;          // until the head of the answer was complete
    Histogram<DurationBounds, Cell> duration;  // until the answer ended, without tunnels

    bool operator==(const ServerFigures&) const = default;

    // Calls use(name, cells, words of their places) for each list, always in this order.
    template <class Self, class Use>
    static void visit(Self& self, const Use& use) {
        use("attempts", std::span(self.attempts), &word_at<policy::kAttemptClassWords>);
        use("load", std::span(self.load), PlaceWord{});
        use("faults", std::span(self.faults), &word_of_fault);
        use("bytes", std::span(self.bytes), PlaceWord{});
        use("reused", std::span(self.reused), PlaceWord{});
        use("retries", std::span(self.retries), PlaceWord{});
        use("marks", std::span(self.marks), PlaceWord{});
        use("checks", std::span(self.checks), PlaceWord{});
        use("downs", std::span(self.downs), &word_at<kDownReasons>);
        use("ups", std::span(self.ups), PlaceWord{});
        use("connect", std::span(self.connect.buckets), PlaceWord{});
        use("connect_ns", std::span(&self.connect.nanoseconds, 1), PlaceWord{});
        use("head", std::span(self.head.buckets), PlaceWord{});
        use("head_ns", std::span(&self.head.nanoseconds, 1), PlaceWord{});
        use("duration", std::span(self.duration.buckets), PlaceWord{});
        use("duration_ns", std::span(&self.duration.nanoseconds, 1), PlaceWord{});
    }
};
using ServerTotals = ServerFigures<std::uint64_t>;

// "GetObject 2xx"
std::string word_of_request(std::size_t place);
// "5 status"
std::string word_of_retry(std::size_t place);

// Of a site.
template <class Cell>
struct SiteFigures {
    std::array<Cell, kOperations.size() * policy::kStatusClasses> requests{};
    std::array<Cell, kOwnCodes.size()> own_answers{};
    std::array<Cell, 2> bytes{};  // payload from clients, and to them
    std::array<Cell, kKeySources.size()> keys{};
    std::array<Cell, kRetryRows * kRetryCauses.size()> retries{};
    BucketCells<Cell> other_buckets;  // where buckets are counted, of those without a place

    bool operator==(const SiteFigures&) const = default;

    static constexpr std::size_t request_place(std::size_t operation, std::size_t status_class) {
        return operation * policy::kStatusClasses + status_class;
    }
    static constexpr std::size_t retry_place(std::size_t row, std::size_t cause) {
        return row * kRetryCauses.size() + cause;
    }

    template <class Self, class Use>
    static void visit(Self& self, const Use& use) {
        use("requests", std::span(self.requests), &word_of_request);
        use("own_answers", std::span(self.own_answers), &word_at<kOwnCodes>);
        use("bytes", std::span(self.bytes), PlaceWord{});
        use("keys", std::span(self.keys), &word_at<kKeySources>);
        use("retries", std::span(self.retries), &word_of_retry);
        use("other_bucket_requests", std::span(self.other_buckets.requests), PlaceWord{});
        use("other_bucket_bytes", std::span(self.other_buckets.bytes), PlaceWord{});
    }
};
using SiteTotals = SiteFigures<std::uint64_t>;

// Adds the figures of one to the other.
void add(ServerTotals& sum, const ServerTotals& more);
void add(SiteTotals& sum, const SiteTotals& more);

class Board;

// Sums over all workers and the control thread. Any thread that knows the cell. They may be off by
// the requests that end meanwhile; none of their numbers ever falls.
ServerTotals server_totals(const Board& board, std::uint32_t cell);
SiteTotals site_totals(const Board& board, std::uint32_t cell);

}  // namespace s3gate::state
