// Passive marks by several threads at the same time: never more than a third of the group.

#include "s3gate/state/passive_marks.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace s3gate::state {
namespace {

const policy::PassiveRule kRule{1, 1000};

std::vector<Peer> group_of(std::uint32_t size) {
    std::vector<Peer> group(size);
    for (std::uint32_t slot = 0; slot < size; ++slot) {
        group[slot].slot = slot;
    }
    return group;
}

std::size_t marked(const Board& board) {
    std::size_t count = 0;
    for (std::uint32_t slot = 0; slot < board.slot_count(); ++slot) {
        count += policy::is_marked(board.passive(slot)) ? 1 : 0;
    }
    return count;
}

TEST(PassiveMarks, StopAtAThird) {
    const std::vector<Peer> group = group_of(6);
    Board board(1, 6, 1);
    EXPECT_EQ(count_failure(board, group, 0, kRule, 10), MarkChange::set);
    EXPECT_EQ(count_failure(board, group, 0, kRule, 11), MarkChange::none);
    EXPECT_EQ(count_failure(board, group, 1, kRule, 12), MarkChange::set);
    EXPECT_EQ(count_failure(board, group, 2, kRule, 13), MarkChange::none);
    EXPECT_EQ(marked(board), 2u);
    EXPECT_EQ(count_success(board, 0), MarkChange::cleared);
    EXPECT_EQ(count_success(board, 0), MarkChange::none);
    EXPECT_EQ(count_success(board, 2), MarkChange::none);
    EXPECT_EQ(count_failure(board, group, 2, kRule, 14), MarkChange::set);
    EXPECT_EQ(marked(board), 2u);
}

TEST(PassiveMarks, OneOfAnyGroupMayBeMarked) {
    const std::vector<Peer> group = group_of(2);
    Board board(1, 2, 1);
    EXPECT_EQ(count_failure(board, group, 1, kRule, 10), MarkChange::set);
    EXPECT_EQ(count_failure(board, group, 0, kRule, 10), MarkChange::none);
    EXPECT_EQ(marked(board), 1u);
}

// Two workers with failures of different backends at the same time could both find the last place
// free.
TEST(PassiveMarks, WorkersTogetherStopAtAThird) {
    constexpr std::uint32_t kRounds = 600;
    // A large group takes long to scan; all places of its third but one are taken.
    const std::vector<Peer> group = group_of(300);
    constexpr std::size_t kThird = 100;
    std::vector<std::unique_ptr<Board>> boards;
    for (std::uint32_t round = 0; round < kRounds; ++round) {
        boards.push_back(std::make_unique<Board>(1, 300, 1));
        for (std::uint32_t slot = 2; slot <= kThird; ++slot) {
            count_failure(*boards.back(), group, slot, kRule, 10);
        }
    }
    std::array<std::vector<MarkChange>, 2> changes;
    std::array<std::atomic<std::uint32_t>, 2> at{};
    const auto worker = [&](std::uint32_t slot) {
        for (std::uint32_t round = 0; round < kRounds; ++round) {
            // Both threads spin, so they scan at the same time.
            at[slot].store(round + 1);
            for (unsigned spins = 1; at[1 - slot].load() <= round; ++spins) {
                if (spins % 100000 == 0) {
                    std::this_thread::yield();  // there may be only one processor
                }
            }
            changes[slot].push_back(count_failure(*boards[round], group, slot, kRule, 10));
        }
    };
    std::thread other(worker, 1);
    worker(0);
    other.join();
    std::size_t most = 0;
    for (std::uint32_t round = 0; round < kRounds; ++round) {
        const std::size_t count = marked(*boards[round]);
        most = std::max(most, count);
        const std::size_t told = (changes[0][round] == MarkChange::set ? 1 : 0) +
                                 (changes[1][round] == MarkChange::set ? 1 : 0);
        ASSERT_EQ(told + kThird - 1, count) << round;
    }
    EXPECT_EQ(most, kThird);
}

}  // namespace
}  // namespace s3gate::state
