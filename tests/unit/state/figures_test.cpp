// What is counted for servers and sites: the buckets of histograms, the places of labels, sums over
// workers, and cells that begin at zero.
#include "s3gate/state/figures.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "s3gate/state/board.hpp"

namespace s3gate::state {
namespace {

constexpr std::uint64_t kMillisecond = 1'000'000;

template <class Bounds>
void expect_buckets() {
    using Table = BucketTable<Bounds>;
    std::size_t bucket = 0;
    for (const std::uint64_t bound : Bounds::kMilliseconds) {
        EXPECT_EQ(Table::index_of(bound * kMillisecond), bucket) << bound << " ms is within itself";
        EXPECT_EQ(Table::index_of(bound * kMillisecond + 1), bucket + 1) << bound;
        ++bucket;
    }
    EXPECT_EQ(Table::index_of(0), 0u);
    EXPECT_EQ(Table::index_of(~std::uint64_t{0}), Table::kBuckets - 1);
}

TEST(Histogram, ATimeIsInTheFirstBucketThatHasIt) {
    expect_buckets<ConnectBounds>();
    expect_buckets<HeadBounds>();
    expect_buckets<DurationBounds>();
}

TEST(Histogram, EveryTimeHasTheBucketThatASearchFinds) {
    for (std::uint64_t time = 1; time < 400'000 * kMillisecond; time += time / 7 + 1) {
        std::size_t expected = 0;
        for (const std::uint64_t bound : HeadBounds::kMilliseconds) {
            expected += bound * kMillisecond < time ? 1 : 0;
        }
        ASSERT_EQ(BucketTable<HeadBounds>::index_of(time), expected) << time;
    }
}

TEST(Histogram, AnObservationIsCountedWithItsTime) {
    Histogram<ConnectBounds, Counter> times;
    times.observe(3 * kMillisecond);
    times.observe(4 * kMillisecond);
    EXPECT_EQ(times.buckets[1].load(), 2u);
    EXPECT_EQ(times.nanoseconds.load(), 7 * kMillisecond);
}

TEST(Labels, EveryOperationHasItsPlaceAndOthersShareOne) {
    for (std::size_t i = 0; i < kOperations.size(); ++i) {
        EXPECT_EQ(place_of_operation(kOperations[i]), i) << kOperations[i];
    }
    for (const char* const other : {"PutBucketWebsite", "GetObjecX", "", "getobject"}) {
        EXPECT_EQ(place_of_operation(other), kOtherOperation) << other;
    }
}

TEST(Labels, AWordThatIsNotKnownHasTheLastPlace) {
    EXPECT_EQ(place_of(kOwnCodes, "SlowDown"), 0u);
    EXPECT_EQ(place_of(kOwnCodes, "NoSuchCode"), kOwnCodes.size() - 1);
    EXPECT_EQ(kRetryCauses[place_of(kRetryCauses, "no answer")], "no answer");
    EXPECT_EQ(kKeySources[place_of(nullptr)], "none");
    const config::KeySource header{config::KeySource::Kind::header, "x"};
    EXPECT_EQ(kKeySources[place_of(&header)], "header");
}

// A full product of labels must not grow with the traffic.
TEST(Labels, ASiteHasABoundedNumberOfSeries) {
    EXPECT_LE(kOperations.size() * policy::kStatusClasses, 400u);
    EXPECT_EQ(word_of_request(SiteTotals::request_place(0, 1)), "GetObject 2xx");
    EXPECT_EQ(word_of_retry(SiteTotals::retry_place(5, 0)), "5 status");
}

TEST(Figures, TotalsAddTheWorkersAndTheChecks) {
    Board board(2);
    const CellId server = board.add_cell(CellKind::server).value();
    const auto broken = static_cast<std::size_t>(policy::AttemptClass::broken);
    bump(board.server_figures(0, server.index).attempts[broken]);
    bump(board.server_figures(1, server.index).attempts[broken], std::uint64_t{2});
    board.server_figures(1, server.index).duration.observe(kMillisecond);
    bump(board.check_figures(server.index).checks[1]);
    const ServerTotals totals = server_totals(board, server.index);
    EXPECT_EQ(totals.attempts[broken], 3u);
    EXPECT_EQ(totals.duration.buckets[0], 1u);
    EXPECT_EQ(totals.duration.nanoseconds, kMillisecond);
    EXPECT_EQ(totals.checks[1], 1u);
    EXPECT_EQ(totals.ups[0], 0u);
    ServerTotals sum = totals;
    add(sum, totals);
    EXPECT_EQ(sum.attempts[broken], 6u);
}

TEST(Figures, TheNextOwnerOfACellBeginsAtZero) {
    Board board(2);
    const CellId server = board.add_cell(CellKind::server).value();
    const CellId site = board.add_cell(CellKind::site).value();
    bump(board.server_figures(1, server.index).reused[0]);
    bump(board.check_figures(server.index).ups[0]);
    bump(board.site_figures(1, site.index).keys[0]);
    EXPECT_EQ(site_totals(board, site.index).keys[0], 1u);
    EXPECT_EQ(board.renew_cell(CellKind::server, server.index).epoch, 1u);
    board.renew_cell(CellKind::site, site.index);
    EXPECT_FALSE(board.is_current(CellKind::server, server));
    EXPECT_EQ(server_totals(board, server.index).reused[0], 0u);
    EXPECT_EQ(server_totals(board, server.index).ups[0], 0u);
    EXPECT_EQ(site_totals(board, site.index).keys[0], 0u);
}

}  // namespace
}  // namespace s3gate::state
