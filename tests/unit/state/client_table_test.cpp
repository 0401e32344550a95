// The table of clients: connections of one address over all workers, which addresses are one
// client, which entries are forgotten, and a full table.

#include "s3gate/state/client_table.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace s3gate::state {
namespace {

using Admission = ClientTable::Admission;
constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kNow = 100 * kSecond;

base::IpAddress ip(const std::string& text) {
    return base::IpAddress::parse(text).value();
}

TEST(ClientTable, ServesSoManyAndRefusesTheNext) {
    ClientTable table(1);
    const auto first = table.enter({0, 0}, ip("10.0.0.1"), 2);
    const auto second = table.enter({0, 0}, ip("10.0.0.1"), 2);
    const auto third = table.enter({0, 0}, ip("10.0.0.1"), 2);
    EXPECT_EQ(first.admission, Admission::served);
    EXPECT_EQ(second.admission, Admission::served);
    EXPECT_EQ(third.admission, Admission::refused);
    EXPECT_EQ(table.enter({0, 0}, ip("10.0.0.2"), 2).admission, Admission::served)
        << "another client";
    EXPECT_EQ(table.enter({1, 0}, ip("10.0.0.1"), 2).admission, Admission::served)
        << "another site";
    EXPECT_EQ(table.enter({0, 1}, ip("10.0.0.1"), 2).admission, Admission::served)
        << "another site, in a cell that was given back";
    table.leave(*first.entry, first.admission, kNow);
    EXPECT_EQ(table.enter({0, 0}, ip("10.0.0.1"), 2).admission, Admission::served)
        << "the refused one does not stand in its way";
}

TEST(ClientTable, DropsFarBeyondTheLimit) {
    ClientTable table(1);
    table.enter({0, 0}, ip("10.0.0.1"), 1);
    std::vector<ClientTable::Ticket> refused;
    for (std::uint32_t i = 0; i < ClientTable::kRefusedRoom; ++i) {
        refused.push_back(table.enter({0, 0}, ip("10.0.0.1"), 1));
        EXPECT_EQ(refused.back().admission, Admission::refused);
    }
    const auto dropped = table.enter({0, 0}, ip("10.0.0.1"), 1);
    EXPECT_EQ(dropped.admission, Admission::dropped);
    EXPECT_EQ(dropped.entry, nullptr);
    table.leave(*refused.back().entry, Admission::refused, kNow);
    EXPECT_EQ(table.enter({0, 0}, ip("10.0.0.1"), 1).admission, Admission::refused);
}

TEST(ClientTable, WhoBorrowsAnEntryCountsForNoLimitOnConnections) {
    ClientTable table(1);
    ClientTable::Entry& first = table.borrow({0, 0}, ip("10.0.0.1"));
    for (std::uint32_t i = 0; i < 2 * ClientTable::kRefusedRoom; ++i) {
        EXPECT_EQ(&table.borrow({0, 0}, ip("10.0.0.1")), &first);
    }
    EXPECT_NE(&table.borrow({1, 0}, ip("10.0.0.1")), &first) << "another site";
    const auto own = table.enter({0, 0}, ip("10.0.0.1"), 1);
    EXPECT_EQ(own.admission, Admission::served);
    EXPECT_EQ(own.entry, &first) << "the same rate, however its requests come";
    EXPECT_EQ(table.enter({0, 0}, ip("10.0.0.1"), 1).admission, Admission::refused);
}

TEST(ClientTable, ABorrowedEntryStaysUntilTheSweepAfterItsReturn) {
    ClientTable table(1);
    ClientTable::Entry& entry = table.borrow({0, 0}, ip("10.0.0.1"));
    const auto own = table.enter({0, 0}, ip("10.0.0.1"), 1);
    table.leave(*own.entry, own.admission, kNow);
    table.sweep(kNow);
    EXPECT_EQ(table.size(), 1u) << "it is in use";
    table.give_back(entry);
    EXPECT_EQ(table.size(), 1u) << "the client's next request finds it";
    EXPECT_EQ(&table.borrow({0, 0}, ip("10.0.0.1")), &entry);
    table.give_back(entry);
    const policy::RateRule rule = policy::rate_rule(1, kSecond, 1);
    EXPECT_TRUE(ClientTable::admit(entry, rule, kNow));
    table.sweep(kNow);
    EXPECT_EQ(table.size(), 1u) << "its bucket is not full";
    table.sweep(kNow + 2 * kSecond);
    EXPECT_EQ(table.size(), 0u);
}

TEST(ClientTable, ZeroIsAnyNumberOfConnections) {
    ClientTable table(1);
    for (int i = 0; i < 1000; ++i) {
        ASSERT_EQ(table.enter({0, 0}, ip("10.0.0.1"), 0).admission, Admission::served);
    }
    EXPECT_EQ(table.size(), 1u);
}

TEST(ClientTable, ANetworkOf64BitsIsOneClient) {
    ClientTable table(1);
    auto* const one = table.enter({0, 0}, ip("2001:db8:1:2::1"), 0).entry;
    EXPECT_EQ(table.enter({0, 0}, ip("2001:db8:1:2:ffff:ffff:ffff:ffff"), 0).entry, one);
    EXPECT_NE(table.enter({0, 0}, ip("2001:db8:1:3::1"), 0).entry, one);
    EXPECT_EQ(table.enter({0, 0}, ip("10.0.0.1"), 0).entry,
              table.enter({0, 0}, ip("10.0.0.1"), 0).entry);
    EXPECT_NE(table.enter({0, 0}, ip("10.0.0.1"), 0).entry,
              table.enter({0, 0}, ip("10.0.0.2"), 0).entry);
    // 0.0.0.10 and ::a have the same 64 bits in the key.
    EXPECT_NE(table.enter({0, 0}, ip("0.0.0.10"), 0).entry,
              table.enter({0, 0}, ip("0:0:0:a::"), 0).entry);
}

TEST(ClientTable, AClientWithAFullBucketIsForgottenWithItsLastConnection) {
    ClientTable table(1);
    const auto a = table.enter({0, 0}, ip("10.0.0.1"), 0);
    const auto b = table.enter({0, 0}, ip("10.0.0.1"), 0);
    table.leave(*a.entry, a.admission, kNow);
    EXPECT_EQ(table.size(), 1u);
    table.leave(*b.entry, b.admission, kNow);
    EXPECT_EQ(table.size(), 0u);
}

// A client with a connection per request has the same limit.
TEST(ClientTable, TheBucketOutlivesTheConnection) {
    ClientTable table(1);
    const policy::RateRule rule = policy::rate_rule(10, kSecond, 3);
    for (int i = 0; i < 5; ++i) {
        const auto ticket = table.enter({0, 0}, ip("10.0.0.1"), 0);
        EXPECT_EQ(ClientTable::admit(*ticket.entry, rule, kNow), i < 3);
        table.leave(*ticket.entry, ticket.admission, kNow);
    }
    EXPECT_EQ(table.size(), 1u);
    table.sweep(kNow + 2 * kSecond / 10);
    EXPECT_EQ(table.size(), 1u) << "not full again yet";
    table.sweep(kNow + 3 * kSecond / 10);
    EXPECT_EQ(table.size(), 0u);
}

TEST(ClientTable, SweepingLeavesWhoIsConnected) {
    ClientTable table(1);
    const auto ticket = table.enter({0, 0}, ip("10.0.0.1"), 1);
    table.sweep(kNow);
    EXPECT_EQ(table.size(), 1u);
    EXPECT_EQ(table.enter({0, 0}, ip("10.0.0.1"), 1).admission, Admission::refused);
    table.leave(*ticket.entry, ticket.admission, kNow);
}

TEST(ClientTable, WhoFindsNoRoomSharesTheLimitsOfOneClient) {
    ClientTable table(1, 100);
    for (int i = 0; i < 100; ++i) {
        table.enter({0, 0}, ip("10.0.0." + std::to_string(i)), 5);
    }
    EXPECT_EQ(table.size(), 100u);
    EXPECT_EQ(table.shared(), 0u);
    std::vector<ClientTable::Ticket> late;
    int served = 0;
    for (int i = 0; i < 250; ++i) {
        for (int j = 0; j < 40; ++j) {
            const auto ticket =
                table.enter({0, 0}, ip("10.1." + std::to_string(i) + "." + std::to_string(j)), 5);
            served += ticket.admission == Admission::served ? 1 : 0;
            if (ticket.entry != nullptr) {
                late.push_back(ticket);
            }
        }
    }
    EXPECT_EQ(table.size(), 100u) << "bounded";
    EXPECT_EQ(table.shared(), 10'000u);
    EXPECT_EQ(served, 5 * 64) << "one client's share in each shard";
    EXPECT_EQ(table.enter({0, 0}, ip("10.0.0.7"), 5).admission, Admission::served)
        << "who is known keeps what is its own";
    for (const auto& ticket : late) {
        table.leave(*ticket.entry, ticket.admission, kNow);
    }
    EXPECT_EQ(table.enter({0, 0}, ip("10.2.0.1"), 5).admission, Admission::served);
}

TEST(ClientTable, AddressesSpreadOverTheShards) {
    ClientTable table(12345, 0);  // full: every shard uses its shared entry
    std::vector<ClientTable::Entry*> seen;
    for (int i = 0; i < 4000; ++i) {
        auto* const entry =
            table
                .enter({0, 0},
                       ip("10.0." + std::to_string(i / 200) + "." + std::to_string(i % 200)), 0)
                .entry;
        if (std::find(seen.begin(), seen.end(), entry) == seen.end()) {
            seen.push_back(entry);
        }
    }
    EXPECT_EQ(seen.size(), 64u);
}

TEST(ClientTable, WorkersCountTogether) {
    ClientTable table(7);
    std::atomic<int> served{0};
    std::atomic<int> most{0};
    std::atomic<int> admitted{0};
    const policy::RateRule rule = policy::rate_rule(1, 3600 * kSecond, 5000);
    // The entry stays because of its bucket.
    const auto keeper = table.enter({0, 0}, ip("10.0.0.1"), 100);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 5000; ++i) {
                const auto ticket = table.enter({0, 0}, ip("10.0.0.1"), 3);
                if (ticket.admission == Admission::served) {
                    const int now = ++served;
                    int before = most.load();
                    while (before < now && !most.compare_exchange_weak(before, now)) {
                    }
                    admitted += ClientTable::admit(*ticket.entry, rule, kNow) ? 1 : 0;
                    --served;
                }
                if (ticket.entry != nullptr) {
                    table.leave(*ticket.entry, ticket.admission, kNow);
                }
                const auto other = table.enter({1, 0}, ip("10.0.1." + std::to_string(i % 50)), 0);
                table.leave(*other.entry, other.admission, kNow);
                if (i % 100 == 0) {
                    table.sweep(kNow);
                }
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_LE(most.load(), 2) << "the keeper has one of three";
    EXPECT_LE(admitted.load(), 5000);
    EXPECT_GT(admitted.load(), 0);
    EXPECT_EQ(table.size(), 1u);
    table.leave(*keeper.entry, keeper.admission, kNow + 2 * 3600 * 5000 * kSecond);
    EXPECT_EQ(table.size(), 0u);
}

TEST(ClientTable, GivesItsBucketsToAnother) {
    constexpr policy::RateRule kRule{kSecond, 2};
    ClientTable table(1);
    for (const char* const client : {"10.0.0.1", "2001:db8:1:2:3::4"}) {
        ClientTable::Entry& entry = table.borrow({3, 1}, ip(client));
        while (ClientTable::admit(entry, kRule, kNow)) {
        }
    }
    table.borrow({3, 1}, ip("10.0.0.2"));  // its bucket is full
    const auto buckets = table.buckets(kNow);
    ASSERT_EQ(buckets.size(), 2u);
    EXPECT_EQ(table.buckets(kNow + 3 * kSecond).size(), 0u) << "they are full again";

    ClientTable other(2);
    for (const ClientTable::Bucket& bucket : buckets) {
        other.fill(bucket);
    }
    EXPECT_FALSE(ClientTable::admit(other.borrow({3, 1}, ip("10.0.0.1")), kRule, kNow));
    EXPECT_FALSE(ClientTable::admit(other.borrow({3, 1}, ip("2001:db8:1:2::9")), kRule, kNow))
        << "an address of the same /64";
    EXPECT_TRUE(ClientTable::admit(other.borrow({3, 1}, ip("10.0.0.2")), kRule, kNow));
    EXPECT_TRUE(ClientTable::admit(other.borrow({4, 1}, ip("10.0.0.1")), kRule, kNow));
}

}  // namespace
}  // namespace s3gate::state
