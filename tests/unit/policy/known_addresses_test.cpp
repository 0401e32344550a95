#include "s3gate/policy/known_addresses.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <random>
#include <set>
#include <string>

namespace s3gate::policy {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAreArray;
using Addresses = std::vector<base::IpAddress>;

base::IpAddress ip(unsigned number) {
    return *base::IpAddress::parse("10.0." + std::to_string(number / 256) + "." +
                                   std::to_string(number % 256));
}

Addresses ips(const std::vector<unsigned>& numbers) {
    Addresses out;
    for (const unsigned number : numbers) {
        out.push_back(ip(number));
    }
    return out;
}

// The addresses from `first` on, `count` of them.
Addresses row(unsigned first, unsigned count) {
    Addresses out;
    for (unsigned i = 0; i < count; ++i) {
        out.push_back(ip(first + i));
    }
    return out;
}

base::TimePoint at(int second) {
    return base::TimePoint{} + seconds{second};
}

class KnownAddressesTest : public testing::Test {
  protected:
    AddressChange answer(const Addresses& addresses) {
        return known.on_answer(addresses, at(++now));
    }
    bool fail(LookupFailure kind) { return known.on_failure(kind, at(++now)); }

    KnownAddresses known;
    int now = 0;
};

TEST_F(KnownAddressesTest, NothingIsKnownBeforeTheFirstAnswer) {
    EXPECT_FALSE(known.is_known());
    EXPECT_EQ(known.last_answer(), std::nullopt);
    fail(LookupFailure::unknown_name);
    EXPECT_FALSE(known.is_known());
    EXPECT_THAT(answer(ips({1, 2})).added, ElementsAre(ip(1), ip(2)));
    EXPECT_TRUE(known.is_known());
    EXPECT_EQ(known.last_answer(), at(2));
}

TEST_F(KnownAddressesTest, OrderAndRepetitionsAreNoChange) {
    answer(ips({1, 2, 3}));
    EXPECT_TRUE(answer(ips({3, 1, 2, 1, 3})).is_empty());
    EXPECT_EQ(known.addresses(), ips({1, 2, 3})) << "known ones keep their places";
}

TEST_F(KnownAddressesTest, ANewAddressIsUsedAtOnceAndFollowsTheKnownOnes) {
    answer(ips({2, 3}));
    EXPECT_THAT(answer(ips({1, 3, 2, 4})).added, ElementsAre(ip(1), ip(4)));
    EXPECT_EQ(known.addresses(), ips({2, 3, 1, 4}));
}

TEST_F(KnownAddressesTest, AnAddressLeavesWithTheThirdAnswerWithoutIt) {
    answer(ips({1, 2, 3}));
    EXPECT_TRUE(answer(ips({1, 3})).is_empty());
    EXPECT_TRUE(answer(ips({1, 3})).is_empty());
    EXPECT_EQ(known.addresses(), ips({1, 2, 3}));
    const AddressChange change = answer(ips({1, 3}));
    EXPECT_THAT(change.left, ElementsAre(ip(2)));
    EXPECT_THAT(change.added, IsEmpty());
    EXPECT_FALSE(change.has_moved);
    EXPECT_EQ(known.addresses(), ips({1, 3}));
}

TEST_F(KnownAddressesTest, AnAnswerWithItBeginsAnew) {
    answer(ips({1, 2}));
    for (int i = 0; i < 10; ++i) {
        EXPECT_TRUE(answer(ips({1})).is_empty());
        EXPECT_TRUE(answer(ips({1})).is_empty());
        EXPECT_TRUE(answer(ips({2})).is_empty());
    }
}

TEST_F(KnownAddressesTest, OneAddressThatBecomesAnotherMovesAtOnce) {
    answer(ips({1}));
    const AddressChange change = answer(ips({2, 2}));
    EXPECT_TRUE(change.has_moved);
    EXPECT_THAT(change.added, ElementsAre(ip(2)));
    EXPECT_THAT(change.left, ElementsAre(ip(1)));
    EXPECT_EQ(known.addresses(), ips({2}));
    EXPECT_TRUE(answer(ips({1})).has_moved) << "and back";
    EXPECT_EQ(known.addresses(), ips({1}));
}

TEST_F(KnownAddressesTest, OneOfSeveralThatBecomesAnotherIsNoMove) {
    answer(ips({1, 2}));
    EXPECT_FALSE(answer(ips({3})).has_moved);
    EXPECT_EQ(known.addresses(), ips({1, 2, 3}));
    KnownAddresses single;
    single.on_answer(ips({1}), at(1));
    EXPECT_FALSE(single.on_answer(ips({2, 3}), at(2)).has_moved);
    EXPECT_EQ(single.addresses(), ips({1, 2, 3}));
}

TEST_F(KnownAddressesTest, AllReplacedAtOnceAreUsedAtOnce) {
    answer(ips({1, 2, 3}));
    EXPECT_EQ(answer(ips({4, 5, 6})).added, ips({4, 5, 6}));
    EXPECT_EQ(known.addresses(), ips({1, 2, 3, 4, 5, 6}));
    answer(ips({4, 5, 6}));
    EXPECT_EQ(answer(ips({4, 5, 6})).left, ips({1, 2, 3}));
}

TEST_F(KnownAddressesTest, RotatingSubsetsAreOneSet) {
    answer(ips({1, 2}));
    answer(ips({3, 4}));
    answer(ips({5, 6}));
    for (int i = 0; i < 20; ++i) {
        EXPECT_TRUE(answer(ips({1, 2})).is_empty());
        EXPECT_TRUE(answer(ips({3, 4})).is_empty());
        EXPECT_TRUE(answer(ips({5, 6})).is_empty());
    }
    EXPECT_EQ(known.addresses().size(), 6u);
}

TEST_F(KnownAddressesTest, FailuresOfEveryKindKeepTheAddresses) {
    answer(ips({1, 2}));
    answer(ips({1}));
    answer(ips({1}));
    for (const auto kind :
         {LookupFailure::timeout, LookupFailure::unavailable, LookupFailure::unknown_name,
          LookupFailure::no_address, LookupFailure::other}) {
        for (int i = 0; i < 5; ++i) {
            fail(kind);
            EXPECT_EQ(known.addresses(), ips({1, 2}));
        }
        EXPECT_EQ(known.failures()[static_cast<std::size_t>(kind)], 5u);
        EXPECT_EQ(known.last_failure()->kind, kind);
        EXPECT_EQ(known.last_failure()->when, at(now));
    }
    EXPECT_EQ(known.last_answer(), at(3)) << "the age of what is kept";
    EXPECT_EQ(known.failing_since(), at(4));
    EXPECT_THAT(answer(ips({1})).left, ElementsAre(ip(2))) << "failures end no row of misses";
    EXPECT_EQ(known.failing_since(), std::nullopt);
}

TEST_F(KnownAddressesTest, AKindOfFailureIsNewsOncePerOutage) {
    EXPECT_TRUE(fail(LookupFailure::timeout));
    EXPECT_TRUE(fail(LookupFailure::unavailable));
    for (int i = 0; i < 5; ++i) {
        EXPECT_FALSE(fail(LookupFailure::timeout));
        EXPECT_FALSE(fail(LookupFailure::unavailable));
    }
    answer(ips({1}));
    EXPECT_TRUE(fail(LookupFailure::timeout));
}

TEST_F(KnownAddressesTest, NoMoreThan64AreUsedAndTheKnownOnesStay) {
    Addresses many = row(0, 100);
    EXPECT_EQ(answer(many).added, row(0, 64));
    EXPECT_EQ(known.surplus(), 36u);
    std::ranges::reverse(many);
    EXPECT_TRUE(answer(many).is_empty()) << "other ones first: the same are used";
    EXPECT_EQ(known.surplus(), 36u);
    EXPECT_TRUE(answer(row(0, 64)).is_empty());
    EXPECT_EQ(known.surplus(), 0u);
}

TEST_F(KnownAddressesTest, WhatTheAnswerHasGoesBeforeWhatItLacks) {
    answer(row(0, 64));
    const AddressChange replaced = answer(row(100, 64));
    EXPECT_EQ(replaced.added, row(100, 64)) << "all replaced at once, none has to wait";
    EXPECT_EQ(replaced.left, row(0, 64));
    // Of those it lacks the ones with the longest row of misses make room.
    Addresses later = row(120, 44);
    answer(later);
    later = row(130, 34);
    const Addresses fresh = row(200, 5);
    later.insert(later.end(), fresh.begin(), fresh.end());
    EXPECT_EQ(answer(later).left, row(100, 5));
}

TEST(LookupFailureWords, AreDistinct) {
    std::set<std::string_view> words;
    for (std::size_t i = 0; i < kLookupFailures; ++i) {
        words.insert(word_of(static_cast<LookupFailure>(i)));
    }
    EXPECT_EQ(words.size(), kLookupFailures);
}

// Against the definition, with answers and failures at random.
class Model {
  public:
    void on_answer(const Addresses& answer) {
        const auto has = [&](const base::IpAddress& address) {
            return std::ranges::find(answer, address) != answer.end();
        };
        if (misses_.size() == 1 && is_single(answer) && !has(misses_.begin()->second.address)) {
            misses_.clear();
        }
        for (auto& [text, known] : misses_) {
            known.misses = has(known.address) ? 0 : known.misses + 1;
        }
        std::erase_if(misses_, [](const auto& item) { return item.second.misses >= 3; });
        for (const base::IpAddress& address : answer) {
            misses_.try_emplace(address.to_string(), Known{address, 0});
        }
    }
    Addresses addresses() const {
        Addresses out;
        for (const auto& [text, known] : misses_) {
            out.push_back(known.address);
        }
        return out;
    }

  private:
    struct Known {
        base::IpAddress address;
        int misses;
    };
    static bool is_single(const Addresses& answer) {
        return std::ranges::all_of(answer, [&](const auto& a) { return a == answer.front(); });
    }
    std::map<std::string, Known> misses_;
};

Addresses random_answer(std::mt19937& random) {
    Addresses out;
    const auto count = 1 + random() % 4;
    for (std::size_t i = 0; i < count; ++i) {
        out.push_back(ip(static_cast<unsigned>(random() % 6)));
    }
    return out;
}

TEST(KnownAddressesProperty, FollowsTheDefinition) {
    for (std::uint32_t seed = 0; seed < 300; ++seed) {
        std::mt19937 random(seed);
        KnownAddresses known;
        Model model;
        Addresses before;
        for (int i = 0; i < 200; ++i) {
            if (random() % 4 == 0) {
                known.on_failure(static_cast<LookupFailure>(random() % kLookupFailures), at(i));
                ASSERT_EQ(known.addresses(), before) << seed;
                continue;
            }
            const Addresses answer = random_answer(random);
            const AddressChange change = known.on_answer(answer, at(i));
            model.on_answer(answer);
            const Addresses after = known.addresses();
            ASSERT_THAT(after, UnorderedElementsAreArray(model.addresses())) << seed << " " << i;
            for (const base::IpAddress& address : change.left) {
                std::erase(before, address);
            }
            before.insert(before.end(), change.added.begin(), change.added.end());
            ASSERT_EQ(after, before) << "the change tells the difference, places are kept " << seed;
        }
    }
}

// The order of an answer never decides which addresses are used.
TEST(KnownAddressesProperty, ShuffledAnswersAreTheSame) {
    for (std::uint32_t seed = 0; seed < 300; ++seed) {
        std::mt19937 random(seed);
        KnownAddresses plain;
        KnownAddresses shuffled;
        for (int i = 0; i < 50; ++i) {
            Addresses answer = random_answer(random);
            plain.on_answer(answer, at(i));
            std::ranges::shuffle(answer, random);
            shuffled.on_answer(answer, at(i));
            ASSERT_THAT(shuffled.addresses(), UnorderedElementsAreArray(plain.addresses())) << seed;
        }
    }
}

// Whatever comes: never empty, never above the bound, nothing twice, and every address of an
// answer that fits is used.
TEST(KnownAddressesProperty, LargeAnswersStayBounded) {
    for (std::uint32_t seed = 0; seed < 200; ++seed) {
        std::mt19937 random(seed);
        KnownAddresses known;
        for (int i = 0; i < 40; ++i) {
            Addresses pool = row(0, 200);
            std::ranges::shuffle(pool, random);
            pool.resize(1 + random() % 90);
            const Addresses before = known.addresses();
            known.on_answer(pool, at(i));
            const Addresses after = known.addresses();
            ASSERT_FALSE(after.empty());
            ASSERT_LE(after.size(), KnownAddresses::kMost);
            std::set<std::string> unique;
            for (const base::IpAddress& address : after) {
                ASSERT_TRUE(unique.insert(address.to_string()).second) << seed;
            }
            std::size_t unused = 0;
            for (const base::IpAddress& address : pool) {
                const bool is_used = unique.contains(address.to_string());
                unused += is_used ? 0 : 1;
                if (std::ranges::find(before, address) != before.end()) {
                    ASSERT_TRUE(is_used) << "a known address in the answer stays " << seed;
                }
            }
            ASSERT_EQ(unused, known.surplus());
            ASSERT_EQ(unused, pool.size() <= KnownAddresses::kMost
                                  ? 0
                                  : pool.size() - KnownAddresses::kMost);
        }
    }
}

TEST(NextLookup, ComesUpToATenthOfTheIntervalEarly) {
    const LookupPace pace{seconds{30}, false};
    EXPECT_EQ(next_lookup(pace, at(100), at(101), 0), at(130));
    EXPECT_EQ(next_lookup(pace, at(100), at(101), 0.5), at(130) - milliseconds{1500});
    EXPECT_GT(next_lookup(pace, at(100), at(101), 0.999), at(127));
}

TEST(NextLookup, NamesSpreadOverTheFirstInterval) {
    const LookupPace pace{seconds{30}, true};
    EXPECT_EQ(next_lookup(pace, at(100), at(101), 0.5), at(115));
    EXPECT_LE(next_lookup(pace, at(100), at(101), 0), at(102)) << "not in the past";
    EXPECT_LT(next_lookup(pace, at(100), at(101), 0.999), at(130));
}

// A resolver that was dead is asked again within the interval and the time of one look-up.
TEST(NextLookup, AfterALookupThatOutlastedTheIntervalWithinASecond) {
    for (std::uint32_t seed = 0; seed < 300; ++seed) {
        std::mt19937 random(seed);
        std::uniform_real_distribution<double> share(0, 1);
        const LookupPace pace{milliseconds{200 + random() % 60'000}, random() % 2 == 0};
        const base::TimePoint now = at(1) + pace.interval + milliseconds{random() % 100'000};
        const base::TimePoint next = next_lookup(pace, at(1), now, share(random));
        EXPECT_GE(next, now);
        EXPECT_LE(next, now + std::min<base::Duration>(pace.interval, seconds{1}));
    }
}

}  // namespace
}  // namespace s3gate::policy
