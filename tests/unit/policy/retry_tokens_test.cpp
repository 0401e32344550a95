// Tokens for retries that a status caused: for any number of workers, order and failures a sick
// cluster gets at most a tenth more requests than its clients send, and a retry that helps is free.

#include "s3gate/policy/retry_tokens.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

namespace s3gate::policy {
namespace {

TEST(RetryTokens, TheGroupsTokensAreDividedByTheWorkers) {
    EXPECT_EQ(initial_tokens(1), 10'000);
    EXPECT_EQ(initial_tokens(2), 5'000);
    EXPECT_EQ(initial_tokens(3), 3'333);
    EXPECT_EQ(initial_tokens(64), 156);
}

TEST(RetryTokens, ATenthForEachRequestUpToTheMost) {
    EXPECT_EQ(after_deposit(0, 5000), 100);
    EXPECT_EQ(after_deposit(-300, 5000), -200);
    EXPECT_EQ(after_deposit(4950, 5000), 5000);
    EXPECT_EQ(after_deposit(5000, 5000), 5000);
    EXPECT_EQ(after_deposit(9000, 5000), 5000) << "fewer in flight than when it was earned";
}

TEST(RetryTokens, TheMostGrowsWithWhatIsInFlight) {
    EXPECT_EQ(most_tokens(5000, 0), 5000);
    EXPECT_EQ(most_tokens(5000, 25), 5000);
    EXPECT_EQ(most_tokens(5000, 26), 5200);
    EXPECT_EQ(most_tokens(5000, 1000), 200'000);
    EXPECT_EQ(most_tokens(5000, 1'000'000'000'000), 200'000'000);
}

TEST(RetryTokens, AWorkerMayDrawOnWhatTheOthersHaveLeft) {
    EXPECT_FALSE(has_token(999));
    EXPECT_TRUE(has_token(1000));
    EXPECT_EQ(after_retry(-400), -1400);
}

TEST(RetryTokens, HelpGivesBackAllThatTheRequestTook) {
    EXPECT_EQ(after_help(after_retry(after_retry(5000)), 2, 5000), 5000);
    EXPECT_EQ(after_help(-1400, 1, 5000), -400);
    EXPECT_EQ(after_help(4500, 1, 5000), 5000);
    EXPECT_EQ(after_help(0, 4'000'000'000u, 5000), 5000);
}

TEST(RetryTokens, BadStatuses) {
    for (const int status : {500, 502, 503, 504}) {
        EXPECT_TRUE(is_bad_status(status));
    }
    for (const int status : {200, 206, 304, 403, 404, 416, 429, 501, 505}) {
        EXPECT_FALSE(is_bad_status(status));
    }
}

// A group as its workers use it.
struct Group {
    explicit Group(std::size_t workers) : balances(workers, initial_tokens(workers)) {}
    std::int64_t sum() const {
        return std::accumulate(balances.begin(), balances.end(), std::int64_t{0});
    }
    void begin(std::size_t worker, std::int64_t in_flight) {
        const std::int32_t most = most_tokens(initial_tokens(balances.size()), in_flight);
        balances[worker] = after_deposit(balances[worker], most);
        ++requests;
    }
    bool retry(std::size_t worker) {
        if (!has_token(sum())) {
            return false;
        }
        balances[worker] = after_retry(balances[worker]);
        ++retries;
        return true;
    }
    void help(std::size_t worker, std::int64_t in_flight) {
        const std::int32_t most = most_tokens(initial_tokens(balances.size()), in_flight);
        balances[worker] = after_help(balances[worker], 1, most);
        --retries;  // the remaining ones did not help
    }

    std::vector<std::int32_t> balances;
    std::int64_t requests = 0;
    std::int64_t retries = 0;
};

TEST(RetryTokensProperty, RetriesThatDoNotHelpAreATenthOfTheRequestsAndTen) {
    for (std::uint32_t seed = 0; seed < 400; ++seed) {
        std::mt19937 random(seed);
        Group group(1 + random() % 64);
        const unsigned helps = random() % 4;  // of four
        for (int i = 0; i < 2000; ++i) {
            // At most 50 in flight in all, spread over the workers at random.
            const std::size_t worker = random() % group.balances.size();
            const auto in_flight = static_cast<std::int64_t>(50 / group.balances.size());
            group.begin(worker, in_flight);
            for (int attempt = 0; attempt < 2 && group.retry(worker); ++attempt) {
                if (random() % 4 < helps) {
                    group.help(worker, in_flight);
                    break;
                }
            }
            ASSERT_LE(group.retries * 10, group.requests + 100) << "seed " << seed;
            ASSERT_LE(group.sum(), kGroupTokens * kToken) << "seed " << seed;
            ASSERT_GE(group.sum(), 0) << "seed " << seed;
        }
    }
}

TEST(RetryTokensProperty, NothingIsRefusedWhileEveryRetryHelps) {
    for (std::uint32_t seed = 0; seed < 400; ++seed) {
        std::mt19937 random(seed);
        Group group(1 + random() % 64);
        std::vector<std::size_t> open;  // workers with a retry in progress
        for (int i = 0; i < 5000; ++i) {
            const std::size_t worker = random() % group.balances.size();
            group.begin(worker, 1);
            if (random() % 2 == 0) {
                ASSERT_TRUE(group.retry(worker)) << "seed " << seed;
                open.push_back(worker);
            }
            // Fewer at once than there are tokens, so their sum with all fractions suffices.
            if (open.size() >= 9) {
                const std::size_t any = random() % open.size();
                group.help(open[any], 1);
                open.erase(open.begin() + static_cast<std::ptrdiff_t>(any));
            }
        }
    }
}

}  // namespace
}  // namespace s3gate::policy
