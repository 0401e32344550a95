// Shared by the scenarios: suites that run once per segmentation, and expectations of a request's
// end.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "stage.hpp"

namespace s3gate::sim {

// Suites derived from it run with whole segments, single bytes and cuts.
class SplitScenario : public testing::TestWithParam<Split> {};

inline std::string split_name(const testing::TestParamInfo<Split>& info) {
    constexpr const char* kNames[] = {"Whole", "Bytes", "Cuts"};
    return kNames[static_cast<int>(info.param)];
}

#define SIM_SPLIT_SUITE(suite)                                                    \
    INSTANTIATE_TEST_SUITE_P(                                                     \
        Segments, suite,                                                          \
        testing::Values(::s3gate::sim::Split::whole, ::s3gate::sim::Split::bytes, \
                        ::s3gate::sim::Split::cuts),                              \
        ::s3gate::sim::split_name)

// Since the last call exactly one request ended, with this status, after attempts at these nodes in
// this order, and with this log line.
inline void expect_record(Stage& stage, int status, std::string_view nodes,
                          std::string_view error = "-") {
    const Record record = stage.record();
    EXPECT_EQ(record.status, status);
    EXPECT_EQ(record.nodes, nodes);
    EXPECT_EQ(record.tries, static_cast<int>(nodes.size()));
    EXPECT_EQ(record.error, error);
}

// The client's last answer is this node's, complete.
inline void expect_from(const ClientPeer& client, char node, std::size_t answers = 1) {
    ASSERT_EQ(client.answers.size(), answers);
    EXPECT_EQ(client.status(), 200);
    EXPECT_TRUE(client.answers.back().message().is_complete());
    EXPECT_EQ(client.body(), std::string("from ") + node);
}

// The client's last answer is the proxy's own.
inline void expect_ours(const ClientPeer& client, int status, std::string_view code) {
    ASSERT_FALSE(client.answers.empty());
    EXPECT_EQ(client.status(), status);
    EXPECT_TRUE(client.answers.back().message().is_complete());
    EXPECT_NE(client.body().find("<Code>" + std::string(code) + "</Code>"), std::string::npos)
        << client.body();
}

// Expects that the condition holds right after `limit` and not before: limits fire up to two ticks
// late, never early.
template <class HasFired>
void expect_fires_after(Stage& stage, milliseconds limit, const HasFired& has_fired) {
    stage.advance(limit - kTick);
    EXPECT_FALSE(has_fired()) << "too early";
    stage.advance(3 * kTick);
    EXPECT_TRUE(has_fired()) << "too late";
}

}  // namespace s3gate::sim
