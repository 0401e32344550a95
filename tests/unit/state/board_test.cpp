// The board: figures of all workers add up, and return to zero.

#include "s3gate/state/board.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace s3gate::state {
namespace {

TEST(Board, BackendsStartUp) {
    Board board(2, 3, 1);
    for (std::uint32_t slot = 0; slot < 3; ++slot) {
        EXPECT_TRUE(board.is_up(slot));
    }
    board.set_up(1, false);
    EXPECT_TRUE(board.is_up(0));
    EXPECT_FALSE(board.is_up(1));
    board.set_up(1, true);
    EXPECT_TRUE(board.is_up(1));
}

TEST(Board, KeepsItsSizes) {
    const Board board(2, 7, 3, 2);
    EXPECT_EQ(board.worker_count(), 2u);
    EXPECT_EQ(board.slot_count(), 7u);
    EXPECT_EQ(board.group_count(), 3u);
    EXPECT_EQ(board.site_count(), 2u);
}

TEST(Board, SumsRowsOfAllWorkers) {
    Board board(3, 2, 2, 2);
    board.add_in_flight(0, 1, 1);
    board.add_in_flight(2, 1, 2);
    board.add_group_requests(0, 0, 4);
    board.add_group_requests(1, 0, -1);
    board.add_group_retries(1, 1, 2);
    board.add_site_connections(2, 0, 5);
    board.counters(0).connections = 7;
    board.counters(2).connections = 8;
    EXPECT_EQ(board.in_flight(0), 0);
    EXPECT_EQ(board.in_flight(1), 3);
    EXPECT_EQ(board.group_requests(0), 3);
    EXPECT_EQ(board.group_requests(1), 0);
    EXPECT_EQ(board.group_retries(0), 0);
    EXPECT_EQ(board.group_retries(1), 2);
    EXPECT_EQ(board.site_connections(0), 5);
    EXPECT_EQ(board.site_connections(1), 0);
    EXPECT_EQ(board.connections(), 15);
}

// Each row has one writer, so concurrent updates by two workers lose nothing.
TEST(Board, SumsToZeroWhenIdle) {
    constexpr std::size_t kWorkers = 4;
    Board board(kWorkers, 3, 1);
    std::vector<std::thread> threads;
    for (std::size_t worker = 0; worker < kWorkers; ++worker) {
        threads.emplace_back([&board, worker] {
            for (std::uint32_t i = 0; i < 20000; ++i) {
                board.add_in_flight(worker, i % 3, 1);
                board.add_group_requests(worker, 0, 1);
                board.add_in_flight(worker, i % 3, -1);
                board.add_group_requests(worker, 0, -1);
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    for (std::uint32_t slot = 0; slot < 3; ++slot) {
        EXPECT_EQ(board.in_flight(slot), 0);
    }
    EXPECT_EQ(board.group_requests(0), 0);
}

TEST(Board, RetryTokensAreDividedAndSummed) {
    Board board(4, 1, 2);
    EXPECT_EQ(board.retry_tokens(3, 1), 2500);
    EXPECT_EQ(board.all_retry_tokens(1), 10'000);
    board.set_retry_tokens(3, 1, -500);
    EXPECT_EQ(board.all_retry_tokens(1), 7000);
    EXPECT_EQ(board.all_retry_tokens(0), 10'000);
    board.add_group_requests(2, 1, 3);
    board.add_group_requests(0, 1, 4);
    EXPECT_EQ(board.own_group_requests(2, 1), 3);
}

TEST(Board, NeverMoreThanFitAtOneServer) {
    constexpr std::size_t kThreads = 4;
    Board board(kThreads, 2, 1);
    std::atomic<int> inside{0};
    std::atomic<bool> too_many{false};
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < kThreads; ++i) {
        threads.emplace_back([&] {
            for (int j = 0; j < 20000; ++j) {
                if (board.try_occupy(1, 3)) {
                    too_many = too_many || ++inside > 3;
                    --inside;
                    board.vacate(1);
                }
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_FALSE(too_many);
    EXPECT_EQ(board.occupied(0), 0);
    EXPECT_EQ(board.occupied(1), 0);
}

TEST(Board, RoomGoesToTheWorkerThatWaitsLongest) {
    Board board(4, 1, 2);
    EXPECT_EQ(board.longest_waiting(0), std::nullopt);
    EXPECT_EQ(board.next_waiting(1, 0), std::nullopt);
    EXPECT_EQ(board.add_waiting(0, 1), 0);
    EXPECT_EQ(board.add_waiting(0, 1), 1);
    board.set_first_waiting(0, 0, 300);
    board.set_first_waiting(1, 0, 100);
    board.set_first_waiting(2, 0, 200);
    EXPECT_EQ(board.longest_waiting(0), 1u);
    EXPECT_EQ(board.next_waiting(1, 0), 2u);
    EXPECT_EQ(board.next_waiting(2, 0), 0u) << "in a circle, past those with nobody";
    board.set_first_waiting(0, 0, 0);
    board.set_first_waiting(2, 0, 0);
    EXPECT_EQ(board.next_waiting(1, 0), std::nullopt) << "itself is no other";
    EXPECT_EQ(board.longest_waiting(1), std::nullopt) << "another group";
    EXPECT_EQ(board.waiting(0), 2);
}

// A worker cannot end another worker's request: a wrong row is named even if the sum is zero.
TEST(Board, NamesWhatIsLeftInFlight) {
    Board board(2, 8, 4, 4);
    EXPECT_EQ(board.leftovers(), "");
    board.add_in_flight(0, 7, 1);
    board.add_in_flight(1, 7, -1);
    EXPECT_EQ(board.leftovers(), "worker 0: 1 at backend cell 7; worker 1: -1 at backend cell 7");
    board.add_in_flight(0, 7, -1);
    board.add_in_flight(1, 7, 1);
    EXPECT_EQ(board.leftovers(), "");
    board.add_group_requests(0, 3, 2);
    board.add_group_retries(0, 0, 1);
    board.add_site_connections(1, 2, -5);
    board.counters(1).connections = 3;
    EXPECT_EQ(board.leftovers(),
              "worker 0: 2 requests of group cell 3; worker 0: 1 retries of group cell 0; "
              "worker 1: -5 connections of site cell 2; worker 1: 3 connections");
}

TEST(Board, NamesRoomThatWasNotGivenBack) {
    Board board(2, 8, 4);
    EXPECT_TRUE(board.try_occupy(5, 1));
    board.add_waiting(3, 2);
    board.set_first_waiting(1, 3, 900);
    EXPECT_EQ(board.leftovers(),
              "worker 1: somebody waiting in group cell 3; 1 occupying backend cell 5; "
              "2 waiting in group cell 3");
    board.vacate(5);
    board.add_waiting(3, -2);
    board.set_first_waiting(1, 3, 0);
    EXPECT_EQ(board.leftovers(), "");
}

TEST(Board, CellsAreAddedOneByOne) {
    Board board(2, 1);
    EXPECT_EQ(board.add_cell(CellKind::backend), (CellId{1, 0}));
    EXPECT_EQ(board.add_cell(CellKind::group), (CellId{0, 0}));
    EXPECT_EQ(board.add_cell(CellKind::site), (CellId{0, 0}));
    EXPECT_TRUE(board.is_up(1));
    EXPECT_EQ(board.all_retry_tokens(0), 10'000);
    board.add_site_connections(1, 0, 3);
    EXPECT_EQ(board.site_connections(0), 3);
}

TEST(Board, GrowsUpToItsLimit) {
    Board board(1, Board::kMostSlots);
    EXPECT_EQ(board.slot_count(), Board::kMostSlots);
    EXPECT_EQ(board.add_cell(CellKind::backend), std::nullopt);
    EXPECT_NE(board.add_cell(CellKind::group), std::nullopt) << "it has a limit of its own";
    board.add_in_flight(0, Board::kMostSlots - 1, 2);
    EXPECT_EQ(board.in_flight(Board::kMostSlots - 1), 2);
}

TEST(Board, ACellAtRestCountsNothingInAnyRow) {
    Board board(2, 1, 1, 1);
    const auto expect_rest_but_for = [&](CellKind kind, const auto& change) {
        EXPECT_TRUE(board.is_at_rest(kind, 0));
        change(1);
        EXPECT_FALSE(board.is_at_rest(kind, 0));
        change(-1);
        EXPECT_TRUE(board.is_at_rest(kind, 0));
    };
    expect_rest_but_for(CellKind::backend, [&](int by) { board.add_in_flight(1, 0, by); });
    expect_rest_but_for(CellKind::backend,
                        [&](int by) { by > 0 ? void(board.try_occupy(0, 1)) : board.vacate(0); });
    expect_rest_but_for(CellKind::group, [&](int by) { board.add_group_requests(1, 0, by); });
    expect_rest_but_for(CellKind::group, [&](int by) { board.add_group_retries(1, 0, by); });
    expect_rest_but_for(CellKind::group, [&](int by) { board.add_waiting(0, by); });
    expect_rest_but_for(CellKind::group,
                        [&](int by) { board.set_first_waiting(1, 0, by > 0 ? 5 : 0); });
    expect_rest_but_for(CellKind::site, [&](int by) { board.add_site_connections(1, 0, by); });
    // Two rows that cancel out: the cell is still in use.
    board.add_in_flight(0, 0, 1);
    board.add_in_flight(1, 0, -1);
    EXPECT_FALSE(board.is_at_rest(CellKind::backend, 0));
}

TEST(Board, ARenewedCellIsClean) {
    Board board(2, 1, 1, 1);
    board.set_up(0, false);
    board.set_recovering(0, true);
    ASSERT_TRUE(board.replace_passive(0, {}, {5}));
    board.set_retry_tokens(0, 0, -7);
    board.set_retry_tokens(1, 0, 1);
    EXPECT_TRUE(board.is_current(CellKind::backend, {0, 0}));
    EXPECT_EQ(board.renew_cell(CellKind::backend, 0), (CellId{0, 1}));
    EXPECT_EQ(board.renew_cell(CellKind::group, 0), (CellId{0, 1}));
    EXPECT_EQ(board.renew_cell(CellKind::site, 0), (CellId{0, 1}));
    EXPECT_TRUE(board.is_up(0));
    EXPECT_FALSE(board.is_recovering(0));
    EXPECT_EQ(board.passive(0), policy::PassiveState{});
    EXPECT_EQ(board.all_retry_tokens(0), 10'000);
    for (const CellKind kind : {CellKind::backend, CellKind::group, CellKind::site}) {
        EXPECT_FALSE(board.is_current(kind, {0, 0}));
        EXPECT_TRUE(board.is_current(kind, {0, 1}));
    }
}

// Workers use cells they know while the control thread adds others, which they learn of later.
TEST(Board, GrowsWhileOthersUseIt) {
    constexpr std::uint32_t kCells = 5000;
    constexpr std::size_t kWorkers = 2;
    Board board(kWorkers, 1, 1, 1);
    std::atomic<std::uint32_t> known{1};
    std::vector<std::thread> threads;
    for (std::size_t worker = 0; worker < kWorkers; ++worker) {
        threads.emplace_back([&board, &known, worker] {
            for (std::uint32_t cells = 0; cells < kCells;) {
                cells = known.load(std::memory_order_acquire);
                for (const std::uint32_t cell : {std::uint32_t{0}, cells - 1}) {
                    EXPECT_TRUE(board.is_up(cell));
                    EXPECT_TRUE(board.is_current(CellKind::backend, {cell, 0}));
                    board.add_in_flight(worker, cell, 1);
                    board.add_group_requests(worker, cell, 1);
                    board.add_site_connections(worker, cell, 1);
                    EXPECT_GE(board.in_flight(cell), 0);
                    board.add_in_flight(worker, cell, -1);
                    board.add_group_requests(worker, cell, -1);
                    board.add_site_connections(worker, cell, -1);
                }
            }
        });
    }
    for (std::uint32_t cells = 2; cells <= kCells; ++cells) {
        for (const CellKind kind : {CellKind::backend, CellKind::group, CellKind::site}) {
            ASSERT_NE(board.add_cell(kind), std::nullopt);
        }
        known.store(cells, std::memory_order_release);
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(board.leftovers(), "");
}

TEST(Board, PassiveStateIsReplacedOnlyWhenNobodyElseDid) {
    Board board(1, 2, 1);
    const policy::PassiveState none;
    const policy::PassiveState first{5};
    EXPECT_EQ(board.passive(1), none);
    EXPECT_TRUE(board.replace_passive(1, none, first));
    EXPECT_FALSE(board.replace_passive(1, none, {9}));
    EXPECT_EQ(board.passive(1), first);
    EXPECT_EQ(board.passive(0), none);
    board.clear_passive(1);
    EXPECT_EQ(board.passive(1), none);
}

}  // namespace
}  // namespace s3gate::state
