// Figures of buckets: who gets a place, and who never does.
#include "s3gate/state/bucket_figures.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

namespace s3gate::state {
namespace {

BucketRequest good(std::string_view bucket, std::string_view site = "site") {
    return {.site = site, .bucket = bucket, .status_class = 1, .bytes_in = 2, .bytes_out = 3};
}

TEST(BucketFigures, ABucketThatAnswersWellGetsAPlaceWhileThereAreSome) {
    BucketFigures figures(2, 2);
    BucketRequest missing = good("one-bucket");
    missing.status_class = 3;
    EXPECT_EQ(figures.find(0, missing), nullptr) << "names that are made up take no place";
    ASSERT_NE(figures.find(0, good("one-bucket")), nullptr);
    EXPECT_NE(figures.find(1, missing), nullptr) << "it has its place for every answer";
    EXPECT_NE(figures.find(0, good("one-bucket", "other site")), nullptr);
    EXPECT_EQ(figures.find(0, good("third.bucket")), nullptr);
}

TEST(BucketFigures, WhatCannotBeABucketTakesNoPlace) {
    BucketFigures figures(1, 10);
    for (const std::string& name :
         {std::string(), std::string("ab"), std::string("a%2fb"), std::string("a\"b"),
          std::string("other"), std::string(64, 'a')}) {
        EXPECT_EQ(figures.find(0, good(name)), nullptr) << name;
        EXPECT_FALSE(figures.add("site", name));
    }
    EXPECT_TRUE(figures.add("site", "Old_Bucket.1"));
}

TEST(BucketFigures, TotalsAddTheWorkers) {
    BucketFigures figures(2, 1);
    count(*figures.find(0, good("bucket")), good("bucket"));
    count(*figures.find(1, good("bucket")), good("bucket"));
    const auto totals = figures.totals();
    ASSERT_EQ(totals.size(), 1u);
    EXPECT_EQ(totals[0].bucket, "bucket");
    EXPECT_EQ(totals[0].totals.requests[1], 2u);
    EXPECT_EQ(totals[0].totals.bytes[0], 4u);
    EXPECT_EQ(totals[0].totals.bytes[1], 6u);
}

TEST(BucketFigures, WorkersThatAddTheSameNamesAgree) {
    constexpr std::size_t kWorkers = 4;
    BucketFigures figures(kWorkers, 300);
    std::vector<std::thread> threads;
    for (std::size_t worker = 0; worker < kWorkers; ++worker) {
        threads.emplace_back([&figures, worker] {
            for (int i = 0; i < 500; ++i) {
                const std::string name = "bucket-" + std::to_string(i);
                if (auto* const cells = figures.find(worker, good(name))) {
                    count(*cells, good(name));
                }
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    const auto totals = figures.totals();
    EXPECT_EQ(totals.size(), 300u);
    std::vector<std::string> names;
    for (const auto& bucket : totals) {
        names.push_back(bucket.bucket);
    }
    std::ranges::sort(names);
    EXPECT_EQ(std::ranges::adjacent_find(names), names.end()) << "each name has one place";
}

}  // namespace
}  // namespace s3gate::state
