#include "s3gate/policy/selection.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <string>

#include "s3gate/base/digest.hpp"

namespace s3gate::policy {
namespace {

using config::AllDown;
using config::BalanceMethod;
using Result = Selected::Result;

struct TestServer {
    unsigned weight = 1;
    bool is_backup = false;
    bool has_room = true;
    std::uint32_t first_address = 0;
    std::uint32_t address_count = 1;
};

struct TestAddress {
    std::uint32_t server = 0;
    bool is_out = false;
    bool is_well = true;
    bool may_be_recovering = false;
    std::int64_t in_flight = 0;
    unsigned share = kFullShare;
};

struct TestGroup {
    // `addresses_of`: the number of addresses of each server.
    explicit TestGroup(BalanceMethod balance, const std::vector<std::uint32_t>& addresses_of)
        : method(balance) {
        for (const std::uint32_t count : addresses_of) {
            const auto first = static_cast<std::uint32_t>(addresses.size());
            const auto server = static_cast<std::uint32_t>(servers.size());
            servers.push_back({.first_address = first, .address_count = count});
            addresses.resize(first + count, {.server = server});
        }
        weights.resize(addresses.size());
        if (method == BalanceMethod::ketama) {
            std::vector<std::string> texts;
            for (std::size_t i = 0; i < servers.size(); ++i) {
                texts.push_back("node" + std::to_string(i) + ":9000");
            }
            std::vector<RingServer> on_ring;
            for (const std::string& text : texts) {
                on_ring.push_back({text});
            }
            ring = KetamaRing(on_ring);
        }
    }

    BalanceMethod method;
    AllDown when_all_down = AllDown::try_anyway;
    KetamaRing ring;
    std::vector<TestServer> servers;
    std::vector<TestAddress> addresses;
    std::vector<SmoothWeight> weights;
    std::uint64_t random_bits = 0;
};

class View {
  public:
    View(TestGroup& group) : group_(&group) {}

    BalanceMethod method() const { return group_->method; }
    AllDown when_all_down() const { return group_->when_all_down; }
    const KetamaRing& ring() const { return group_->ring; }
    std::size_t address_count() const { return group_->addresses.size(); }
    auto addresses_of(std::uint32_t server) const {
        const TestServer& it = group_->servers[server];
        return std::views::iota(it.first_address, it.first_address + it.address_count);
    }
    std::uint32_t server_of(std::uint32_t address) const {
        return group_->addresses[address].server;
    }
    unsigned weight_of(std::uint32_t server) const { return group_->servers[server].weight; }
    bool is_backup(std::uint32_t server) const { return group_->servers[server].is_backup; }
    bool is_out(std::uint32_t address) const { return group_->addresses[address].is_out; }
    bool is_well(std::uint32_t address) const { return group_->addresses[address].is_well; }
    bool may_be_recovering(std::uint32_t address) const {
        return group_->addresses[address].may_be_recovering;
    }
    bool has_room(std::uint32_t server) const { return group_->servers[server].has_room; }
    std::int64_t in_flight(std::uint32_t address) const {
        return group_->addresses[address].in_flight;
    }
    unsigned share_of(std::uint32_t address) const { return group_->addresses[address].share; }
    std::span<SmoothWeight> weights() const { return group_->weights; }
    std::uint64_t random() const { return group_->random_bits; }

  private:
    TestGroup* group_;
};

TestGroup ring_of(std::size_t servers) {
    return TestGroup(BalanceMethod::ketama, std::vector<std::uint32_t>(servers, 1));
}

TestGroup in_turn(std::size_t servers, BalanceMethod method = BalanceMethod::round_robin) {
    return TestGroup(method, std::vector<std::uint32_t>(servers, 1));
}

std::uint32_t hash_of(int key) {
    return base::crc32("key-" + std::to_string(key));
}

// The servers in ring order from the key's point, each once.
std::vector<std::uint32_t> ring_order(const TestGroup& group, std::uint32_t hash) {
    std::vector<std::uint32_t> order;
    const auto& points = group.ring.points();
    const std::size_t begin = group.ring.lookup(hash);
    for (std::size_t i = 0; i < points.size(); ++i) {
        const std::uint32_t server = points[(begin + i) % points.size()].server;
        if (std::ranges::find(order, server) == order.end()) {
            order.push_back(server);
        }
    }
    return order;
}

// One request.
struct Request {
    explicit Request(TestGroup& group, std::optional<std::uint32_t> key = std::nullopt)
        : selection(group, key, memory) {}

    std::optional<std::uint32_t> next(Sent sent = Sent::nothing) {
        const Selected selected = selection.select(sent);
        if (selected.result != Result::found) {
            return std::nullopt;
        }
        selection.note_tried(selected.address);
        return selected.address;
    }
    // All further addresses that it would try, in order.
    std::vector<std::uint32_t> rest(Sent sent = Sent::nothing) {
        std::vector<std::uint32_t> all;
        while (const auto address = next(sent)) {
            all.push_back(*address);
        }
        return all;
    }

    SelectionMemory memory;
    Selection<View> selection;
};

TEST(SelectionOnTheRing, KeysOwnServerAndThenTheWalk) {
    TestGroup group = ring_of(6);
    for (int key = 0; key < 200; ++key) {
        Request request(group, hash_of(key));
        const Selected first = request.selection.select(Sent::nothing);
        EXPECT_EQ(first.result, Result::found);
        EXPECT_TRUE(first.is_by_key);
        EXPECT_EQ(request.selection.select(Sent::nothing).address, first.address)
            << "not tried yet";
        const auto order = ring_order(group, hash_of(key));
        EXPECT_EQ(request.next(), order[0]);
        EXPECT_EQ(request.next(), order[1]);
    }
}

TEST(SelectionOnTheRing, PassesOverWhatIsUnusable) {
    struct Way {
        const char* name;
        void (*spoil)(TestGroup&, std::uint32_t server);
    };
    const Way ways[] = {
        {"out", [](TestGroup& group, std::uint32_t i) { group.addresses[i].is_out = true; }},
        {"not well", [](TestGroup& group, std::uint32_t i) { group.addresses[i].is_well = false; }},
        {"full", [](TestGroup& group, std::uint32_t i) { group.servers[i].has_room = false; }},
    };
    for (const Way& way : ways) {
        for (int key = 0; key < 100; ++key) {
            TestGroup group = ring_of(6);
            const auto order = ring_order(group, hash_of(key));
            way.spoil(group, order[0]);
            EXPECT_EQ(Request(group, hash_of(key)).next(), order[1]) << way.name;
            way.spoil(group, order[1]);
            EXPECT_EQ(Request(group, hash_of(key)).next(), order[2]) << way.name;
        }
    }
}

TEST(SelectionOnTheRing, KeysComeHomeAndOthersNeverLeft) {
    TestGroup group = ring_of(6);
    for (int key = 0; key < 100; ++key) {
        const auto order = ring_order(group, hash_of(key));
        const std::uint32_t other = order[1];
        group.addresses[other].is_well = false;
        EXPECT_EQ(Request(group, hash_of(key)).next(), order[0]);
        group.addresses[other].is_well = true;
        group.addresses[order[0]].is_well = false;
        EXPECT_EQ(Request(group, hash_of(key)).next(), order[1]);
        group.addresses[order[0]].is_well = true;
        EXPECT_EQ(Request(group, hash_of(key)).next(), order[0]);
    }
}

// Points between the key's own one and the first of `server`.
std::size_t distance_to(const TestGroup& group, std::uint32_t hash, std::uint32_t server) {
    const auto& points = group.ring.points();
    const std::size_t begin = group.ring.lookup(hash);
    std::size_t passed = 0;
    while (points[(begin + passed) % points.size()].server != server) {
        ++passed;
    }
    return passed;
}

TEST(SelectionOnTheRing, TurnsToRoundRobinBehindTwentyOnePoints) {
    TestGroup group = ring_of(30);
    for (TestAddress& address : group.addresses) {
        address.is_well = address.server == 17;
    }
    std::set<bool> seen;
    for (int key = 0; key < 300; ++key) {
        const Selected selected = Request(group, hash_of(key)).selection.select(Sent::nothing);
        EXPECT_EQ(selected.result, Result::found);
        EXPECT_EQ(selected.address, 17u);
        EXPECT_EQ(selected.is_by_key, distance_to(group, hash_of(key), 17) <= kMaxUnusablePoints);
        seen.insert(selected.is_by_key);
    }
    EXPECT_EQ(seen.size(), 2u) << "both cases occurred";
}

TEST(SelectionOnTheRing, TheLimitCountsOverAllAttempts) {
    TestGroup group = ring_of(30);
    for (TestAddress& address : group.addresses) {
        address.is_well = address.server == 3 || address.server == 17;
    }
    int together = 0;
    for (int key = 0; key < 1000; ++key) {
        const std::size_t near =
            std::min(distance_to(group, hash_of(key), 3), distance_to(group, hash_of(key), 17));
        const std::size_t far =
            std::max(distance_to(group, hash_of(key), 3), distance_to(group, hash_of(key), 17));
        if (near > kMaxUnusablePoints) {
            continue;
        }
        Request request(group, hash_of(key));
        request.next();
        EXPECT_EQ(request.selection.select(Sent::something).is_by_key, far <= kMaxUnusablePoints);
        together += far > kMaxUnusablePoints && far - near <= kMaxUnusablePoints ? 1 : 0;
    }
    EXPECT_GT(together, 0) << "neither stretch alone was too long";
}

TEST(SelectionOnTheRing, AWaitingRequestMayBeginAgain) {
    TestGroup group = ring_of(3);
    const auto order = ring_order(group, hash_of(1));
    for (TestServer& server : group.servers) {
        server.has_room = false;
    }
    Request request(group, hash_of(1));
    for (int looks = 0; looks < 100; ++looks) {
        request.selection.restart_walk();
        EXPECT_EQ(request.selection.select(Sent::nothing).result, Result::full);
    }
    for (TestServer& server : group.servers) {
        server.has_room = true;
    }
    request.selection.restart_walk();
    const Selected selected = request.selection.select(Sent::nothing);
    EXPECT_TRUE(selected.is_by_key);
    EXPECT_EQ(selected.address, order[0]);
}

TEST(SelectionOnTheRing, WithoutAKeyInTurn) {
    TestGroup group = ring_of(3);
    std::set<std::uint32_t> seen;
    for (int i = 0; i < 3; ++i) {
        const Selected selected = Request(group).selection.select(Sent::nothing);
        EXPECT_FALSE(selected.is_by_key);
        seen.insert(selected.address);
    }
    EXPECT_EQ(seen.size(), 3u);
}

TEST(SelectionOnTheRing, AnUnresolvedServerIsPassedOver) {
    TestGroup group(BalanceMethod::ketama, {1, 0, 1});
    for (int key = 0; key < 50; ++key) {
        for (const std::uint32_t server : ring_order(group, hash_of(key))) {
            if (server != 1) {
                const auto address = Request(group, hash_of(key)).next();
                ASSERT_TRUE(address);
                EXPECT_EQ(group.addresses[*address].server, server);
                break;
            }
        }
    }
}

TEST(SelectionOfAnAddress, AddressesOfAServerTakeTurns) {
    TestGroup group(BalanceMethod::ketama, {1, 3, 1});
    int key = 0;
    while (ring_order(group, hash_of(key))[0] != 1) {
        ++key;
    }
    std::map<std::uint32_t, int> seen;
    for (int i = 0; i < 30; ++i) {
        ++seen[Request(group, hash_of(key)).next().value()];
    }
    EXPECT_EQ(seen, (std::map<std::uint32_t, int>{{1, 10}, {2, 10}, {3, 10}}));
    group.addresses[2].is_well = false;
    for (int i = 0; i < 30; ++i) {
        EXPECT_NE(Request(group, hash_of(key)).next(), 2u);
    }
}

TEST(SelectionOfAnAddress, ARetryStaysAtTheServerWhileItHasAnother) {
    TestGroup group(BalanceMethod::ketama, {1, 3, 1});
    int key = 0;
    while (ring_order(group, hash_of(key))[0] != 1) {
        ++key;
    }
    const auto tried = Request(group, hash_of(key)).rest();
    EXPECT_EQ(std::set(tried.begin(), tried.begin() + 3), (std::set<std::uint32_t>{1, 2, 3}));
    EXPECT_EQ(tried.size(), 5u);
}

TEST(SelectionInTurn, FollowsTheWeights) {
    TestGroup group = in_turn(2);
    group.servers[0].weight = 3;
    std::map<std::uint32_t, int> seen;
    for (int i = 0; i < 12; ++i) {
        ++seen[Request(group).next().value()];
    }
    EXPECT_EQ(seen, (std::map<std::uint32_t, int>{{0, 9}, {1, 3}}));
}

TEST(SelectionInTurn, IgnoresKeys) {
    TestGroup group = in_turn(3);
    const std::uint32_t first = Request(group, hash_of(1)).next().value();
    EXPECT_NE(Request(group, hash_of(1)).next(), first);
}

TEST(SelectionInTurn, BackupsOnlyWhereNoPrimaryIsLeft) {
    for (const BalanceMethod method : {BalanceMethod::round_robin, BalanceMethod::least_conn}) {
        TestGroup group = in_turn(4, method);
        group.servers[0].is_backup = group.servers[2].is_backup = true;
        group.addresses[1].in_flight = group.addresses[3].in_flight = 100;
        const auto tried = Request(group).rest();
        EXPECT_EQ(std::set(tried.begin(), tried.begin() + 2), (std::set<std::uint32_t>{1, 3}));
        EXPECT_EQ(tried.size(), 4u);
        group.addresses[1].is_well = false;
        group.servers[3].has_room = false;
        EXPECT_TRUE(group.servers[Request(group).next().value()].is_backup);
    }
}

TEST(SelectionByLoad, TheLeastLoadedAndTiesInTurn) {
    TestGroup group = in_turn(4, BalanceMethod::least_conn);
    group.addresses[0].in_flight = 2;
    group.addresses[1].in_flight = 1;
    group.addresses[2].in_flight = 1;
    group.addresses[3].in_flight = 3;
    std::map<std::uint32_t, int> seen;
    std::mt19937_64 random(1);
    for (int i = 0; i < 20; ++i) {
        group.random_bits = random();
        ++seen[Request(group).next().value()];
    }
    EXPECT_EQ(seen, (std::map<std::uint32_t, int>{{1, 10}, {2, 10}}));
    group.servers[3].weight = 4;  // 3 of 4 is less than 1 of 1
    EXPECT_EQ(Request(group).next(), 3u);
}

TEST(SelectionAndRoom, FullIsNotDown) {
    for (const bool is_ring : {true, false}) {
        TestGroup group = is_ring ? ring_of(3) : in_turn(3);
        group.servers[0].has_room = group.servers[1].has_room = false;
        group.addresses[2].is_well = false;
        Request request(group, hash_of(1));
        EXPECT_EQ(request.selection.select(Sent::nothing).result, Result::full)
            << "the health of the third is not ignored for it";
        EXPECT_TRUE(request.selection.has_left(Sent::nothing));
        EXPECT_FALSE(request.selection.has_left_with_room(Sent::nothing));
        group.servers[1].has_room = true;
        EXPECT_TRUE(request.selection.has_left_with_room(Sent::nothing));
        request.selection.restart_walk();
        EXPECT_EQ(request.next(), 1u);
    }
}

TEST(SelectionAndRoom, OfferedRoomIsUsedWhereTheServerMayBe) {
    TestGroup group(BalanceMethod::ketama, {1, 2, 1});
    group.servers[1].has_room = false;  // the offered room is held for the request
    Request request(group, hash_of(1));
    const auto first = request.selection.select_at(1, Sent::nothing);
    ASSERT_TRUE(first);
    EXPECT_EQ(group.addresses[*first].server, 1u);
    request.selection.note_tried(*first);
    const auto second = request.selection.select_at(1, Sent::something);
    ASSERT_TRUE(second);
    EXPECT_NE(*second, *first);
    request.selection.note_tried(*second);
    EXPECT_FALSE(request.selection.select_at(1, Sent::something)) << "tried";
    group.addresses[0].is_out = true;
    EXPECT_FALSE(request.selection.select_at(0, Sent::something)) << "out";
    group.addresses[3].is_well = false;
    EXPECT_FALSE(request.selection.select_at(2, Sent::something)) << "another one was well";
    EXPECT_TRUE(request.selection.select_at(2, Sent::nothing)) << "nobody well is left";
}

TEST(SelectionWithoutHealth, AllThatAreNotOutAreTriedInRingOrder) {
    TestGroup group = ring_of(5);
    group.addresses[4].is_out = true;
    for (TestAddress& address : group.addresses) {
        address.is_well = false;
    }
    for (int key = 0; key < 100; ++key) {
        auto order = ring_order(group, hash_of(key));
        std::erase(order, 4u);
        Request request(group, hash_of(key));
        EXPECT_EQ(request.next(), order[0]);
        EXPECT_EQ(request.next(), order[1]) << "nothing was sent";
        EXPECT_EQ(request.rest(Sent::something).size(), 2u) << "they leave nobody at all";
        EXPECT_FALSE(request.selection.has_left(Sent::nothing));
    }
    group.when_all_down = AllDown::refuse;
    EXPECT_EQ(Request(group, hash_of(1)).selection.select(Sent::nothing).result, Result::none);
    EXPECT_FALSE(Request(group, hash_of(1)).selection.has_left_with_room(Sent::nothing));
}

TEST(SelectionWithoutHealth, NotBehindALongWalkOnlyInTurn) {
    // Points that were skipped for their health do not count in a walk that ignores it.
    TestGroup group = ring_of(30);
    for (TestAddress& address : group.addresses) {
        address.is_well = address.server == 17;
    }
    for (int key = 0; key < 100; ++key) {
        if (distance_to(group, hash_of(key), 17) <= kMaxUnusablePoints) {
            continue;
        }
        Request request(group, hash_of(key));
        EXPECT_EQ(request.next(), 17u);
        EXPECT_TRUE(request.selection.select(Sent::nothing).is_by_key);
    }
}

TEST(SelectionWithoutHealth, AfterSomethingWasSentOnlyWhereItLeavesNobody) {
    for (const bool is_ring : {true, false}) {
        TestGroup group = is_ring ? ring_of(4) : in_turn(4);
        group.addresses[1].is_well = group.addresses[2].is_well = false;
        EXPECT_EQ(Request(group, hash_of(1)).rest(Sent::something).size(), 2u);
        EXPECT_EQ(Request(group, hash_of(1)).rest(Sent::nothing).size(), 4u);
    }
}

TEST(SelectionWithoutHealth, WhoIsOutIsNoReasonToRespectIt) {
    TestGroup group = ring_of(3);
    group.addresses[0].is_out = true;  // although the checks see it up
    group.addresses[1].is_well = group.addresses[2].is_well = false;
    EXPECT_EQ(Request(group, hash_of(1)).rest(Sent::something).size(), 2u);
}

TEST(SelectionOfTheRecovering, OnceEveryUsableServerRefused) {
    TestGroup group = ring_of(4);
    group.when_all_down = AllDown::refuse;
    group.addresses[1] = {.server = 1, .is_well = false, .may_be_recovering = true};
    group.addresses[2] = {.server = 2, .is_well = false, .may_be_recovering = false};
    Request request(group, hash_of(1));
    EXPECT_TRUE(request.next());
    request.selection.admit_recovering();
    EXPECT_EQ(group.addresses[request.next(Sent::something).value()].is_well, true)
        << "one that is well was left";
    EXPECT_FALSE(request.selection.has_left(Sent::something));
    request.selection.admit_recovering();
    EXPECT_TRUE(request.selection.has_left_with_room(Sent::something));
    EXPECT_EQ(request.next(Sent::something), 1u);
    request.selection.admit_recovering();
    EXPECT_FALSE(request.next(Sent::something)) << "the last check of the third failed";
}

TEST(SelectionMemoryOfARequest, IsFreshForTheNext) {
    TestGroup group = ring_of(3);
    SelectionMemory memory;
    for (int i = 0; i < 3; ++i) {
        Selection<View> selection(group, hash_of(1), memory);
        const Selected selected = selection.select(Sent::nothing);
        EXPECT_EQ(selected.address, ring_order(group, hash_of(1))[0]);
        selection.note_tried(selected.address);
    }
    TestGroup larger = in_turn(70);
    EXPECT_EQ(Selection<View>(larger, std::nullopt, memory).select(Sent::nothing).result,
              Result::found);
}

TEST(SelectionProperties, EachUsableAddressOnceAndNoOther) {
    for (std::uint64_t seed = 0; seed < 500; ++seed) {
        std::mt19937_64 random(seed);
        const BalanceMethod method = static_cast<BalanceMethod>(random() % 3);
        std::vector<std::uint32_t> sizes(1 + random() % 24);
        for (std::uint32_t& size : sizes) {
            size = static_cast<std::uint32_t>(random() % 4);
        }
        TestGroup group(method, sizes);
        group.when_all_down = AllDown::refuse;
        for (TestServer& server : group.servers) {
            server.has_room = random() % 5 != 0;
            server.is_backup = method != BalanceMethod::ketama && random() % 5 == 0;
        }
        std::set<std::uint32_t> usable;
        for (std::uint32_t i = 0; i < group.addresses.size(); ++i) {
            TestAddress& address = group.addresses[i];
            address.is_out = random() % 6 == 0;
            address.is_well = random() % 3 != 0;
            address.in_flight = static_cast<std::int64_t>(random() % 3);
            if (!address.is_out && address.is_well && group.servers[address.server].has_room) {
                usable.insert(i);
            }
        }
        group.random_bits = random();
        const auto tried = Request(group, static_cast<std::uint32_t>(random())).rest();
        EXPECT_EQ(std::set(tried.begin(), tried.end()), usable) << "seed " << seed;
        EXPECT_EQ(tried.size(), usable.size()) << "seed " << seed;
    }
}

// backends.slow_start: the share counts like a part of the weight.
TEST(SlowStart, LessGoesToAServerThatCameBack) {
    for (const BalanceMethod method : {BalanceMethod::round_robin, BalanceMethod::least_conn}) {
        TestGroup group = in_turn(2, method);
        group.addresses[0].share = 100;
        std::map<std::uint32_t, int> counts;
        for (int i = 0; i < 1100; ++i) {
            ++counts[Request(group).next().value()];
        }
        EXPECT_EQ(counts[0], 100);
        EXPECT_EQ(counts[1], 1000);
    }
}

TEST(SlowStart, LeastConnFollowsTheShareUnderLoad) {
    TestGroup group = in_turn(2, BalanceMethod::least_conn);
    group.addresses[0].share = 250;
    for (int i = 0; i < 100; ++i) {
        ++group.addresses[Request(group).next().value()].in_flight;
    }
    EXPECT_EQ(group.addresses[0].in_flight, 20);
    EXPECT_EQ(group.addresses[1].in_flight, 80);
}

TEST(SlowStart, ServersThatAllCameBackShareEvenly) {
    TestGroup group = in_turn(3);
    for (TestAddress& address : group.addresses) {
        address.share = kLeastShare;
    }
    std::map<std::uint32_t, int> counts;
    for (int i = 0; i < 300; ++i) {
        ++counts[Request(group).next().value()];
    }
    EXPECT_EQ(counts, (std::map<std::uint32_t, int>{{0, 100}, {1, 100}, {2, 100}}));
}

TEST(SlowStart, DoesNotMoveKeys) {
    TestGroup group = ring_of(3);
    std::vector<std::uint32_t> before;
    for (int key = 0; key < 100; ++key) {
        before.push_back(Request(group, hash_of(key)).next().value());
    }
    group.addresses[1].share = kLeastShare;
    for (int key = 0; key < 100; ++key) {
        EXPECT_EQ(Request(group, hash_of(key)).next().value(), before[key]);
    }
}

}  // namespace
}  // namespace s3gate::policy
