// How the end of an attempt counts for its server.
#include "s3gate/policy/attempt_class.hpp"

#include <gtest/gtest.h>

namespace s3gate::policy {
namespace {

TEST(AttemptClass, AnAnswerCountsByTheClassOfItsStatus) {
    EXPECT_EQ(class_of(Answer{.status = 101}), AttemptClass::informational);
    EXPECT_EQ(class_of(Answer{.status = 200}), AttemptClass::success);
    EXPECT_EQ(class_of(Answer{.status = 304}), AttemptClass::redirection);
    EXPECT_EQ(class_of(Answer{.status = 499}), AttemptClass::client_error);
    EXPECT_EQ(class_of(Answer{.status = 503}), AttemptClass::server_error);
    EXPECT_EQ(class_of(Answer{.status = 999}), AttemptClass::server_error);
}

TEST(AttemptClass, AFailureOfTheServerIsBrokenOrUnsent) {
    for (const Cause cause : {Cause::closed, Cause::malformed, Cause::no_answer,
                              Cause::stopped_reading, Cause::went_down}) {
        EXPECT_EQ(class_of(Failure{.cause = cause}), AttemptClass::broken);
    }
    EXPECT_EQ(class_of(Failure{.cause = Cause::refused}), AttemptClass::unsent);
    EXPECT_EQ(class_of(Failure{.cause = Cause::connect_timeout, .side = Side::network}),
              AttemptClass::unsent);
}

// Nobody may blame a server for these.
TEST(AttemptClass, WhatTheClientOrThisProxyEndedIsGivenUp) {
    EXPECT_EQ(class_of(Failure{.cause = Cause::no_descriptor, .side = Side::proxy}),
              AttemptClass::given_up);
    EXPECT_EQ(class_of(Failure{.cause = Cause::closed, .side = Side::client}),
              AttemptClass::given_up);
    for (const Cause cause :
         {Cause::interrupted, Cause::abandoned, Cause::client_stalled, Cause::client_malformed}) {
        EXPECT_EQ(class_of(Failure{.cause = cause}), AttemptClass::given_up);
    }
}

TEST(AttemptClass, AKeptConnectionThatHadEndedIsStale) {
    EXPECT_EQ(class_of(Failure{.cause = Cause::closed, .stage = Stage::request, .is_reused = true}),
              AttemptClass::stale);
    EXPECT_EQ(class_of(Failure{.cause = Cause::closed, .stage = Stage::answer, .is_reused = true}),
              AttemptClass::broken);
}

}  // namespace
}  // namespace s3gate::policy
