// The words of an attempt's end in the access log: one for each way to fail, as the manual lists
// them.
#include "s3gate/policy/attempt_end.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace s3gate::policy {
namespace {

TEST(AttemptEnd, EachCauseHasAWordOfItsOwn) {
    std::set<std::string_view> words;
    for (int cause = 0; cause <= static_cast<int>(Cause::client_malformed); ++cause) {
        const std::string_view word = word_of(Failure{.cause = static_cast<Cause>(cause)});
        EXPECT_NE(word, "") << cause;
        EXPECT_EQ(word.find(','), std::string_view::npos) << "commas separate attempts";
        words.insert(word);
    }
    // A client that left ends a connect and a request; a dead connection is a closed one.
    EXPECT_EQ(words.size(), static_cast<std::size_t>(Cause::client_malformed) + 1 - 2);
}

TEST(AttemptEnd, TheWordTellsWhoEndedTheConnection) {
    EXPECT_EQ(word_of(Failure{.cause = Cause::closed}), "closed");
    EXPECT_EQ(word_of(Failure{.cause = Cause::closed, .is_reset = true}), "reset");
    EXPECT_EQ(word_of(Failure{.cause = Cause::closed, .side = Side::network, .is_reset = true}),
              "lost");
    EXPECT_EQ(word_of(Failure{.cause = Cause::closed, .stage = Stage::request, .is_reused = true}),
              "stale");
    EXPECT_EQ(
        word_of(Failure{
            .cause = Cause::closed, .stage = Stage::answer, .is_reused = true, .is_reset = true}),
        "reset")
        << "it has seen the request";
    EXPECT_EQ(word_of(Failure{.cause = Cause::refused, .side = Side::network}), "unreachable");
    EXPECT_EQ(word_of(Failure{.cause = Cause::abandoned, .side = Side::proxy}), "cut");
    EXPECT_EQ(word_of(Failure{.cause = Cause::abandoned, .side = Side::client}), "client left");
}

TEST(AttemptEnd, AnAnswerHasAWordWhereTheBackendFailed) {
    EXPECT_EQ(word_of(Answer{.status = 200}), "");
    EXPECT_EQ(word_of(Answer{.status = 404}), "");
    EXPECT_EQ(word_of(Answer{.status = 500}), "status");
    EXPECT_EQ(word_of(Answer{.status = 429, .is_load = true}), "status");
}

}  // namespace
}  // namespace s3gate::policy
