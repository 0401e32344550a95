// Cells of the board over generations: kept by name, freed when no thread can use them, clean for
// the next owner.

#include "s3gate/state/slot_directory.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace s3gate::state {
namespace {

config::Site site(const std::string& name, unsigned max_connections = 0) {
    config::Site out;
    out.name = name;
    out.backends.name = "group_" + name;
    config::Server& server = out.backends.servers.emplace_back();
    server.host = "10.0.0.1";
    server.port = 9000;
    server.text = "10.0.0.1:9000";
    server.max_connections = max_connections;
    return out;
}

class SlotDirectoryTest : public ::testing::Test {
  protected:
    std::shared_ptr<const Snapshot> build(const std::vector<config::Site>& sites) {
        auto config = std::make_shared<config::Config>();
        config->sites = sites;
        return build_snapshot(config, {}, directory);
    }

    static const Group& group_of(const Snapshot& snapshot, std::size_t site) {
        return snapshot.sites[site].default_group();
    }

    Board board{2};
    SlotDirectory directory{board};
};

TEST_F(SlotDirectoryTest, AGoneNameGivesItsCellsBackWhenTheLastUserLetsGo) {
    auto first = build({site("a"), site("b")});
    const CellId gone_site = first->sites[1].cell;
    const CellId gone_group = group_of(*first, 1).id();
    const CellId gone_backend = group_of(*first, 1).peers[0].id();
    // Each worker holds the generation.
    std::vector<std::shared_ptr<const Snapshot>> workers(2, first);
    const auto second = build({site("a")});
    first.reset();
    while (!workers.empty()) {
        directory.collect();
        EXPECT_EQ(directory.generations(), 2u);
        EXPECT_TRUE(board.is_current(CellKind::site, gone_site));
        EXPECT_TRUE(board.is_current(CellKind::group, gone_group));
        EXPECT_TRUE(board.is_current(CellKind::backend, gone_backend));
        const auto other = build({site("a"), site("c")});
        EXPECT_NE(other->sites[1].cell.index, gone_site.index);
        EXPECT_NE(group_of(*other, 1).cell, gone_group.index);
        EXPECT_NE(group_of(*other, 1).peers[0].slot, gone_backend.index);
        workers.pop_back();
    }
    directory.collect();
    EXPECT_EQ(directory.generations(), 1u);
    EXPECT_FALSE(board.is_current(CellKind::site, gone_site));
    EXPECT_FALSE(board.is_current(CellKind::group, gone_group));
    EXPECT_FALSE(board.is_current(CellKind::backend, gone_backend));
    // The cells of the other names are free as well; they are used again in a new epoch.
    const std::size_t slots = board.slot_count();
    const auto third = build({site("a"), site("d"), site("e")});
    EXPECT_EQ(board.slot_count(), slots);
    for (const std::size_t fresh : {1, 2}) {
        EXPECT_GT(third->sites[fresh].cell.epoch, 0u);
        EXPECT_GT(group_of(*third, fresh).epoch, 0u);
        EXPECT_GT(group_of(*third, fresh).peers[0].epoch, 0u);
    }
    EXPECT_EQ(third->sites[0].cell, second->sites[0].cell) << "what was kept has not changed";
    EXPECT_EQ(group_of(*third, 0).peers[0].id(), group_of(*second, 0).peers[0].id());
}

// An old generation in use, for instance by a tunnel, keeps only its own names.
TEST_F(SlotDirectoryTest, AnOldGenerationKeepsNoNamesButItsOwn) {
    const auto old = build({site("a")});
    auto between = build({site("a"), site("b")});
    const CellId gone = group_of(*between, 1).id();
    const auto present = build({site("a")});
    between.reset();
    directory.collect();
    EXPECT_EQ(directory.generations(), 2u);
    EXPECT_FALSE(board.is_current(CellKind::group, gone));
    EXPECT_TRUE(board.is_current(CellKind::group, group_of(*old, 0).id()));
}

// Connections outlive the generation that counted them.
TEST_F(SlotDirectoryTest, ACellInWhichSomethingIsCountedIsNotGivenBack) {
    auto first = build({site("a")});
    const CellId gone = first->sites[0].cell;
    board.add_site_connections(1, gone.index, 1);
    first.reset();
    directory.collect();
    EXPECT_EQ(directory.generations(), 0u);
    EXPECT_TRUE(board.is_current(CellKind::site, gone));
    EXPECT_NE(build({site("b")})->sites[0].cell.index, gone.index);
    board.add_site_connections(1, gone.index, -1);
    directory.collect();
    EXPECT_FALSE(board.is_current(CellKind::site, gone));
}

TEST_F(SlotDirectoryTest, ANameThatComesBackInTimeFindsItsCellAsItWas) {
    auto first = build({site("a")});
    const CellId backend = group_of(*first, 0).peers[0].id();
    board.set_up(backend.index, false);
    first.reset();
    const auto again = build({site("a")});
    directory.collect();
    EXPECT_EQ(group_of(*again, 0).peers[0].id(), backend);
    EXPECT_TRUE(board.is_current(CellKind::backend, backend));
    EXPECT_FALSE(board.is_up(backend.index));
}

TEST_F(SlotDirectoryTest, AReusedCellStartsClean) {
    auto first = build({site("a", 3)});
    const Group& old = group_of(*first, 0);
    const CellId backend = old.peers[0].id();
    const CellId group = old.id();
    EXPECT_NE(old.servers[0].room, backend) << "all addresses of a server have one";
    board.set_up(backend.index, false);
    board.set_recovering(backend.index, true);
    ASSERT_TRUE(board.replace_passive(backend.index, {}, {5}));
    board.set_retry_tokens(0, group.index, -100);
    first.reset();
    directory.collect();
    const auto second = build({site("b", 3)});
    const Group& fresh = group_of(*second, 0);
    EXPECT_EQ(fresh.id(), (CellId{group.index, 1}));
    for (const std::uint32_t slot : {fresh.peers[0].slot, fresh.servers[0].room.index}) {
        EXPECT_TRUE(board.is_up(slot));
        EXPECT_FALSE(board.is_recovering(slot));
        EXPECT_EQ(board.passive(slot), policy::PassiveState{});
    }
    EXPECT_EQ(board.all_retry_tokens(group.index), 10'000);
}

TEST_F(SlotDirectoryTest, AGenerationThatWasRefusedNamesNothing) {
    while (board.group_count() < Board::kMostGroups) {
        board.add_cell(CellKind::group);
    }
    EXPECT_THROW(build({site("a")}), std::length_error);
    directory.collect();
    EXPECT_EQ(directory.generations(), 0u);
    EXPECT_FALSE(board.is_current(CellKind::site, {0, 0})) << "its site had one already";
}

// The last worker may release at any moment; its writes to the board come first.
TEST_F(SlotDirectoryTest, UsersLetGoOnTheirOwnThreads) {
    constexpr int kRounds = 200;
    for (int round = 0; round < kRounds; ++round) {
        auto snapshot = build({site(std::to_string(round))});
        const std::uint32_t cell = group_of(*snapshot, 0).cell;
        const std::uint32_t slot = group_of(*snapshot, 0).peers[0].slot;
        std::vector<std::thread> workers;
        for (std::size_t worker = 0; worker < 2; ++worker) {
            workers.emplace_back([this, worker, used = snapshot, cell, slot]() mutable {
                board.add_group_requests(worker, cell, 1);
                board.set_retry_tokens(worker, cell, -1);
                board.replace_passive(slot, board.passive(slot), {7});
                board.add_group_requests(worker, cell, -1);
                used.reset();
            });
        }
        snapshot.reset();
        while (directory.generations() > 0) {
            directory.collect();
            std::this_thread::yield();
        }
        EXPECT_EQ(board.all_retry_tokens(cell), 10'000);
        EXPECT_EQ(board.passive(slot), policy::PassiveState{});
        for (std::thread& worker : workers) {
            worker.join();
        }
    }
    EXPECT_EQ(board.group_count(), 1u) << "one cell served them all";
}

}  // namespace
}  // namespace s3gate::state
