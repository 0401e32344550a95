// What processes tell each other of what they counted.
#include "process_figures.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

namespace s3gate::control {
namespace {

ProcessFigures some() {
    ProcessFigures out;
    state::ServerTotals& server = out.servers[{"group", "node:9000"}];
    server.attempts[4] = 3;
    server.head.buckets[2] = 5;
    server.head.nanoseconds = 1'000'000'000'000;
    state::SiteTotals& site = out.sites["site"];
    site.requests[state::SiteTotals::request_place(0, 1)] = 7;
    site.retries[state::SiteTotals::retry_place(5, 0)] = 1;
    out.buckets[{"site", "photos"}].requests[1] = 8;
    out.worker_requests = {1, 2};
    out.counters["retries"] = 4;
    out.gauges.in_flight[{"group", "node:9000"}] = 2;
    out.gauges.connections["site"] = 6;
    out.gauges.parked = 1;
    return out;
}

ProcessFigures passed_on(const ProcessFigures& figures) {
    return process_figures_of(boost::json::parse(boost::json::serialize(json_of(figures))));
}

TEST(ProcessFigures, AreReadAsTheyWereWritten) {
    const ProcessFigures read = passed_on(some());
    EXPECT_EQ(read.servers, some().servers);
    EXPECT_EQ(read.sites, some().sites);
    EXPECT_EQ(read.buckets, some().buckets);
    EXPECT_EQ(read.worker_requests, some().worker_requests);
    EXPECT_EQ(read.counters, some().counters);
    EXPECT_EQ(read.gauges.in_flight, some().gauges.in_flight);
    EXPECT_EQ(read.gauges.connections, some().gauges.connections);
    EXPECT_EQ(read.gauges.parked, 1);
}

// Another version has other operations, and lacks some of these lists.
TEST(ProcessFigures, WhatAnotherVersionHasIsReadByItsWords) {
    const ProcessFigures read = process_figures_of(boost::json::parse(
        R"({"sites": [{"name": "s", "requests": {"GetObject 2xx": 2, "NewOperation 2xx": 9}}],
            "servers": [{"group": "g", "server": "n", "attempts": {"5xx": 1}, "odd": 1}]})"));
    EXPECT_EQ(read.sites.at("s").requests[state::SiteTotals::request_place(0, 1)], 2u);
    EXPECT_EQ(read.servers.at({"g", "n"}).attempts[4], 1u);
    EXPECT_ANY_THROW(process_figures_of(boost::json::parse("[]")));
}

TEST(ProcessFigures, AreAddedByName) {
    ProcessFigures sum = some();
    add(sum, some());
    EXPECT_EQ(sum.servers.at({"group", "node:9000"}).attempts[4], 6u);
    EXPECT_EQ(sum.worker_requests, (std::vector<std::uint64_t>{2, 4}));
    EXPECT_EQ(sum.counters.at("retries"), 8u);
    EXPECT_EQ(sum.gauges.in_flight.at({"group", "node:9000"}), 4);
}

TEST(ProcessFigures, ChangesHaveWhatIsNewAndGaugesThatAreGone) {
    const ProcessFigures before = some();
    ProcessFigures now = some();
    now.servers[{"group", "other:9000"}].ups[0] = 1;
    now.gauges.in_flight.clear();
    ProcessFigures change = changes(before, now);
    EXPECT_EQ(change.servers.size(), 1u);
    EXPECT_TRUE(change.sites.empty());
    ProcessFigures there = before;
    take_changes(there, passed_on(change));
    EXPECT_EQ(there.servers, now.servers);
    EXPECT_EQ(there.sites, now.sites);
    EXPECT_TRUE(there.gauges.in_flight.empty());
}

}  // namespace
}  // namespace s3gate::control
