// The board: what one worker writes adds up with what the others wrote, and comes back to zero.

#include "s3gate/proxy/board.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace s3gate::proxy {
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
    const Board board(2, 7, 3);
    EXPECT_EQ(board.worker_count(), 2u);
    EXPECT_EQ(board.slot_count(), 7u);
    EXPECT_EQ(board.group_count(), 3u);
}

TEST(Board, SumsRowsOfAllWorkers) {
    Board board(3, 2, 2);
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

// A worker may end what it began while another one begins: every row has one writer, so nothing is
// lost.
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
}  // namespace s3gate::proxy
