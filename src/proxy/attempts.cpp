#include "attempts.hpp"

#include <algorithm>
#include <utility>

#include "response.hpp"
#include "s3gate/policy/retry_tokens.hpp"

namespace s3gate::proxy {

using policy::Cause;
using policy::Failure;
using policy::Outcome;
using policy::RetryAction;
using state::ServerFault;

template <class Change>
void Attempts::change_tokens(const Change& change) {
    state::Board& board = *context_.worker.shared.board;
    const std::size_t worker = context_.worker.index;
    const std::uint32_t group = context_.group().cell;
    board.set_retry_tokens(worker, group, change(board.retry_tokens(worker, group)));
}

Attempts::Attempts(ExchangeContext& context, Request& request, Response& response, Memory& memory)
    : context_(context),
      request_(request),
      response_(response),
      memory_(memory),
      began_(context.worker.reactor.now_point()),
      request_hold_(context.worker, context.group().cell),
      choice_(context.worker, context.group(), context.group_state(), request, memory.selection) {
    // Each client request pays in a part of a token (policy/retry_tokens).
    change_tokens(
        [this](std::int32_t balance) { return policy::after_deposit(balance, most_tokens()); });
}

net::task<Attempts::End> Attempts::run() {
    for (;;) {
        if (context_.is_abandoned()) {
            co_return End::abandoned;
        }
        Pick pick = repeats_backend_ ? Pick::found : choice_.pick(sent());
        if (pick == Pick::full) {
            pick = co_await wait_for_room();
        }
        if (pick == Pick::gone) {
            continue;
        }
        if (pick != Pick::found) {
            co_return end_without_backend(pick);
        }
        begin_attempt();
        const policy::AttemptEnd end = co_await attempt_->run();
        note_time();
        note(end);
        const policy::RetryVerdict verdict = decide(end);
        if (verdict.action == RetryAction::relay) {
            co_return std::get<policy::Answer>(end).status == 101 ? End::switching : End::answered;
        }
        if (attempt_->is_uploading()) {
            co_await attempt_->end_upload();
        }
        if (!is_retry(verdict)) {
            drop_current();
            co_return verdict.action == RetryAction::abort ? End::abandoned : End::failed;
        }
        if (repeats_backend_) {
            choice_.room() = attempt_->take_room();
        }
        drop_current();
    }
}

net::task<Pick> Attempts::wait_for_room() {
    stage_ = policy::Stage::queue;
    waiter_.emplace(context_, choice_, sent());
    const Pick pick = co_await waiter_->wait();
    waiter_.reset();
    co_return pick;
}

Attempts::End Attempts::end_without_backend(Pick pick) {
    state::WorkerCounters& counters = context_.worker.counters;
    switch (pick) {
        case Pick::timed_out:
            state::bump(counters.queue_timeouts);
            return End::queue_timeout;
        case Pick::overflow:
            state::bump(counters.queue_full);
            return End::queue_full;
        default:
            state::bump(counters.no_backend);
            if (context_.record.error.empty()) {
                context_.record.error = "no backend available";
            }
            return End::failed;
    }
}

LocalAnswer Attempts::own_answer(End end) const {
    switch (end) {
        case End::queue_timeout:
            return kQueueTimeout;
        case End::queue_full:
            return kQueueFull;
        default:
            return answer_to_failure(decisive_ ? &*decisive_ : nullptr, is_all_out());
    }
}

// True if the operator took every server out.
bool Attempts::is_all_out() const {
    return !context_.group().peers.empty() &&
           std::ranges::all_of(context_.group().peers, [this](const state::Peer& peer) {
               return state::is_out(*context_.worker.shared.board, peer);
           });
}

inline void Attempts::begin_attempt() {
    const state::Peer& peer = choice_.peer();
    context_.record.begin_attempt(context_.group().servers[peer.server].config->text,
                                  peer.address_text);
    attempt_.emplace(context_, request_, response_, memory_.attempt, choice_.peer(),
                     std::move(choice_.room()),
                     needs_fresh_ ? Attempt::Connection::fresh : Attempt::Connection::any);
}

inline void Attempts::note(const policy::AttemptEnd& end) {
    if (const auto* const answer = std::get_if<policy::Answer>(&end)) {
        observe::AttemptRecord& attempt = context_.record.attempt();
        attempt.status = static_cast<std::uint16_t>(answer->status);
        attempt.error = word_of(*answer);
        attempt_->count_as(policy::class_of(*answer));
        if (answer->is_load) {
            attempt_->count_load(answer->status);
        }
        ++sent_;
        refused_ += answer->not_ready ? 1 : 0;
        if (answer->is_well) {
            choice_.note_success();
        }
        if (answer->not_ready) {
            choice_.admit_recovering();
        }
        return;
    }
    note_failure(std::get<Failure>(end));
}

void Attempts::note_failure(const Failure& failure) {
    count(failure);
    stage_ = failure.stage;
    context_.record.attempt().error = policy::word_of(failure);
    attempt_->count_as(policy::class_of(failure));
    if (!failure.error.empty()) {
        context_.record.error = failure.error;
    }
    if (failure.cause == Cause::abandoned) {
        context_.set_abandoned();
    }
    if (counts_as_fail(failure)) {
        choice_.note_failure();
    }
    const bool is_sent = policy::outcome_of(failure.cause) != Outcome::not_sent;
    const bool was_sent = decisive_ && policy::outcome_of(decisive_->cause) != Outcome::not_sent;
    // The backend of row 4's fresh connection has died: the attempt before, which was free, counts
    // now.
    const bool is_death = repeats_backend_ && failure.cause != Cause::no_descriptor;
    sent_ += is_sent || is_death ? 1 : 0;
    if (is_sent && policy::is_stale(failure) && request_.is_read() && !failure.has_sent_body) {
        // A read on a stale connection was not seen by the backend, so it leaves no failure.
        decisive_.reset();
    } else if (is_sent || !was_sent || request_.is_read()) {
        // A read may be repeated once a backend is available, so the client gets 503, not 502. A
        // write that was sent may have been executed.
        decisive_ = failure;
    }
}

// Of the process, and of the server.
void Attempts::count(ServerFault fault) {
    state::bump(context_.worker.counters.*
                state::kServerFaultCounters[static_cast<std::size_t>(fault)]);
    attempt_->count_fault(fault);
}

// The counters of the process are in Response::note_broken(), which needs no attempt.
void Attempts::note_relayed(net::RelayEnd end) {
    if (!net::is_end_of_source(end)) {
        return;
    }
    attempt_->count_as(policy::AttemptClass::broken);
    attempt_->count_fault(end == net::RelayEnd::source_closed      ? ServerFault::cut
                          : end == net::RelayEnd::source_timed_out ? ServerFault::body_timeout
                                                                   : ServerFault::malformed);
}

void Attempts::count(const Failure& failure) {
    state::WorkerCounters& counters = context_.worker.counters;
    switch (failure.cause) {
        case Cause::refused:
            count(ServerFault::refused);
            break;
        case Cause::connect_timeout:
            count(ServerFault::connect_timeout);
            break;
        case Cause::no_descriptor:
            state::bump(counters.connects_lacking);
            break;
        case Cause::dead:
        case Cause::closed:
            if (policy::is_stale(failure)) {
                state::bump(counters.backend_stale);
            } else {
                count(ServerFault::broken);
            }
            break;
        case Cause::malformed:
            count(ServerFault::malformed);
            break;
        case Cause::no_answer:
            count(ServerFault::head_timeout);
            break;
        case Cause::stopped_reading:
            count(ServerFault::write_timeout);
            break;
        case Cause::went_down:
            count(ServerFault::taken_down);
            break;
        case Cause::client_stalled:
            state::bump(counters.client_body_timeouts);
            break;
        case Cause::client_malformed:
            state::bump(counters.refused_requests);
            break;
        case Cause::interrupted:
        case Cause::abandoned:
            break;  // settle() counts clients that left
    }
}

// docs/architecture.md, "Passive marks". Pages of a plain site come from the server itself: there,
// timeouts and malformed answers count as well.
bool Attempts::counts_as_fail(const Failure& failure) const {
    switch (failure.cause) {
        case Cause::refused:
        case Cause::connect_timeout:
            return true;
        case Cause::dead:
        case Cause::closed:
            return !policy::is_stale(failure) && failure.side != policy::Side::client;
        case Cause::malformed:
        case Cause::no_answer:
        case Cause::stopped_reading:
            return !context_.is_s3();
        default:
            return false;
    }
}

inline policy::RetryVerdict Attempts::decide(const policy::AttemptEnd& end) {
    const auto* const failure = std::get_if<Failure>(&end);
    const policy::RetryHistory history{
        .sent_attempts = sent_ - refused_,
        // If we lacked descriptors, it is unknown whether the backend had died.
        .after_stale =
            repeats_backend_ && (failure == nullptr || failure->cause != Cause::no_descriptor),
        .free_retry_used = was_repeat_used_,
        .blind_retry_used = was_blind_used_,
        .elapsed = context_.since(began_),
    };
    const policy::AttemptFacts facts{request_.traits(),
                                     history,
                                     means_after(end),
                                     end,
                                     attempt_->is_expect_pending(),
                                     context_.is_abandoned(),
                                     response_.is_committed()};
    const policy::RetryVerdict verdict = policy::retry_rule(facts, *context_.group().retry);
    if (verdict.budget_spent) {
        state::bump(context_.worker.counters.budget_spent);
    }
    repeats_backend_ = verdict.action == RetryAction::same_backend;
    if (policy::is_retry(verdict)) {
        take_retry(verdict);
    }
    return verdict;
}

// An answer that no row repeats needs none of these figures. The sums read every worker's row of
// the board, so each good answer would load cache lines that other workers have just written.
inline policy::RetryMeans Attempts::means_after(const policy::AttemptEnd& end) {
    policy::RetryMeans means;
    means.in_hand = request_.is_in_hand();
    const auto* const answer = std::get_if<policy::Answer>(&end);
    if (answer != nullptr && !policy::is_bad_status(answer->status)) {
        means.candidate_left = means.budget_left = means.token_left = false;
        return means;
    }
    // A request with an answer does not wait for room to get another one; a request without an
    // answer does.
    means.candidate_left =
        answer != nullptr ? choice_.has_left_with_room(sent()) : choice_.has_left(sent());
    const state::Board& board = *context_.worker.shared.board;
    const std::uint32_t group = context_.group().cell;
    const std::int64_t least =
        answer != nullptr ? policy::kLeastStatusRetries : policy::kLeastRetries;
    means.budget_left = retry_hold_ || board.group_retries(group) <
                                           policy::retry_budget(board.group_requests(group), least);
    means.token_left = answer == nullptr || policy::has_token(board.all_retry_tokens(group));
    return means;
}

// Pays for a retry.
void Attempts::take_retry(const policy::RetryVerdict& verdict) {
    state::bump(context_.worker.counters.retries);
    attempt_->count_retry();
    state::SiteFigures<state::Counter>& site = context_.figures();
    const std::size_t cause = state::place_of(state::kRetryCauses, context_.record.attempt().error);
    state::bump(site.retries[site.retry_place(static_cast<std::size_t>(verdict.row), cause)]);
    if (verdict.counts_budget && !retry_hold_) {
        retry_hold_.emplace(context_.worker, context_.group().cell);
    }
    if (verdict.takes_token) {
        ++tokens_taken_;
        change_tokens([](std::int32_t balance) { return policy::after_retry(balance); });
    }
    if (verdict.row == 6 && !context_.is_s3()) {
        choice_.note_failure();  // on such a site a status that caused a retry counts as a failure
    }
    if (repeats_backend_) {
        was_repeat_used_ = true;
        sent_ -= sent_ > 0 ? 1 : 0;  // row 4 is free
    }
    was_blind_used_ = was_blind_used_ || verdict.is_blind;
    // A blind retry is the last one, so it must not use a connection that may be stale.
    needs_fresh_ = needs_fresh_ || repeats_backend_ || verdict.is_blind;
}

// A retry that led to a good answer costs nothing. So one bad node among many good ones stays
// hidden from clients for any length of time.
void Attempts::return_tokens(int status) {
    if (!policy::is_bad_status(status)) {
        change_tokens([this](std::int32_t balance) {
            return policy::after_help(balance, tokens_taken_, most_tokens());
        });
    }
}

inline std::int32_t Attempts::most_tokens() const {
    const state::Board& board = *context_.worker.shared.board;
    return policy::most_tokens(
        policy::initial_tokens(board.worker_count()),
        board.own_group_requests(context_.worker.index, context_.group().cell));
}

void Attempts::on_backend_down(std::uint32_t slot) {
    if (attempt_) {
        attempt_->on_backend_down(slot);
    }
}

void Attempts::wake() {
    if (waiter_) {
        waiter_->give_up();
    }
    if (attempt_) {
        attempt_->wake();
    }
}

void Attempts::cut() {
    if (attempt_) {
        attempt_->cut();
    }
    wake();
}

}  // namespace s3gate::proxy
