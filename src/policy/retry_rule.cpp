#include "s3gate/policy/retry_rule.hpp"

namespace s3gate::policy {

namespace {

constexpr int kServiceUnavailable = 503;

bool has_answer(const AttemptFacts& facts) {
    return std::holds_alternative<Answer>(facts.end);
}

bool failed_by(const AttemptFacts& facts, Cause cause) {
    const auto* const failure = std::get_if<Failure>(&facts.end);
    return failure != nullptr && failure->cause == cause;
}

bool is_timeout(Outcome outcome) {
    return outcome == Outcome::timed_out || outcome == Outcome::taken_down;
}

// `retry.on` for attempts that were sent and not answered.
bool is_failure_on(Outcome outcome, const config::RetryOn& on) {
    return is_timeout(outcome) ? on.timeout : on.error;
}

// `retry.on` for row 6; false for any other status.
bool is_status_on(int status, const config::RetryOn& on) {
    return (status == 500 && on.http_500) || (status == 502 && on.http_502) ||
           (status == 504 && on.http_504);
}

bool is_in_time(const AttemptFacts& facts, const config::Retry& retry) {
    return facts.elapsed < retry.max_time;
}

// Ends the request with this attempt: with its answer if there is one, else with ours.
RetryVerdict give_up(const AttemptFacts& facts, int row) {
    return {.action = has_answer(facts) ? RetryAction::relay : RetryAction::fail, .row = row};
}

// True for answers that mean "cannot serve now", as MinIO sends for seconds after a restart. They
// cost a backend almost nothing. Limits on their retries would be spent while no backend serves,
// and requests would fail when the first one does.
bool is_refusal(const AttemptFacts& facts) {
    const auto* const answer = std::get_if<Answer>(&facts.end);
    return answer != nullptr && answer->not_ready;
}

// True for refusals, which end when every backend was tried once, and for attempts whose backend
// died. A death hits all requests in flight there at once, and most would fail under a budget meant
// for bad answers. Row 7 limits these itself: one further backend per request.
bool is_exempt_from_budget(const AttemptFacts& facts, int row) {
    if (is_refusal(facts)) {
        return true;
    }
    const Outcome outcome = outcome_of(facts.end);
    return row == 7 && ((outcome == Outcome::broken && !failed_by(facts, Cause::malformed)) ||
                        outcome == Outcome::taken_down);
}

// The common limits of rows 3, 5, 6 and 7, once the row allows another backend.
RetryVerdict next_if_within_limits(const AttemptFacts& facts, const config::Retry& retry, int row) {
    // An exchange may have waited for a backend that the active checks then took down. `max_time`
    // does not apply: `backend_head` is longer, so the exchange could never be retried.
    const bool is_time_left = failed_by(facts, Cause::went_down) || is_in_time(facts, retry);
    RetryVerdict verdict = give_up(facts, row);
    if (!facts.candidate_left || !is_time_left || facts.sent_attempts >= retry.max_tries) {
        return verdict;
    }
    const bool is_exempt = is_exempt_from_budget(facts, row);
    // Rows 5 and 6, and row 3 with an answer: if every backend answers like this, each such retry
    // adds to the load.
    const bool is_by_status = has_answer(facts) && !is_refusal(facts);
    if ((!is_exempt && !facts.budget_left) || (is_by_status && !facts.token_left)) {
        verdict.budget_spent = true;
        return verdict;
    }
    verdict.action = RetryAction::next_backend;
    verdict.counts_budget = !is_exempt;
    verdict.takes_token = is_by_status;
    verdict.is_blind = !has_answer(facts);
    return verdict;
}

// Row 2: no byte was sent, so any method may be retried; the number of backends limits it.
RetryVerdict after_not_sent(const AttemptFacts& facts, const config::Retry& retry) {
    const bool is_on = failed_by(facts, Cause::connect_timeout) ? retry.on.timeout : retry.on.error;
    if (is_on && facts.candidate_left && is_in_time(facts, retry)) {
        return {.action = RetryAction::next_backend, .row = 2};
    }
    return give_up(facts, 2);
}

// Rows 3, 5 and 6: an answer exists.
RetryVerdict after_answer(const AttemptFacts& facts, const Answer& answer,
                          const config::Retry& retry) {
    const bool is_503 = answer.status == kServiceUnavailable;
    const bool is_unavailable = is_503 && !answer.is_load;
    // Row 3 precedes row 5: it retries a busy node's 503 too, because no byte of the body was sent.
    if (facts.expect_pending && is_503) {
        return retry.on.http_503 ? next_if_within_limits(facts, retry, 3) : give_up(facts, 3);
    }
    // Asking the next node does not help a busy cluster.
    if (is_503 || answer.is_load) {
        const bool may_repeat = facts.in_hand && may_follow_503(facts);
        return is_unavailable && retry.on.http_503 && may_repeat
                   ? next_if_within_limits(facts, retry, 5)
                   : give_up(facts, 5);
    }
    if (answer.status == 500 || answer.status == 502 || answer.status == 504) {
        // `in_hand`: a read whose body is gone cannot be repeated.
        return is_status_on(answer.status, retry.on) && is_read(facts.method) && facts.in_hand
                   ? next_if_within_limits(facts, retry, 6)
                   : give_up(facts, 6);
    }
    return give_up(facts, 0);
}

// Rows 3, 4 and 7: sent and not answered.
RetryVerdict after_silence(const AttemptFacts& facts, const Failure& failure,
                           const config::Retry& retry) {
    const bool is_on = is_failure_on(outcome_of(failure.cause), retry.on);
    // Rows 3 and 7: never a third backend. A request that kills its node must not kill the cluster.
    const bool may_go_blind = is_on && !facts.blind_retry_used;
    if (facts.expect_pending) {
        return may_go_blind ? next_if_within_limits(facts, retry, 3) : give_up(facts, 3);
    }
    const bool is_bare_read = is_read(facts.method) && !facts.has_body;
    // Row 4: the backend closed an idle connection at the moment of its reuse. The backend is
    // healthy, so it keeps the key and no failure counts.
    if (is_stale(failure) && !failure.has_sent_body && is_bare_read && !facts.free_retry_used) {
        return is_on && is_in_time(facts, retry)
                   ? RetryVerdict{.action = RetryAction::same_backend, .row = 4}
                   : give_up(facts, 4);
    }
    // Row 7: whether the request was executed is unknown. A repeated part is written again
    // unchanged. A repeated object may get a second version, so the operator must allow it.
    const bool is_wanted_write =
        retry.unanswered_writes && facts.object_write && !facts.conditional && !facts.copy;
    const bool may_repeat =
        is_bare_read || ((facts.upload_part || is_wanted_write) && facts.in_hand);
    return may_go_blind && may_repeat ? next_if_within_limits(facts, retry, 7) : give_up(facts, 7);
}

// Row 4's fresh connection to the same backend was refused: the backend had died, perhaps because
// of this request. The retry counts as row 7's only one.
RetryVerdict after_death(const AttemptFacts& facts, const Failure& failure,
                         const config::Retry& retry) {
    Failure death = failure;
    death.cause = failure.cause == Cause::connect_timeout ? Cause::no_answer : Cause::closed;
    death.is_reused = false;
    AttemptFacts after = facts;
    after.end = death;
    return after_silence(after, death, retry);
}

}  // namespace

bool may_follow_503(const RequestTraits& request) {
    const bool is_simple_write =
        (request.method == MethodClass::put || request.method == MethodClass::delete_) &&
        !request.conditional && !request.copy;
    return is_read(request.method) || is_simple_write;
}

RetryVerdict retry_rule(const AttemptFacts& facts, const config::Retry& retry) {
    if (facts.client_gone || facts.response_relayed) {
        return {.action = RetryAction::abort, .row = 1};
    }
    if (const auto* const answer = std::get_if<Answer>(&facts.end)) {
        return after_answer(facts, *answer, retry);
    }
    const auto& failure = std::get<Failure>(facts.end);
    if (is_ended_by_client(failure.cause)) {
        return give_up(facts, 1);
    }
    if (outcome_of(failure.cause) != Outcome::not_sent) {
        return after_silence(facts, failure, retry);
    }
    return facts.after_stale ? after_death(facts, failure, retry) : after_not_sent(facts, retry);
}

}  // namespace s3gate::policy
