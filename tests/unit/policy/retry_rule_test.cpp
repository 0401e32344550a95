#include "s3gate/policy/retry_rule.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <iterator>
#include <ostream>
#include <random>
#include <vector>

namespace s3gate::policy {

void PrintTo(RetryAction action, std::ostream* out) {
    constexpr const char* kNames[] = {"relay", "next_backend", "same_backend", "fail", "abort"};
    *out << kNames[static_cast<int>(action)];
}

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const config::Retry kRetry;

constexpr MethodClass kMethods[] = {MethodClass::get, MethodClass::head,    MethodClass::options,
                                    MethodClass::put, MethodClass::delete_, MethodClass::other};
constexpr Outcome kSilences[] = {Outcome::broken, Outcome::timed_out, Outcome::taken_down};

// A request and the end of its attempt, as a test describes them.
struct Case : RequestTraits, RetryHistory, RetryMeans {
    Outcome outcome = Outcome::answered;
    int status = 0;
    bool is_load = false;
    bool not_ready = false;
    bool connect_timed_out = false;
    bool malformed = false;
    bool response_byte_seen = false;
    bool reused_connection = false;
    bool body_byte_sent = false;
    bool expect_pending = false;
    bool client_gone = false;
    bool response_relayed = false;

    Cause cause() const {
        switch (outcome) {
            case Outcome::not_sent:
                return connect_timed_out ? Cause::connect_timeout : Cause::refused;
            case Outcome::timed_out:
                return Cause::no_answer;
            case Outcome::taken_down:
                return Cause::went_down;
            default:
                return malformed ? Cause::malformed : Cause::closed;
        }
    }
    operator AttemptFacts() const {
        AttemptFacts facts;
        static_cast<RequestTraits&>(facts) = *this;
        static_cast<RetryHistory&>(facts) = *this;
        static_cast<RetryMeans&>(facts) = *this;
        if (outcome == Outcome::answered) {
            facts.end = Answer{status, is_load, not_ready};
        } else {
            facts.end = Failure{.cause = cause(),
                                .stage = response_byte_seen ? Stage::answer : Stage::request,
                                .is_reused = reused_connection,
                                .has_sent_body = body_byte_sent};
        }
        facts.expect_pending = expect_pending;
        facts.client_gone = client_gone;
        facts.response_relayed = response_relayed;
        return facts;
    }
};

RetryVerdict decide(const Case& facts, const config::Retry& retry = kRetry) {
    return retry_rule(facts, retry);
}

void expect(const Case& facts, RetryAction action, int row, const config::Retry& retry = kRetry) {
    const RetryVerdict verdict = decide(facts, retry);
    EXPECT_EQ(verdict.action, action);
    EXPECT_EQ(verdict.row, row);
    if (action != RetryAction::next_backend) {
        EXPECT_FALSE(verdict.counts_budget);
    }
}

Case answered(MethodClass method, int status) {
    Case facts;
    facts.method = method;
    facts.status = status;
    facts.response_byte_seen = true;
    return facts;
}

Case silent(MethodClass method, Outcome outcome) {
    Case facts;
    facts.method = method;
    facts.outcome = outcome;
    return facts;
}

Case not_sent(MethodClass method) {
    Case facts = silent(method, Outcome::not_sent);
    facts.sent_attempts = 0;
    return facts;
}

Case expecting(MethodClass method, Outcome outcome, int status = 0) {
    Case facts = silent(method, outcome);
    facts.status = status;
    facts.has_body = true;
    facts.in_hand = false;
    facts.expect_pending = true;
    return facts;
}

Case upload_part(Outcome outcome) {
    Case facts = silent(MethodClass::put, outcome);
    facts.has_body = true;
    facts.body_byte_sent = true;
    facts.upload_part = true;
    return facts;
}

// ---- no row -----------------------------------------------------------------------------------

TEST(RetryRule, OrdinaryAnswersAreRelayed) {
    for (const MethodClass method : kMethods) {
        for (const int status : {101, 200, 204, 206, 301, 304, 307, 400, 403, 404, 408, 409, 412,
                                 416, 499, 501, 505, 507, 599}) {
            expect(answered(method, status), RetryAction::relay, 0);
        }
    }
}

// ---- ends -------------------------------------------------------------------------------------

TEST(AttemptEnd, CausesFallUnderTheRowsOfTheirOutcome) {
    for (const Cause cause : {Cause::refused, Cause::connect_timeout, Cause::no_descriptor,
                              Cause::interrupted, Cause::dead}) {
        EXPECT_EQ(outcome_of(cause), Outcome::not_sent);
    }
    for (const Cause cause : {Cause::closed, Cause::malformed, Cause::abandoned,
                              Cause::client_stalled, Cause::client_malformed}) {
        EXPECT_EQ(outcome_of(cause), Outcome::broken);
    }
    EXPECT_EQ(outcome_of(Cause::no_answer), Outcome::timed_out);
    EXPECT_EQ(outcome_of(Cause::stopped_reading), Outcome::timed_out);
    EXPECT_EQ(outcome_of(Cause::went_down), Outcome::taken_down);
    EXPECT_EQ(outcome_of(AttemptEnd{Answer{.status = 500}}), Outcome::answered);
    EXPECT_EQ(outcome_of(AttemptEnd{Failure{.cause = Cause::dead}}), Outcome::not_sent);
}

TEST(AttemptEnd, OnlyASilentCloseOfAReusedConnectionIsStale) {
    const Failure stale{.cause = Cause::closed, .stage = Stage::request, .is_reused = true};
    EXPECT_TRUE(is_stale(stale));
    Failure other = stale;
    other.is_reused = false;
    EXPECT_FALSE(is_stale(other));
    other = stale;
    other.stage = Stage::answer;
    EXPECT_FALSE(is_stale(other));
    other = stale;
    other.cause = Cause::no_answer;
    EXPECT_FALSE(is_stale(other));
}

// ---- row 1 ------------------------------------------------------------------------------------

TEST(RetryRuleRow1, ClientGoneStops) {
    for (const MethodClass method : kMethods) {
        for (const Outcome outcome : {Outcome::answered, Outcome::not_sent, Outcome::broken,
                                      Outcome::timed_out, Outcome::taken_down}) {
            Case facts = silent(method, outcome);
            facts.status = 503;
            facts.client_gone = true;
            expect(facts, RetryAction::abort, 1);
        }
    }
}

TEST(RetryRuleRow1, PartOfAResponseWasRelayed) {
    for (const Outcome outcome : kSilences) {
        Case facts = silent(MethodClass::get, outcome);
        facts.response_relayed = true;
        expect(facts, RetryAction::abort, 1);
    }
}

TEST(RetryRuleRow1, WhatTheClientEndedIsNotRepeated) {
    for (const Cause cause : {Cause::abandoned, Cause::client_stalled, Cause::client_malformed}) {
        for (const Case& like :
             {upload_part(Outcome::broken), silent(MethodClass::get, Outcome::broken),
              expecting(MethodClass::put, Outcome::broken)}) {
            AttemptFacts facts = like;
            std::get<Failure>(facts.end).cause = cause;
            const RetryVerdict verdict = retry_rule(facts, kRetry);
            EXPECT_EQ(verdict.action, RetryAction::fail);
            EXPECT_EQ(verdict.row, 1);
        }
    }
}

// ---- row 2 ------------------------------------------------------------------------------------

TEST(RetryRuleRow2, NothingSentGoesOnWithAnyMethod) {
    for (const MethodClass method : kMethods) {
        Case facts = not_sent(method);
        facts.has_body = true;
        facts.in_hand = false;
        facts.conditional = true;
        facts.copy = true;
        expect(facts, RetryAction::next_backend, 2);
    }
}

TEST(RetryRuleRow2, NeitherTriesNorBudgetLimitIt) {
    Case facts = not_sent(MethodClass::put);
    facts.sent_attempts = 99;
    facts.budget_left = false;
    expect(facts, RetryAction::next_backend, 2);
    EXPECT_FALSE(decide(facts).counts_budget);
    EXPECT_FALSE(decide(facts).budget_spent);
}

TEST(RetryRuleRow2, CandidatesAndTimeLimitIt) {
    Case facts = not_sent(MethodClass::get);
    facts.candidate_left = false;
    expect(facts, RetryAction::fail, 2);
    facts.candidate_left = true;
    facts.elapsed = kRetry.max_time - milliseconds{1};
    expect(facts, RetryAction::next_backend, 2);
    facts.elapsed = kRetry.max_time;
    expect(facts, RetryAction::fail, 2);
}

TEST(RetryRuleRow2, ErrorSwitchesIt) {
    config::Retry retry;
    retry.on.timeout = false;
    expect(not_sent(MethodClass::get), RetryAction::next_backend, 2, retry);
    retry.on = {};
    retry.on.error = false;
    expect(not_sent(MethodClass::get), RetryAction::fail, 2, retry);
}

TEST(RetryRuleRow2, ComesBeforeRow3) {
    Case facts = expecting(MethodClass::put, Outcome::not_sent);
    facts.budget_left = false;
    expect(facts, RetryAction::next_backend, 2);
}

// ---- row 3 ------------------------------------------------------------------------------------

TEST(RetryRuleRow3, ExpectPendingAndFailedGoesOnWithAnyMethod) {
    for (const MethodClass method : kMethods) {
        for (const Outcome outcome : kSilences) {
            Case facts = expecting(method, outcome);
            facts.conditional = true;
            expect(facts, RetryAction::next_backend, 3);
            EXPECT_TRUE(decide(facts).counts_budget);
        }
    }
}

TEST(RetryRuleRow3, ExpectPendingAnd503GoesOnWithAnyMethod) {
    for (const MethodClass method : kMethods) {
        Case facts = expecting(method, Outcome::answered, 503);
        facts.conditional = true;
        expect(facts, RetryAction::next_backend, 3);
        EXPECT_TRUE(decide(facts).counts_budget);
    }
}

// Row 3 precedes row 5: no byte of the body was sent, so a busy node's 503 is retried as well (429
// is not).
TEST(RetryRuleRow3, AnyOther503MovesOnOtherStatusesAreRelayed) {
    Case facts = expecting(MethodClass::put, Outcome::answered, 503);
    facts.is_load = true;
    expect(facts, RetryAction::next_backend, 3);
    facts.status = 429;
    expect(facts, RetryAction::relay, 5);
    expect(expecting(MethodClass::put, Outcome::answered, 500), RetryAction::relay, 6);
    expect(expecting(MethodClass::put, Outcome::answered, 417), RetryAction::relay, 0);
    expect(expecting(MethodClass::put, Outcome::answered, 403), RetryAction::relay, 0);
}

TEST(RetryRuleRow3, NeverAThirdBackendAfterSilence) {
    for (const Outcome outcome : kSilences) {
        Case facts = expecting(MethodClass::put, outcome);
        EXPECT_TRUE(decide(facts).is_blind);
        facts.blind_retry_used = true;
        expect(facts, RetryAction::fail, 3);
    }
    // An answer is no death, so it is retried.
    Case facts = expecting(MethodClass::put, Outcome::answered, 503);
    facts.blind_retry_used = true;
    expect(facts, RetryAction::next_backend, 3);
    EXPECT_FALSE(decide(facts).is_blind);
}

TEST(RetryRuleRow3, OnceABodyByteFlowedItIsOver) {
    Case facts = expecting(MethodClass::put, Outcome::broken);
    facts.expect_pending = false;
    facts.body_byte_sent = true;
    expect(facts, RetryAction::fail, 7);
    facts.outcome = Outcome::answered;
    facts.status = 503;
    expect(facts, RetryAction::relay, 5);
}

TEST(RetryRuleRow3, Switches) {
    config::Retry retry;
    retry.on.http_503 = false;
    expect(expecting(MethodClass::put, Outcome::answered, 503), RetryAction::relay, 3, retry);
    expect(expecting(MethodClass::put, Outcome::broken), RetryAction::next_backend, 3, retry);
    retry.on = {};
    retry.on.error = false;
    expect(expecting(MethodClass::put, Outcome::broken), RetryAction::fail, 3, retry);
    expect(expecting(MethodClass::put, Outcome::timed_out), RetryAction::next_backend, 3, retry);
    expect(expecting(MethodClass::put, Outcome::taken_down), RetryAction::next_backend, 3, retry);
    expect(expecting(MethodClass::put, Outcome::answered, 503), RetryAction::next_backend, 3,
           retry);
    retry.on = {};
    retry.on.timeout = false;
    expect(expecting(MethodClass::put, Outcome::broken), RetryAction::next_backend, 3, retry);
    expect(expecting(MethodClass::put, Outcome::timed_out), RetryAction::fail, 3, retry);
    expect(expecting(MethodClass::put, Outcome::taken_down), RetryAction::fail, 3, retry);
}

TEST(RetryRuleRow3, ComesBeforeRow4) {
    Case facts = expecting(MethodClass::get, Outcome::broken);
    facts.reused_connection = true;
    expect(facts, RetryAction::next_backend, 3);
}

// ---- row 4 ------------------------------------------------------------------------------------

Case dead_reused(MethodClass method) {
    Case facts = silent(method, Outcome::broken);
    facts.reused_connection = true;
    return facts;
}

TEST(RetryRuleRow4, ReadOnADeadReusedConnectionRepeatsForFree) {
    for (const MethodClass method : {MethodClass::get, MethodClass::head, MethodClass::options}) {
        Case facts = dead_reused(method);
        facts.sent_attempts = 99;
        facts.budget_left = false;
        facts.candidate_left = false;
        facts.blind_retry_used = true;
        expect(facts, RetryAction::same_backend, 4);
        EXPECT_FALSE(decide(facts).counts_budget);
        EXPECT_FALSE(decide(facts).budget_spent);
    }
}

TEST(RetryRuleRow4, OnlyOnce) {
    Case facts = dead_reused(MethodClass::get);
    facts.free_retry_used = true;
    expect(facts, RetryAction::next_backend, 7);
}

TEST(RetryRuleRow4, NotOnAFreshConnection) {
    Case facts = dead_reused(MethodClass::get);
    facts.reused_connection = false;
    expect(facts, RetryAction::next_backend, 7);
}

TEST(RetryRuleRow4, NotAfterAResponseByte) {
    Case facts = dead_reused(MethodClass::get);
    facts.response_byte_seen = true;
    expect(facts, RetryAction::next_backend, 7);
}

TEST(RetryRuleRow4, NotWithABody) {
    Case facts = dead_reused(MethodClass::get);
    facts.has_body = true;
    expect(facts, RetryAction::fail, 7);
    facts.has_body = false;
    facts.body_byte_sent = true;
    expect(facts, RetryAction::next_backend, 7);
}

TEST(RetryRuleRow4, NotAfterATimeout) {
    Case facts = dead_reused(MethodClass::get);
    facts.outcome = Outcome::timed_out;
    expect(facts, RetryAction::next_backend, 7);
    facts.outcome = Outcome::taken_down;
    expect(facts, RetryAction::next_backend, 7);
}

TEST(RetryRuleRow4, WritesFallUnderRow7) {
    for (const MethodClass method : {MethodClass::put, MethodClass::delete_, MethodClass::other}) {
        expect(dead_reused(method), RetryAction::fail, 7);
    }
}

TEST(RetryRuleRow4, TimeAndErrorSwitchLimitIt) {
    Case facts = dead_reused(MethodClass::get);
    facts.elapsed = kRetry.max_time;
    expect(facts, RetryAction::fail, 4);
    facts.elapsed = milliseconds{0};
    config::Retry retry;
    retry.on.error = false;
    expect(facts, RetryAction::fail, 4, retry);
}

// The fresh connection of row 4 was refused, so the break before it was a death.
Case refused_after_stale(MethodClass method) {
    Case facts = not_sent(method);
    facts.after_stale = true;
    facts.free_retry_used = true;
    facts.sent_attempts = 1;
    return facts;
}

TEST(RetryRuleRow4, ADeathIsNotStaleness) {
    Case facts = refused_after_stale(MethodClass::get);
    expect(facts, RetryAction::next_backend, 7);
    EXPECT_TRUE(decide(facts).is_blind);
    EXPECT_FALSE(decide(facts).counts_budget);
    facts.blind_retry_used = true;
    expect(facts, RetryAction::fail, 7);
}

TEST(RetryRuleRow4, ADeathCountsAsAnAttempt) {
    Case facts = refused_after_stale(MethodClass::get);
    config::Retry retry;
    retry.max_tries = 1;
    expect(facts, RetryAction::fail, 7, retry);
    retry = {};
    retry.on.error = false;
    expect(facts, RetryAction::fail, 7, retry);
}

TEST(RetryRuleRow4, ADeathThatTheConnectTimeoutTells) {
    Case facts = refused_after_stale(MethodClass::get);
    facts.connect_timed_out = true;
    expect(facts, RetryAction::next_backend, 7);
    config::Retry retry;
    retry.on.timeout = false;
    expect(facts, RetryAction::fail, 7, retry);
}

// ---- row 5 ------------------------------------------------------------------------------------

TEST(RetryRuleRow5, UnavailableGoesOnForReadsAndSimpleWrites) {
    for (const MethodClass method : {MethodClass::get, MethodClass::head, MethodClass::options,
                                     MethodClass::put, MethodClass::delete_}) {
        expect(answered(method, 503), RetryAction::next_backend, 5);
        EXPECT_TRUE(decide(answered(method, 503)).counts_budget);
    }
    expect(answered(MethodClass::other, 503), RetryAction::relay, 5);
}

TEST(RetryRuleRow5, LoadIsRelayedAtOnce) {
    for (const MethodClass method : kMethods) {
        for (const int status : {429, 503}) {
            Case facts = answered(method, status);
            facts.is_load = true;
            expect(facts, RetryAction::relay, 5);
        }
    }
}

TEST(RetryRuleRow5, WritesMustBeInHand) {
    for (const MethodClass method : {MethodClass::put, MethodClass::delete_}) {
        Case facts = answered(method, 503);
        facts.has_body = true;
        facts.body_byte_sent = true;
        expect(facts, RetryAction::next_backend, 5);
        facts.in_hand = false;
        expect(facts, RetryAction::relay, 5);
    }
}

TEST(RetryRuleRow5, ConditionalWritesAndCopiesAreRelayed) {
    for (const MethodClass method : {MethodClass::put, MethodClass::delete_}) {
        Case facts = answered(method, 503);
        facts.conditional = true;
        expect(facts, RetryAction::relay, 5);
        facts.conditional = false;
        facts.copy = true;
        expect(facts, RetryAction::relay, 5);
    }
}

TEST(RetryRuleRow5, ConditionalReadsGoOn) {
    Case facts = answered(MethodClass::get, 503);
    facts.conditional = true;
    expect(facts, RetryAction::next_backend, 5);
}

TEST(RetryRuleRow5, AReadWhoseBodyIsGoneIsRelayed) {
    Case facts = answered(MethodClass::get, 503);
    facts.has_body = true;
    facts.in_hand = false;
    expect(facts, RetryAction::relay, 5);
}

TEST(RetryRuleRow5, Only503SwitchesIt) {
    config::Retry retry;
    retry.on.http_503 = false;
    expect(answered(MethodClass::get, 503), RetryAction::relay, 5, retry);
    retry.on = {false, false, false, false, true, false};
    expect(answered(MethodClass::get, 503), RetryAction::next_backend, 5, retry);
}

// ---- row 6 ------------------------------------------------------------------------------------

TEST(RetryRuleRow6, ServerErrorsGoOnForReadsOnly) {
    for (const int status : {500, 502, 504}) {
        for (const MethodClass method : kMethods) {
            const Case facts = answered(method, status);
            expect(facts, is_read(method) ? RetryAction::next_backend : RetryAction::relay, 6);
            EXPECT_EQ(decide(facts).counts_budget, is_read(method));
        }
    }
}

TEST(RetryRuleRow6, AReadWhoseBodyIsGoneIsRelayed) {
    Case facts = answered(MethodClass::get, 500);
    facts.has_body = true;
    facts.in_hand = false;
    expect(facts, RetryAction::relay, 6);
}

TEST(RetryRuleRow6, EachStatusHasItsSwitch) {
    const auto goes_on = [](const config::RetryOn& on, int status) {
        config::Retry retry;
        retry.on = on;
        return decide(answered(MethodClass::get, status), retry).action ==
               RetryAction::next_backend;
    };
    const config::RetryOn none = {false, false, false, false, false, false};
    for (const int on_status : {500, 502, 504}) {
        config::RetryOn one = none;
        config::RetryOn others;
        (on_status == 500 ? one.http_500 : on_status == 502 ? one.http_502 : one.http_504) = true;
        (on_status == 500   ? others.http_500
         : on_status == 502 ? others.http_502
                            : others.http_504) = false;
        for (const int status : {500, 502, 504}) {
            EXPECT_EQ(goes_on(one, status), status == on_status);
            EXPECT_EQ(goes_on(others, status), status != on_status);
        }
    }
}

// ---- row 7 ------------------------------------------------------------------------------------

TEST(RetryRuleRow7, SilenceGoesOnForReadsWithoutBody) {
    for (const Outcome outcome : kSilences) {
        for (const MethodClass method :
             {MethodClass::get, MethodClass::head, MethodClass::options}) {
            expect(silent(method, outcome), RetryAction::next_backend, 7);
            EXPECT_EQ(decide(silent(method, outcome)).counts_budget, outcome == Outcome::timed_out);
            Case with_body = silent(method, outcome);
            with_body.has_body = true;
            expect(with_body, RetryAction::fail, 7);
        }
    }
}

TEST(RetryRuleRow7, SilenceGoesOnForUploadPartInHand) {
    for (const Outcome outcome : kSilences) {
        Case facts = upload_part(outcome);
        expect(facts, RetryAction::next_backend, 7);
        facts.in_hand = false;
        expect(facts, RetryAction::fail, 7);
    }
}

TEST(RetryRuleRow7, OtherWritesAreLeftToTheClient) {
    for (const Outcome outcome : kSilences) {
        for (const MethodClass method :
             {MethodClass::put, MethodClass::delete_, MethodClass::other}) {
            expect(silent(method, outcome), RetryAction::fail, 7);
        }
    }
}

TEST(RetryRuleRow7, ObjectWritesGoOnWhereThatIsWanted) {
    config::Retry wanted;
    wanted.unanswered_writes = true;
    for (const Outcome outcome : kSilences) {
        for (const MethodClass method : {MethodClass::put, MethodClass::delete_}) {
            Case facts = silent(method, outcome);
            facts.object_write = true;
            expect(facts, RetryAction::fail, 7);
            expect(facts, RetryAction::next_backend, 7, wanted);
            Case again = facts;
            again.blind_retry_used = true;
            expect(again, RetryAction::fail, 7, wanted);
            Case gone = facts;
            gone.has_body = true;
            gone.in_hand = false;
            expect(gone, RetryAction::fail, 7, wanted);
            Case conditional = facts;
            conditional.conditional = true;
            expect(conditional, RetryAction::fail, 7, wanted);
            Case copy = facts;
            copy.copy = true;
            expect(copy, RetryAction::fail, 7, wanted);
        }
        // All other requests stay with the client: a POST, a bucket, a subresource.
        expect(silent(MethodClass::other, outcome), RetryAction::fail, 7, wanted);
        expect(silent(MethodClass::put, outcome), RetryAction::fail, 7, wanted);
    }
}

TEST(RetryRuleRow7, NeverAThirdBackend) {
    for (const Outcome outcome : kSilences) {
        Case read = silent(MethodClass::get, outcome);
        read.blind_retry_used = true;
        expect(read, RetryAction::fail, 7);
        Case part = upload_part(outcome);
        part.blind_retry_used = true;
        expect(part, RetryAction::fail, 7);
    }
}

TEST(RetryRuleRow7, TakenDownIsExemptFromMaxTime) {
    Case facts = silent(MethodClass::get, Outcome::taken_down);
    facts.elapsed = seconds{250};
    expect(facts, RetryAction::next_backend, 7);
    facts = upload_part(Outcome::taken_down);
    facts.elapsed = seconds{250};
    expect(facts, RetryAction::next_backend, 7);
    facts = expecting(MethodClass::put, Outcome::taken_down);
    facts.elapsed = seconds{250};
    expect(facts, RetryAction::next_backend, 3);
    facts = silent(MethodClass::get, Outcome::timed_out);
    facts.elapsed = seconds{250};
    expect(facts, RetryAction::fail, 7);
}

TEST(RetryRuleRow7, Switches) {
    config::Retry retry;
    retry.on.error = false;
    expect(silent(MethodClass::get, Outcome::broken), RetryAction::fail, 7, retry);
    expect(silent(MethodClass::get, Outcome::timed_out), RetryAction::next_backend, 7, retry);
    expect(silent(MethodClass::get, Outcome::taken_down), RetryAction::next_backend, 7, retry);
    retry.on = {};
    retry.on.timeout = false;
    expect(silent(MethodClass::get, Outcome::broken), RetryAction::next_backend, 7, retry);
    expect(silent(MethodClass::get, Outcome::timed_out), RetryAction::fail, 7, retry);
    expect(silent(MethodClass::get, Outcome::taken_down), RetryAction::fail, 7, retry);
}

// ---- the limits that rows 3, 5, 6 and 7 share ---------------------------------------------------

struct Limited {
    Case facts;
    RetryAction otherwise;
};

std::vector<Limited> limited_rows() {
    return {{expecting(MethodClass::put, Outcome::broken), RetryAction::fail},
            {expecting(MethodClass::put, Outcome::answered, 503), RetryAction::relay},
            {answered(MethodClass::get, 503), RetryAction::relay},
            {answered(MethodClass::delete_, 503), RetryAction::relay},
            {answered(MethodClass::get, 500), RetryAction::relay},
            {silent(MethodClass::get, Outcome::broken), RetryAction::fail},
            {upload_part(Outcome::timed_out), RetryAction::fail}};
}

TEST(RetryRuleLimits, MaxTries) {
    for (auto [facts, otherwise] : limited_rows()) {
        facts.sent_attempts = 2;
        EXPECT_EQ(decide(facts).action, RetryAction::next_backend);
        facts.sent_attempts = 3;
        EXPECT_EQ(decide(facts).action, otherwise);
        EXPECT_FALSE(decide(facts).counts_budget);
        config::Retry once;
        once.max_tries = 1;
        facts.sent_attempts = 1;
        EXPECT_EQ(decide(facts, once).action, otherwise);
    }
}

TEST(RetryRuleLimits, MaxTime) {
    for (auto [facts, otherwise] : limited_rows()) {
        facts.elapsed = kRetry.max_time - milliseconds{1};
        EXPECT_EQ(decide(facts).action, RetryAction::next_backend);
        facts.elapsed = kRetry.max_time;
        EXPECT_EQ(decide(facts).action, otherwise);
    }
}

TEST(RetryRuleLimits, Candidates) {
    for (auto [facts, otherwise] : limited_rows()) {
        facts.candidate_left = false;
        EXPECT_EQ(decide(facts).action, otherwise);
    }
}

// The end of a backend fails all its requests at once: their retries must not depend on a budget.
TEST(RetryRuleLimits, ABackendThatWentAwayNeedsNoBudget) {
    for (const Outcome outcome : {Outcome::broken, Outcome::taken_down}) {
        for (Case facts : {silent(MethodClass::get, outcome), upload_part(outcome)}) {
            facts.budget_left = false;
            expect(facts, RetryAction::next_backend, 7);
            EXPECT_FALSE(decide(facts).counts_budget);
            EXPECT_FALSE(decide(facts).budget_spent);
        }
    }
}

TEST(RetryRuleLimits, NonsenseIsNoDeathAndNeedsTheBudget) {
    Case facts = silent(MethodClass::get, Outcome::broken);
    facts.malformed = true;
    EXPECT_TRUE(decide(facts).counts_budget);
    facts.budget_left = false;
    expect(facts, RetryAction::fail, 7);
    EXPECT_TRUE(decide(facts).budget_spent);
}

TEST(RetryRuleRow2, AConnectTimeoutIsSwitchedByTimeout) {
    Case facts;
    facts.outcome = Outcome::not_sent;
    facts.connect_timed_out = true;
    config::Retry retry;
    retry.on.error = false;
    expect(facts, RetryAction::next_backend, 2, retry);
    retry.on.error = true;
    retry.on.timeout = false;
    expect(facts, RetryAction::fail, 2, retry);
    facts.connect_timed_out = false;
    expect(facts, RetryAction::next_backend, 2, retry);
}

TEST(RetryRuleLimits, SpentBudgetPassesThroughAndIsCounted) {
    for (auto [facts, otherwise] : limited_rows()) {
        if (decide(facts).row == 7 && facts.outcome != Outcome::timed_out) {
            continue;
        }
        EXPECT_FALSE(decide(facts).budget_spent);
        facts.budget_left = false;
        EXPECT_EQ(decide(facts).action, otherwise);
        EXPECT_TRUE(decide(facts).budget_spent);
        EXPECT_FALSE(decide(facts).counts_budget);
    }
}

TEST(RetryRuleLimits, SpentIsCountedOnlyWhereARetryWasDue) {
    for (auto [facts, otherwise] : limited_rows()) {
        facts.budget_left = false;
        Case other = facts;
        other.sent_attempts = 3;
        EXPECT_FALSE(decide(other).budget_spent);
        other = facts;
        other.candidate_left = false;
        EXPECT_FALSE(decide(other).budget_spent);
        other = facts;
        other.elapsed = kRetry.max_time;
        EXPECT_FALSE(decide(other).budget_spent);
    }
    Case write = answered(MethodClass::put, 500);
    write.budget_left = false;
    EXPECT_FALSE(decide(write).budget_spent);
}

// Rows 3, 5 and 6 with an answer: if all backends answer badly, each retry adds a request to a sick
// cluster.
TEST(RetryRuleLimits, RetriesThatAStatusCausesNeedAToken) {
    for (auto [facts, otherwise] : limited_rows()) {
        const bool is_by_status = facts.outcome == Outcome::answered;
        EXPECT_EQ(decide(facts).takes_token, is_by_status);
        facts.token_left = false;
        EXPECT_EQ(decide(facts).action, is_by_status ? otherwise : RetryAction::next_backend);
        EXPECT_EQ(decide(facts).budget_spent, is_by_status);
        EXPECT_FALSE(decide(facts).takes_token);
    }
}

// The backend says that it cannot serve now. The limits for other answers do not apply: the next
// backend is tried as long as there is one and max_time lasts.
TEST(RetryRuleLimits, ARefusalIsBoundByTimeAndCandidatesOnly) {
    for (const MethodClass method : {MethodClass::get, MethodClass::put, MethodClass::delete_}) {
        Case facts = answered(method, 503);
        facts.not_ready = true;
        facts.sent_attempts = 0;
        facts.budget_left = facts.token_left = false;
        const RetryVerdict verdict = decide(facts);
        EXPECT_EQ(verdict.action, RetryAction::next_backend);
        EXPECT_EQ(verdict.row, 5);
        EXPECT_FALSE(verdict.counts_budget || verdict.takes_token || verdict.budget_spent ||
                     verdict.is_blind);
        Case late = facts;
        late.elapsed = kRetry.max_time;
        expect(late, RetryAction::relay, 5);
        Case alone = facts;
        alone.candidate_left = false;
        expect(alone, RetryAction::relay, 5);
        // Attempts that may have been executed still count.
        Case tried = facts;
        tried.sent_attempts = kRetry.max_tries;
        expect(tried, RetryAction::relay, 5);
    }
    Case conditional = answered(MethodClass::put, 503);
    conditional.not_ready = conditional.conditional = true;
    expect(conditional, RetryAction::relay, 5);
}

TEST(RetryBudget, AFifthAtLeastThree) {
    EXPECT_EQ(retry_budget(0), 3);
    EXPECT_EQ(retry_budget(0, 10), 10);
    EXPECT_EQ(retry_budget(54, 10), 10);
    EXPECT_EQ(retry_budget(55, 10), 11);
    EXPECT_EQ(retry_budget(19), 3);
    EXPECT_EQ(retry_budget(20), 4);
    EXPECT_EQ(retry_budget(1000), 200);
}

// ---- properties -------------------------------------------------------------------------------

constexpr std::uint32_t kSeeds = 400;

// Any combination that an attempt can end with.
Case random_facts(std::mt19937& random) {
    const auto coin = [&] { return random() % 2 == 0; };
    Case facts;
    facts.method = kMethods[random() % std::size(kMethods)];
    facts.outcome = static_cast<Outcome>(random() % 5);
    constexpr int kStatuses[] = {200, 404, 429, 500, 502, 503, 503, 504};
    facts.status = kStatuses[random() % std::size(kStatuses)];
    facts.is_load = facts.status == 429 || (facts.status == 503 && random() % 4 == 0);
    facts.not_ready = facts.status == 503 && !facts.is_load && random() % 4 == 0;
    facts.client_gone = random() % 16 == 0;
    facts.response_relayed = random() % 16 == 0;
    facts.response_byte_seen = facts.outcome == Outcome::answered || coin();
    facts.reused_connection = coin();
    facts.has_body = !is_read(facts.method) ? coin() : random() % 8 == 0;
    facts.body_byte_sent = facts.has_body && facts.outcome != Outcome::not_sent && coin();
    facts.expect_pending = facts.has_body && !facts.body_byte_sent && coin();
    facts.in_hand = !facts.has_body || coin();
    facts.copy = !is_read(facts.method) && random() % 4 == 0;
    facts.upload_part = facts.method == MethodClass::put && facts.has_body && !facts.copy && coin();
    facts.conditional = random() % 4 == 0;
    facts.sent_attempts = static_cast<unsigned>(random() % 5);
    facts.object_write =
        (facts.method == MethodClass::put || facts.method == MethodClass::delete_) && coin();
    facts.free_retry_used = coin();
    facts.blind_retry_used = coin();
    facts.elapsed = milliseconds{static_cast<int>(random() % 40000)};
    facts.budget_left = random() % 4 != 0;
    facts.token_left = random() % 4 != 0;
    facts.candidate_left = random() % 4 != 0;
    return facts;
}

config::Retry random_rule(std::mt19937& random) {
    const auto coin = [&] { return random() % 4 != 0; };
    config::Retry retry;
    retry.on = {coin(), coin(), coin(), coin(), coin(), coin()};
    retry.max_tries = static_cast<unsigned>(1 + random() % 4);
    retry.unanswered_writes = !coin();
    return retry;
}

template <class Check>
void for_random_cases(const Check& check) {
    for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
        std::mt19937 random(seed);
        for (int i = 0; i < 100; ++i) {
            SCOPED_TRACE(testing::Message() << "seed " << seed << " case " << i);
            const config::Retry retry = random_rule(random);
            const Case facts = random_facts(random);
            check(facts, retry, retry_rule(facts, retry));
            if (testing::Test::HasFailure()) {
                return;
            }
        }
    }
}

bool is_refusal(const Case& facts) {
    return facts.outcome == Outcome::answered && facts.not_ready;
}

TEST(RetryRuleProperty, AWriteThatWasSentIsRepeatedByThreeRowsOnly) {
    for_random_cases([](const auto& facts, const auto& retry, const auto& verdict) {
        if (is_read(facts.method) || facts.outcome == Outcome::not_sent || !is_retry(verdict)) {
            return;
        }
        if (verdict.row == 3) {
            EXPECT_TRUE(facts.expect_pending && !facts.body_byte_sent);
        } else if (verdict.row == 5) {
            EXPECT_TRUE(facts.in_hand && !facts.conditional && !facts.copy && facts.status == 503 &&
                        facts.outcome == Outcome::answered);
        } else {
            EXPECT_EQ(verdict.row, 7);
            const bool is_wanted =
                retry.unanswered_writes && facts.object_write && !facts.conditional && !facts.copy;
            EXPECT_TRUE((facts.upload_part || is_wanted) && facts.in_hand);
        }
    });
}

TEST(RetryRuleProperty, NoRetryOnceSomethingWasRelayedOrTheClientLeft) {
    for_random_cases([](const auto& facts, const auto&, const auto& verdict) {
        EXPECT_EQ(verdict.action == RetryAction::abort,
                  facts.client_gone || facts.response_relayed);
    });
}

TEST(RetryRuleProperty, ABodyThatIsGoneIsNeverNeededAgain) {
    for_random_cases([](const auto& facts, const auto&, const auto& verdict) {
        if (is_retry(verdict) && !facts.in_hand) {
            EXPECT_FALSE(facts.body_byte_sent);
            EXPECT_TRUE(verdict.row == 2 || verdict.row == 3);
        }
    });
}

TEST(RetryRuleProperty, ActionFitsTheOutcome) {
    for_random_cases([](const auto& facts, const auto&, const auto& verdict) {
        if (verdict.action == RetryAction::relay) {
            EXPECT_EQ(facts.outcome, Outcome::answered);
        }
        if (verdict.action == RetryAction::fail) {
            EXPECT_NE(facts.outcome, Outcome::answered);
        }
        EXPECT_TRUE(!is_retry(verdict) || facts.outcome != Outcome::answered ||
                    facts.status >= 500);
    });
}

TEST(RetryRuleProperty, LoadIsRepeatedOnlyWhileTheClientHoldsTheBody) {
    for_random_cases([](const auto& facts, const auto&, const auto& verdict) {
        EXPECT_FALSE(facts.outcome == Outcome::answered && facts.is_load && is_retry(verdict) &&
                     verdict.row != 3);
    });
}

TEST(RetryRuleProperty, LimitsHold) {
    for_random_cases([](const auto& facts, const auto& retry, const auto& verdict) {
        const bool next = verdict.action == RetryAction::next_backend;
        EXPECT_EQ(verdict.action == RetryAction::same_backend,
                  is_retry(verdict) && verdict.row == 4);
        const bool exempt = verdict.row == 2 || is_refusal(facts) ||
                            (verdict.row == 7 && facts.outcome != Outcome::timed_out);
        EXPECT_EQ(verdict.counts_budget, next && !exempt);
        EXPECT_TRUE(!next || facts.candidate_left);
        EXPECT_TRUE(!verdict.counts_budget ||
                    (facts.budget_left && facts.sent_attempts < retry.max_tries));
        EXPECT_TRUE(!is_retry(verdict) || facts.elapsed < retry.max_time ||
                    facts.outcome == Outcome::taken_down);
        EXPECT_TRUE(!verdict.budget_spent ||
                    ((!facts.budget_left || !facts.token_left) && !is_retry(verdict)));
        EXPECT_EQ(verdict.takes_token,
                  next && facts.outcome == Outcome::answered && !is_refusal(facts));
        EXPECT_TRUE(!verdict.takes_token || facts.token_left);
        EXPECT_TRUE(!is_retry(verdict) || verdict.row != 7 || !facts.blind_retry_used);
        EXPECT_TRUE(!is_retry(verdict) || verdict.row != 4 || !facts.free_retry_used);
    });
}

// A spent budget turns a retry into an answer and changes nothing else.
TEST(RetryRuleProperty, BudgetDecidesOnlyWhetherTheRetryHappens) {
    for_random_cases([](const auto& facts, const auto& retry, const auto&) {
        Case with = facts;
        with.budget_left = with.token_left = true;
        Case without = with;
        without.budget_left = false;
        const RetryVerdict a = retry_rule(with, retry);
        const RetryVerdict b = retry_rule(without, retry);
        EXPECT_EQ(a.counts_budget, b.budget_spent);
        EXPECT_EQ(a.row, b.row);
        EXPECT_TRUE(a.counts_budget || a.action == b.action);
    });
}

// Whole requests: each verdict leads to the next attempt, as in an exchange, until one ends the
// request.
TEST(RetryRuleProperty, EveryRequestEnds) {
    for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
        std::mt19937 random(seed);
        const config::Retry retry = random_rule(random);
        const Case request = random_facts(random);
        auto untried = static_cast<unsigned>(1 + random() % 8);  // besides the current one
        unsigned sent = 0;
        unsigned not_sent_retries = 0;
        unsigned blind = 0;
        unsigned free = 0;
        unsigned attempts = 0;
        bool after_stale = false;
        for (bool done = false; !done;) {
            ASSERT_LE(++attempts, 10u + 1) << seed;
            Case facts = random_facts(random);
            facts.method = request.method;
            facts.has_body = request.has_body;
            facts.upload_part = request.upload_part;
            facts.body_byte_sent = facts.body_byte_sent && request.has_body;
            facts.expect_pending = facts.expect_pending && request.has_body;
            facts.client_gone = facts.response_relayed = false;
            facts.elapsed = milliseconds{0};
            facts.free_retry_used = free > 0;
            facts.after_stale = after_stale;
            facts.blind_retry_used = blind > 0;
            facts.candidate_left = untried > 0;
            sent += (facts.outcome != Outcome::not_sent && !is_refusal(facts)) || after_stale;
            facts.sent_attempts = sent;
            const RetryVerdict verdict = retry_rule(facts, retry);
            after_stale = verdict.action == RetryAction::same_backend;
            EXPECT_EQ(
                verdict.is_blind,
                verdict.action == RetryAction::next_backend &&
                    (verdict.row == 7 || (verdict.row == 3 && facts.outcome != Outcome::answered)));
            if (verdict.action == RetryAction::next_backend) {
                --untried;
                blind += verdict.is_blind;
                not_sent_retries += verdict.row == 2;
            } else if (verdict.action == RetryAction::same_backend) {
                ++free;
                --sent;  // free
            } else {
                done = true;
            }
        }
        EXPECT_LE(sent, retry.max_tries + not_sent_retries) << seed;
        EXPECT_LE(blind, 1u) << seed;
        EXPECT_LE(free, 1u) << seed;
    }
}

}  // namespace
}  // namespace s3gate::policy
