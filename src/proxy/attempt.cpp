// Attempts of an exchange: connection, upload half, and what a failed attempt leads to.
#include <utility>

#include "client_connection.hpp"
#include "exchange.hpp"

namespace s3gate::proxy {
namespace {

// docs/architecture.md, "Reuse of pooled connections": writes prefer a connection used less than 5
// s ago.
constexpr std::uint64_t kFreshForWrites = 5000;
}  // namespace

net::task<void> Exchange::attempts() {
    tried_.assign(group_->peers.size(), 0);
    base::TimePoint first_attempt = worker_.reactor.now_point();
    bool same_backend = false;
    for (;;) {
        if (cut_ || client_gone_) {
            co_await end_for_client();
            co_return;
        }
        Pick pick = same_backend ? Pick::found : pick_peer();
        if (pick == Pick::full) {
            pick = co_await wait_for_room();
        }
        if (pick == Pick::gone) {
            continue;
        }
        if (pick == Pick::timed_out || pick == Pick::overflow) {
            co_await reply_busy(pick);
            co_return;
        }
        if (pick == Pick::none) {
            bump(worker_.counters.no_backend);
            record_.error = record_.error.empty() ? "no backend available" : record_.error;
            co_await reply_failure();
            co_return;
        }
        const bool was_same_backend = std::exchange(same_backend, false);
        ++record_.tries;
        if (record_.attempt_count < observe::RequestRecord::kMaxAttempts) {
            record_.attempts[record_.attempt_count++] = {group_->peers[peer_].address_text, -1};
        }
        attempt_started_ = worker_.reactor.now_point();
        if (co_await attempt() == AttemptEnd::done) {
            co_return;
        }
        // Where we lack descriptors ourselves, nobody knows whether it had died.
        facts_.after_stale = was_same_backend && !own_lack_;
        if (facts_.after_stale && facts_.outcome == policy::Outcome::not_sent) {
            ++sent_attempts_;  // the attempt that row 4 took for free was a death, and counts
        }
        facts_.sent_attempts = sent_attempts_ - refused_attempts_;
        facts_.free_retry_used = free_retry_used_;
        facts_.blind_retry_used = blind_retry_used_;
        facts_.client_gone = client_gone_;
        facts_.response_relayed = committed_;
        facts_.in_hand = is_in_hand();
        facts_.elapsed =
            std::chrono::duration_cast<base::Duration>(worker_.reactor.now_point() - first_attempt);
        Board& board = *worker_.shared.board;
        weigh_retry();
        const policy::RetryVerdict verdict = policy::retry_rule(facts_, *group_->retry);
        if (verdict.budget_spent) {
            bump(worker_.counters.budget_spent);
        }
        if (verdict.action == policy::RetryAction::next_backend ||
            verdict.action == policy::RetryAction::same_backend) {
            bump(worker_.counters.retries);
            if (verdict.counts_budget && !holds_retry_) {
                holds_retry_ = true;
                board.add_group_retries(worker_.index, group_->cell, 1);
            }
            if (verdict.takes_token) {
                ++tokens_taken_;
                board.set_retry_tokens(
                    worker_.index, group_->cell,
                    policy::after_retry(board.retry_tokens(worker_.index, group_->cell)));
            }
            if (verdict.row == 6 && site_->config->type == config::SiteType::http) {
                note_passive(true);  // there a status that cost a retry counts
                                     // (docs/architecture.md "Passive marks")
            }
            free_retry_used_ = free_retry_used_ || verdict.row == 4;
            blind_retry_used_ = blind_retry_used_ || verdict.is_blind;
            same_backend = verdict.action == policy::RetryAction::same_backend;
            if (same_backend && sent_attempts_ > 0) {
                --sent_attempts_;  // row 4 is free of charge
            }
            // A blind retry is the last: it must not end on a connection that was merely stale.
            fresh_only_ = fresh_only_ || same_backend || verdict.is_blind;
            if (upload_running_) {
                co_await join_upload();
            }
            // The same server once more: on the room that is held.
            const std::uint32_t kept =
                same_backend ? std::exchange(held_server_, kNoServer) : kNoServer;
            discard_attempt();
            held_server_ = kept;
            continue;
        }
        if (verdict.action == policy::RetryAction::relay) {
            commit_response();
            const bool is_out = net::relay_at_once(down_);
            if (is_out && !upload_running_) {
                note_relayed();
                end_response();
            } else {
                co_await relay_response(is_out);
            }
            co_return;
        }
        if (upload_running_) {
            co_await join_upload();
        }
        discard_attempt();
        if (verdict.action == policy::RetryAction::abort) {
            if (client_gone_) {
                co_await end_for_client();
            } else {
                fate_ = ClientFate::reset;
            }
            co_return;
        }
        co_await reply_failure();
        co_return;
    }
}

bool Exchange::take_parked() {
    const std::uint64_t fresh = policy::is_read(method_) ? 0 : kFreshForWrites;
    if (!fresh_only_) {
        backend_ = worker_.pool.take(group_->peers[peer_].slot, fresh);
    }
    reused_ = static_cast<bool>(backend_);
    return reused_;
}

net::task<bool> Exchange::open_connection() {
    const Peer& peer = group_->peers[peer_];
    backend_ = std::make_unique<net::BackendConnection>(worker_.reactor, worker_.pool, peer.slot);
    own_lack_ = false;
    const net::ConnectEnd end =
        co_await net::connect_backend(*backend_, peer.address, state_->ticks.connect);
    switch (end) {
        case net::ConnectEnd::connected:
            co_return true;
        case net::ConnectEnd::refused:
            bump(worker_.counters.connects_refused);
            record_.error = "connect refused";
            break;
        case net::ConnectEnd::timed_out:
            bump(worker_.counters.connect_timeouts);
            record_.error = "connect timed out";
            facts_.connect_timed_out = true;
            break;
        case net::ConnectEnd::no_descriptor:
            bump(worker_.counters.connects_lacking);
            record_.error = "out of descriptors";
            own_lack_ = true;
            break;
        case net::ConnectEnd::interrupted:
            break;
    }
    if (end == net::ConnectEnd::refused || end == net::ConnectEnd::timed_out) {
        note_passive(true);
    }
    co_return false;
}

net::task<Exchange::AttemptEnd> Exchange::attempt() {
    continue_seen_ = response_byte_seen_ = taken_down_ = malformed_ = false;
    had_odd_interim_ = false;
    facts_.connect_timed_out = false;
    worker_.shared.board->add_in_flight(worker_.index, group_->peers[peer_].slot, 1);
    slot_counted_ = true;
    bool is_connected = take_parked();
    if (!is_connected) {
        is_connected = co_await open_connection();
    }
    if (!is_connected) {
        facts_.outcome = policy::Outcome::not_sent;
        facts_.status = 0;
        facts_.reused_connection = false;
        facts_.response_byte_seen = facts_.body_byte_sent = facts_.expect_pending = false;
        if (policy::is_read(method_)) {
            // Whatever an earlier attempt met, repeating a read is right once there is a backend
            // again: 503, not 502.
            sent_and_broken_ = sent_and_timed_out_ = false;
        }
        finish_attempt_record();
        co_return AttemptEnd::facts_ready;
    }
    ++backend_->requests;
    ++sent_attempts_;
    response_fill_ = response_begin_ = 0;
    response_scanner_.reset();

    up_.begin(body_, backend_->stream, worker_.buffers, worker_.pipes);
    up_.head = &request_pieces_;
    up_.replay = replay_reserved_ > 0 ? &replay_ : nullptr;
    up_.resend = up_.replay != nullptr && replay_.size() > 0;
    up_.chunked_out = meaning_.body.kind == http::BodyKind::chunked;
    // While the backend is expected to ask for the body, the client is silent by right.
    up_.read_timeout = is_continue_due() ? head_ticks() : state_->ticks.client_body;
    up_.write_timeout = state_->ticks.backend_body;
    up_.sink_is_backend = true;
    upload_end_ = net::RelayEnd::complete;
    if (!net::relay_at_once(up_)) {
        upload_half();
    }

    awaiting_head_ = true;
    HeadEnd end = HeadEnd::pending;
    for (;;) {
        end = before_answer();
        if (end == HeadEnd::pending) {
            end = receive_answer();
        }
        while (end == HeadEnd::interim) {
            const bool is_relayed = co_await relay_interim();
            end = is_relayed ? scan_answer() : HeadEnd::client_gone;
        }
        if (end != HeadEnd::pending) {
            break;
        }
        release_read_answer();
        if (!backend_->stream.is_readable()) {
            const net::Wake wake = co_await backend_->stream.readable(answer_patience());
            // While the body is still going up, its own limits decide; the answer's clock begins
            // when the request is complete.
            // An upload that ended in this very tick (a client that stalled) is looked at first.
            const bool is_told =
                upload_end_ == net::RelayEnd::complete || upload_end_ == net::RelayEnd::sink_closed;
            if (wake == net::Wake::timed_out && !upload_running_ && is_told) {
                end = answer_timed_out();
                break;
            }
        }
    }
    awaiting_head_ = false;
    std::string_view code;  // of a 503
    policy::CodeMeaning meaning = policy::CodeMeaning::other;
    if (end == HeadEnd::final_head && response_.status == 503) {
        co_await await_error_code();
        code = error_code();
        meaning = policy::meaning_of_code(code);
    }
    finish_attempt_record();

    facts_.status = 0;
    facts_.is_load = facts_.not_ready = false;
    facts_.reused_connection = reused_;
    facts_.response_byte_seen = response_byte_seen_;
    facts_.body_byte_sent = up_.body_sent;
    facts_.expect_pending = meaning_.expects_continue && facts_.has_body && !continue_seen_ &&
                            !up_.body_sent && may_start_over();
    switch (end) {
        case HeadEnd::final_head:
            facts_.outcome = policy::Outcome::answered;
            facts_.status = response_.status;
            facts_.is_load = response_.status == 429 || meaning == policy::CodeMeaning::load;
            facts_.not_ready = meaning == policy::CodeMeaning::not_ready;
            refused_attempts_ += facts_.not_ready ? 1 : 0;
            if (lifts_mark(code)) {
                note_passive(false);
            }
            break;
        case HeadEnd::switching:
            co_await tunnel();
            co_return AttemptEnd::done;
        case HeadEnd::client_gone:
            client_gone_ = true;
            facts_.outcome = policy::Outcome::broken;
            break;
        case HeadEnd::upload_failed:
            // The client's doing: its backend is told by a cut connection, and it gets its answer
            // if it can still hear one.
            if (upload_running_) {
                co_await join_upload();
            }
            if (upload_end_ == net::RelayEnd::source_timed_out) {
                discard_attempt();
                bump(worker_.counters.client_body_timeouts);
                co_await reply(408, "RequestTimeout",
                               "The request body was not received within the timeout.", true);
                record_.error = "client body timeout";
                co_return AttemptEnd::done;
            }
            if (upload_end_ == net::RelayEnd::source_malformed) {
                discard_attempt();
                bump(worker_.counters.refused_requests);
                co_await reply(400, "InvalidRequest", "The chunked request body is malformed.",
                               true);
                record_.error = "malformed chunked body";
                co_return AttemptEnd::done;
            }
            client_gone_ = true;
            facts_.outcome = policy::Outcome::broken;
            break;
        case HeadEnd::failed:
            break;  // the outcome is set
        case HeadEnd::pending:
        case HeadEnd::interim:
            break;  // not the end
    }
    if (end == HeadEnd::failed) {
        const bool broke = facts_.outcome == policy::Outcome::broken && !malformed_;
        const bool stale = broke && reused_ && !response_byte_seen_;
        facts_.malformed = malformed_;
        if (facts_.outcome == policy::Outcome::taken_down) {
            bump(worker_.counters.backend_taken_down);
        } else if (malformed_) {
            bump(worker_.counters.backend_malformed);
        } else if (stale) {
            bump(worker_.counters.backend_stale);
        } else if (broke) {
            bump(worker_.counters.backend_broken);
        }
        if (broke && !up_.any_sent && !response_byte_seen_ && !policy::is_read(method_) &&
            may_start_over()) {
            // The connection had died before the first byte left us: whatever the method, nothing
            // was executed.
            facts_.outcome = policy::Outcome::not_sent;
            --sent_attempts_;
        } else {
            sent_and_timed_out_ = facts_.outcome == policy::Outcome::timed_out ||
                                  facts_.outcome == policy::Outcome::taken_down;
            // A read that met a connection which had died while parked was not looked at by
            // anybody.
            sent_and_broken_ =
                !sent_and_timed_out_ && !(stale && policy::is_read(method_) && !up_.body_sent);
        }
        // A backend that gave up on a client which sent nothing is not to blame, nor is one for the
        // object it has.
        const bool client_stalled = upload_running_ && client_->stream.has_reader();
        // A plain site's pages are the server's own: there silence and nonsense count as well.
        const bool is_plain = site_->config->type == config::SiteType::http;
        if ((broke && !stale && !client_stalled) ||
            (is_plain && (malformed_ || facts_.outcome == policy::Outcome::timed_out))) {
            note_passive(true);
        }
    }
    co_return AttemptEnd::facts_ready;
}

// What speaks for and against another backend, besides the attempt itself. An answer that no row of
// the table would repeat needs none of it: the sums go over every worker's row of the board, and
// each good answer would pull in cache lines that other workers have just written.
void Exchange::weigh_retry() {
    const bool is_by_status = facts_.outcome == policy::Outcome::answered;
    if (is_by_status && !policy::is_bad_status(facts_.status)) {
        facts_.candidate_left = facts_.budget_left = facts_.token_left = false;
        return;
    }
    // All usable servers refused. One that is marked, or not up for long enough yet, may serve.
    takes_recovering_ =
        takes_recovering_ || (is_by_status && facts_.not_ready && !has_candidate(false));
    // Who has an answer does not wait for room to get another one; who has none does.
    facts_.candidate_left =
        is_by_status
            ? has_open(false) || (!has_candidate(false) && may_ignore_health() && has_open(true))
            : has_candidate(false) || (may_ignore_health() && has_candidate(true));
    const Board& board = *worker_.shared.board;
    facts_.budget_left =
        holds_retry_ ||
        board.group_retries(group_->cell) <
            (is_by_status ? policy::retry_budget(board.group_requests(group_->cell),
                                                 policy::kLeastStatusRetries)
                          : policy::retry_budget(board.group_requests(group_->cell)));
    facts_.token_left = !is_by_status || policy::has_token(board.all_retry_tokens(group_->cell));
}

net::detached Exchange::upload_half() {
    upload_running_ = true;
    upload_end_ = co_await net::relay_body(up_);
    upload_running_ = false;
    up_.buffer.release();
    if (is_client_lost()) {
        on_client_gone();
    }
    if (upload_joiner_) {
        worker_.reactor.post(std::exchange(upload_joiner_, nullptr));
    } else if (backend_) {
        // The other half looks at how this one ended and restarts its own clock.
        backend_->stream.interrupt_read();
    }
}

net::task<void> Exchange::join_upload() {
    if (!upload_running_) {
        co_return;
    }
    up_.cancelled = true;
    client_->stream.interrupt_read();
    if (backend_) {
        backend_->stream.interrupt_write();
    }
    struct Join {
        Exchange& exchange;
        bool await_ready() const noexcept { return !exchange.upload_running_; }
        void await_suspend(std::coroutine_handle<> self) const { exchange.upload_joiner_ = self; }
        void await_resume() const noexcept {}
    };
    co_await Join{*this};
}

void Exchange::finish_attempt_record() {
    if (record_.attempt_count > 0) {
        observe::AttemptRecord& attempt = record_.attempts[record_.attempt_count - 1];
        attempt.milliseconds =
            static_cast<std::int32_t>(std::chrono::duration_cast<base::Duration>(
                                          worker_.reactor.now_point() - attempt_started_)
                                          .count());
    }
}

void Exchange::deposit_token() {
    Board& board = *worker_.shared.board;
    const std::int32_t most =
        policy::most_tokens(policy::initial_tokens(board.worker_count()),
                            board.own_group_requests(worker_.index, group_->cell));
    board.set_retry_tokens(
        worker_.index, group_->cell,
        policy::after_deposit(board.retry_tokens(worker_.index, group_->cell), most));
}

// A retry that led to a good answer costs nothing: one node that answers badly among many that are
// well stays hidden from the clients, however long it does.
void Exchange::return_tokens() {
    if (tokens_taken_ == 0 || policy::is_bad_status(response_.status)) {
        return;
    }
    Board& board = *worker_.shared.board;
    const std::int32_t most =
        policy::most_tokens(policy::initial_tokens(board.worker_count()),
                            board.own_group_requests(worker_.index, group_->cell));
    board.set_retry_tokens(worker_.index, group_->cell,
                           policy::after_help(board.retry_tokens(worker_.index, group_->cell),
                                              std::exchange(tokens_taken_, 0u), most));
}

void Exchange::release_retry() {
    if (holds_retry_) {
        holds_retry_ = false;
        worker_.shared.board->add_group_retries(worker_.index, group_->cell, -1);
    }
}

void Exchange::release_slot() {
    if (slot_counted_) {
        slot_counted_ = false;
        worker_.shared.board->add_in_flight(worker_.index, group_->peers[peer_].slot, -1);
    }
    if (held_server_ != kNoServer) {
        const GroupServer& server = group_->servers[std::exchange(held_server_, kNoServer)];
        worker_.vacate(group_->cell, server.room,
                       static_cast<std::int32_t>(server.max_connections));
    }
}

void Exchange::discard_attempt() {
    release_slot();
    response_buffer_.release();
    if (backend_) {
        backend_->stream.close_with_reset();
        backend_.reset();
    }
}

}  // namespace s3gate::proxy
