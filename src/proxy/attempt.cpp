// Attempts of an exchange: which backend, which connection, the upload half, and what a failed attempt leads to.
#include <algorithm>
#include <cerrno>
#include <utility>

#include "client_connection.hpp"
#include "exchange.hpp"

namespace s3gate::proxy {
namespace {

// design.md §3 "Reuse": writes prefer a connection used less than 5 s ago.
constexpr std::uint64_t kFreshForWrites = 5000;
// How long a backend that stopped reading the request may take to send its answer.
constexpr net::Tick kAnswerAfterClose = 40;  // 10 s

}  // namespace

bool Exchange::is_candidate(std::uint32_t index, bool ignore_health) {
    const Peer& peer = site_->peers[index];
    const config::Server& server = *site_->servers[peer.server].config;
    if (tried_[index] != 0 || server.down || server.drained) {
        return false;
    }
    if (ignore_health) {
        return true;
    }
    const Board& board = *worker_.shared.board;
    return board.is_up(peer.slot) &&
           policy::verdict(board.passive(peer.slot), site_->passive, worker_.reactor.now_ms()) != policy::PassiveVerdict::marked;
}

std::uint32_t Exchange::choose_address(const GroupServer& server, bool ignore_health) {
    candidates_.clear();
    for (const std::uint32_t index : server.peers) {
        if (is_candidate(index, ignore_health)) {
            candidates_.push_back({index, 1, 0});
        }
    }
    if (candidates_.size() == 1) {
        return candidates_.front().peer;
    }
    return *policy::pick_round_robin(candidates_, state_->weights);
}

bool Exchange::pick_among(bool ignore_health) {
    const config::BalanceMethod method = site_->config->balance.method;
    if (method == config::BalanceMethod::ketama && !key_.key.empty() && !site_->ring.empty()) {
        if (!walk_begun_) {
            walk_begun_ = true;
            walk_ = policy::start_walk(site_->ring, key_.key);
        }
        const auto usable = [&](std::uint32_t server) {
            const GroupServer& candidate = site_->servers[server];
            return std::any_of(candidate.peers.begin(), candidate.peers.end(),
                               [&](std::uint32_t index) { return is_candidate(index, ignore_health); });
        };
        if (const auto server = policy::walk_to_usable(site_->ring, walk_, usable)) {
            peer_ = choose_address(site_->servers[*server], ignore_health);
            return true;
        }
    }
    // Primaries first; backups only when no primary is usable.
    for (const bool backups : {false, true}) {
        candidates_.clear();
        for (std::uint32_t index = 0; index < site_->peers.size(); ++index) {
            const Peer& peer = site_->peers[index];
            const config::Server& server = *site_->servers[peer.server].config;
            if (server.backup == backups && is_candidate(index, ignore_health)) {
                candidates_.push_back({index, server.weight,
                                       method == config::BalanceMethod::least_conn ? worker_.shared.board->in_flight(peer.slot) : 0});
            }
        }
        const auto picked = method == config::BalanceMethod::least_conn
                                ? policy::pick_least_conn(candidates_, state_->weights, worker_.next_random())
                                : policy::pick_round_robin(candidates_, state_->weights);
        if (picked) {
            peer_ = *picked;
            return true;
        }
    }
    return false;
}

// True when the checks and marks may be ignored: they leave nobody, or everybody they leave was tried without a byte sent.
bool Exchange::may_ignore_health() {
    if (site_->config->when_all_down != config::AllDown::try_anyway) {
        return false;
    }
    if (sent_attempts_ == 0) {
        return true;
    }
    for (std::uint32_t index = 0; index < site_->peers.size(); ++index) {
        const std::uint8_t was_tried = std::exchange(tried_[index], std::uint8_t{0});
        const bool usable = is_candidate(index, false);
        tried_[index] = was_tried;
        if (usable) {
            return false;
        }
    }
    return true;
}

bool Exchange::pick_peer() {
    Board& board = *worker_.shared.board;
    for (;;) {
        bool found = has_candidate(false) && pick_among(false);
        if (!found && may_ignore_health()) {
            // A check that fails everywhere at once must not take the storage offline (design.md §3).
            walk_.tries = 0;
            found = pick_among(true);
        }
        if (!found) {
            return false;
        }
        // Its time is over: this request is the trial, everybody else goes on avoiding it. Who loses the race for the trial
        // sees a marked backend and picks again.
        const std::uint32_t slot = site_->peers[peer_].slot;
        const policy::PassiveState state = board.passive(slot);
        const std::uint64_t now = worker_.reactor.now_ms();
        if (state.bits == 0 || policy::verdict(state, site_->passive, now) != policy::PassiveVerdict::trial ||
            board.replace_passive(slot, state, policy::after_trial_pick(state, site_->passive, now))) {
            tried_[peer_] = 1;
            return true;
        }
    }
}

bool Exchange::has_candidate(bool ignore_health) {
    for (std::uint32_t index = 0; index < site_->peers.size(); ++index) {
        if (is_candidate(index, ignore_health)) {
            return true;
        }
    }
    return false;
}

void Exchange::note_passive(bool failed) {
    const config::Passive& rule = site_->config->passive;
    if (!rule.enabled) {
        return;
    }
    Board& board = *worker_.shared.board;
    const std::uint32_t slot = site_->peers[peer_].slot;
    for (int i = 0; i < 8; ++i) {
        const policy::PassiveState state = board.passive(slot);
        policy::PassiveState wanted;
        if (failed) {
            // Never more than a third of a group, but at least one (design.md §3).
            std::size_t marked = 0;
            for (const Peer& peer : site_->peers) {
                marked += policy::is_marked(board.passive(peer.slot)) ? 1 : 0;
            }
            const std::size_t most = std::max<std::size_t>(1, site_->peers.size() / 3);
            wanted = policy::after_failure(state, site_->passive, worker_.reactor.now_ms(), marked < most || policy::is_marked(state));
        } else {
            if (state.bits == 0) {
                return;
            }
            wanted = policy::after_success(state);
        }
        if (board.replace_passive(slot, state, wanted)) {
            if (policy::is_marked(wanted) != policy::is_marked(state)) {
                worker_.note_mark(*site_, site_->peers[peer_], policy::is_marked(wanted));
            }
            return;
        }
    }
}

net::task<void> Exchange::attempts() {
    tried_.assign(site_->peers.size(), 0);
    base::TimePoint first_attempt = worker_.reactor.now_point();
    bool same_backend = false;
    for (;;) {
        if (cut_ || client_gone_) {
            record_.status = 499;
            record_.error = "client closed";
            fate_ = ClientFate::reset;
            co_return;
        }
        if (!same_backend && !pick_peer()) {
            record_.error = record_.error.empty() ? "no backend available" : record_.error;
            co_await reply_failure();
            co_return;
        }
        same_backend = false;
        ++record_.tries;
        if (record_.attempt_count < observe::RequestRecord::kMaxAttempts) {
            record_.attempts[record_.attempt_count++] = {site_->peers[peer_].address_text, -1};
        }
        attempt_started_ = worker_.reactor.now_point();
        if (co_await attempt() == AttemptEnd::done) {
            co_return;
        }
        facts_.sent_attempts = sent_attempts_;
        facts_.free_retry_used = free_retry_used_;
        facts_.blind_retry_used = blind_retry_used_;
        facts_.client_gone = client_gone_;
        facts_.response_relayed = committed_;
        facts_.in_hand = meaning_.body.kind == http::BodyKind::none || (meaning_.body.kind == http::BodyKind::length && meaning_.body.length == 0) ||
                         (body_.received == 0 && body_.complete) || (replay_.is_whole() && replay_reserved_ > 0);
        facts_.elapsed = std::chrono::duration_cast<base::Duration>(worker_.reactor.now_point() - first_attempt);
        facts_.candidate_left = has_candidate(false) || (may_ignore_health() && has_candidate(true));
        const Board& board = *worker_.shared.board;
        facts_.budget_left = holds_retry_ || board.group_retries(site_->group) < policy::retry_budget(board.group_requests(site_->group));
        const policy::RetryVerdict verdict = policy::retry_rule(facts_, site_->config->retry);
        if (verdict.budget_spent) {
            bump(worker_.counters.budget_spent);
        }
        if (verdict.action == policy::RetryAction::next_backend || verdict.action == policy::RetryAction::same_backend) {
            bump(worker_.counters.retries);
            if (verdict.counts_budget && !holds_retry_) {
                holds_retry_ = true;
                worker_.shared.board->add_group_retries(worker_.index, site_->group, 1);
            }
            if (verdict.row == 6 && site_->config->type == config::SiteType::http) {
                note_passive(true);  // there a status that cost a retry counts (design.md §3 "Passive marks")
            }
            free_retry_used_ = free_retry_used_ || verdict.row == 4;
            blind_retry_used_ = blind_retry_used_ || verdict.row == 7;
            same_backend = verdict.action == policy::RetryAction::same_backend;
            if (same_backend && sent_attempts_ > 0) {
                --sent_attempts_;  // row 4 is free of charge
            }
            fresh_only_ = fresh_only_ || same_backend;
            if (upload_running_) {
                co_await join_upload();
            }
            discard_attempt();
            continue;
        }
        if (verdict.action == policy::RetryAction::relay) {
            co_await relay_response();
            co_return;
        }
        if (upload_running_) {
            co_await join_upload();
        }
        discard_attempt();
        if (verdict.action == policy::RetryAction::abort) {
            if (client_gone_) {
                record_.status = record_.status == 0 ? 499 : record_.status;
                record_.error = "client closed";
            }
            fate_ = ClientFate::reset;
            co_return;
        }
        co_await reply_failure();
        co_return;
    }
}

net::task<bool> Exchange::obtain_connection() {
    const Peer& peer = site_->peers[peer_];
    reused_ = false;
    const std::uint64_t fresh = policy::is_read(method_) ? 0 : kFreshForWrites;
    if (!fresh_only_) {
        backend_ = worker_.pool.take(peer.slot, fresh);
    }
    if (backend_) {
        reused_ = true;
        co_return true;
    }
    backend_ = std::make_unique<net::BackendConnection>(worker_.reactor, worker_.pool, peer.slot);
    const net::ConnectEnd end = co_await net::connect_backend(*backend_, peer.address, state_->ticks.connect);
    switch (end) {
        case net::ConnectEnd::connected:
            co_return true;
        case net::ConnectEnd::refused:
            record_.error = "connect refused";
            break;
        case net::ConnectEnd::timed_out:
            record_.error = "connect timed out";
            break;
        case net::ConnectEnd::no_descriptor:
            record_.error = "out of descriptors";
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
    continue_seen_ = response_byte_seen_ = taken_down_ = false;
    worker_.shared.board->add_in_flight(worker_.index, site_->peers[peer_].slot, 1);
    slot_counted_ = true;
    if (!co_await obtain_connection()) {
        facts_.outcome = policy::Outcome::not_sent;
        facts_.status = 0;
        facts_.reused_connection = false;
        facts_.response_byte_seen = facts_.body_byte_sent = facts_.expect_pending = false;
        if (policy::is_read(method_)) {
            // Whatever an earlier attempt met, repeating a read is right once there is a backend again: 503, not 502.
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
    up_.read_timeout = meaning_.expects_continue && !continue_relayed_ ? state_->ticks.backend_head : state_->ticks.client_body;
    up_.write_timeout = state_->ticks.backend_body;
    upload_end_ = net::RelayEnd::complete;
    if (meaning_.body.kind == http::BodyKind::none) {
        // Nothing to upload beside the head: no second coroutine.
        std::size_t total = 0;
        iovec pieces[16];
        std::size_t count = 0;
        for (const std::string_view piece : request_pieces_) {
            if (count < std::size(pieces)) {
                pieces[count++] = {const_cast<char*>(piece.data()), piece.size()};
            }
            total += piece.size();
        }
        const ssize_t sent = request_pieces_.size() <= std::size(pieces) ? backend_->stream.send(pieces, count, false) : 0;
        if (sent == static_cast<ssize_t>(total)) {
            up_.head_sent = up_.any_sent = true;
        } else if (sent > 0) {
            up_.any_sent = true;
            static_cast<void>(sent);
            rest_of_head(static_cast<std::size_t>(sent));
            up_.head = &rest_pieces_;
            upload_half();
        } else {
            upload_half();
        }
    } else {
        upload_half();
    }

    awaiting_head_ = true;
    const HeadEnd end = co_await read_response_head();
    awaiting_head_ = false;
    finish_attempt_record();

    facts_.status = 0;
    facts_.is_load = false;
    facts_.reused_connection = reused_;
    facts_.response_byte_seen = response_byte_seen_;
    facts_.body_byte_sent = up_.body_sent;
    facts_.expect_pending = meaning_.expects_continue && facts_.has_body && !continue_seen_ && !up_.body_sent &&
                            (body_.received == 0 || up_.replay != nullptr);
    switch (end) {
        case HeadEnd::final_head:
            facts_.outcome = policy::Outcome::answered;
            facts_.status = response_.status;
            facts_.is_load = judge_load();
            if (site_->config->type == config::SiteType::s3 || facts_.status < 500) {
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
            // The client's doing: its backend is told by a cut connection, and it gets its answer if it can still hear one.
            if (upload_running_) {
                co_await join_upload();
            }
            if (upload_end_ == net::RelayEnd::source_timed_out) {
                discard_attempt();
                co_await reply(408, "RequestTimeout", "The request body was not received within the timeout.", true);
                record_.error = "client body timeout";
                co_return AttemptEnd::done;
            }
            if (upload_end_ == net::RelayEnd::source_malformed) {
                discard_attempt();
                bump(worker_.counters.refused_requests);
                co_await reply(400, "InvalidRequest", "The chunked request body is malformed.", true);
                record_.error = "malformed chunked body";
                co_return AttemptEnd::done;
            }
            client_gone_ = true;
            facts_.outcome = policy::Outcome::broken;
            break;
        case HeadEnd::failed:
            break;  // outcome is set by read_response_head
    }
    if (end == HeadEnd::failed) {
        const bool stale = reused_ && !response_byte_seen_ && facts_.outcome == policy::Outcome::broken;
        sent_and_timed_out_ = facts_.outcome == policy::Outcome::timed_out || facts_.outcome == policy::Outcome::taken_down;
        // A read that met a connection which had died while parked was not looked at by anybody.
        sent_and_broken_ = !sent_and_timed_out_ && !(stale && policy::is_read(method_));
        if ((!stale && facts_.outcome == policy::Outcome::broken) ||
            (facts_.outcome == policy::Outcome::timed_out && site_->config->type == config::SiteType::http)) {
            note_passive(true);
        }
    }
    co_return AttemptEnd::facts_ready;
}

void Exchange::rest_of_head(std::size_t sent) {
    rest_pieces_.clear();
    for (const std::string_view piece : request_pieces_) {
        const std::size_t skip = std::min(sent, piece.size());
        sent -= skip;
        if (skip < piece.size()) {
            rest_pieces_.push_back(piece.substr(skip));
        }
    }
}

net::detached Exchange::upload_half() {
    upload_running_ = true;
    upload_end_ = co_await net::relay_body(up_);
    upload_running_ = false;
    up_.buffer.release();
    if (client_->stream.is_broken()) {
        on_client_broken();
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
    backend_->stream.interrupt_write();
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
        attempt.milliseconds = static_cast<std::int32_t>(
            std::chrono::duration_cast<base::Duration>(worker_.reactor.now_point() - attempt_started_).count());
    }
}

void Exchange::discard_attempt() {
    if (slot_counted_) {
        slot_counted_ = false;
        worker_.shared.board->add_in_flight(worker_.index, site_->peers[peer_].slot, -1);
    }
    response_buffer_.release();
    if (backend_) {
        backend_->stream.close_with_reset();
        backend_.reset();
    }
}

net::task<Exchange::HeadEnd> Exchange::read_response_head() {
    net::Stream& stream = backend_->stream;
    const std::size_t limit = std::min<std::size_t>(site_->config->limits.response_head, net::Buffer::size());
    net::Tick wait = state_->ticks.backend_head;
    for (;;) {
        if (client_gone_ || cut_) {
            co_return HeadEnd::client_gone;
        }
        if (taken_down_) {
            record_.error = "backend taken down";
            facts_.outcome = policy::Outcome::taken_down;
            co_return HeadEnd::failed;
        }
        if (!upload_running_ && upload_end_ != net::RelayEnd::complete) {
            switch (upload_end_) {
                case net::RelayEnd::source_timed_out:
                    if (meaning_.expects_continue && !continue_relayed_ && !up_.body_sent) {
                        // The client waited for a word that this backend never gave.
                        record_.error = "backend response timeout";
                        facts_.outcome = policy::Outcome::timed_out;
                        co_return HeadEnd::failed;
                    }
                    co_return HeadEnd::upload_failed;
                case net::RelayEnd::source_closed:
                case net::RelayEnd::source_malformed:
                    co_return HeadEnd::upload_failed;
                case net::RelayEnd::sink_timed_out:
                    record_.error = "backend stopped reading";
                    facts_.outcome = policy::Outcome::timed_out;
                    co_return HeadEnd::failed;
                default:
                    // The backend closed its reading side; its answer may still be on the way (an early 403 before a close).
                    wait = std::min(wait, kAnswerAfterClose);
                    break;
            }
        }
        bool grew = false;
        if (stream.is_readable()) {
            if (!response_buffer_) {
                response_buffer_ = worker_.buffers.acquire();
                response_fill_ = response_begin_ = 0;
                response_scanner_.reset();
            }
            if (response_fill_ == net::Buffer::size()) {
                record_.error = "response head too large";
                facts_.outcome = policy::Outcome::broken;
                co_return HeadEnd::failed;
            }
            const ssize_t got = stream.receive(response_buffer_.data() + response_fill_, net::Buffer::size() - response_fill_);
            if (got > 0) {
                response_fill_ += static_cast<std::size_t>(got);
                response_byte_seen_ = true;
                grew = true;
            } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
                record_.error = response_byte_seen_ ? "backend closed in head" : "backend closed";
                facts_.outcome = policy::Outcome::broken;
                co_return HeadEnd::failed;
            }
        }
        while (grew && response_fill_ > response_begin_) {
            const std::string_view bytes(response_buffer_.data() + response_begin_, response_fill_ - response_begin_);
            const http::HeadScanner::State state = response_scanner_.scan(bytes);
            if (state == http::HeadScanner::State::incomplete) {
                if (bytes.size() >= limit) {
                    record_.error = "response head too large";
                    facts_.outcome = policy::Outcome::broken;
                    co_return HeadEnd::failed;
                }
                break;
            }
            http::HeadError error = response_scanner_.error();
            if (state == http::HeadScanner::State::complete) {
                const std::string_view raw = bytes.substr(0, response_scanner_.end());
                error = raw.size() > limit ? http::HeadError::too_many_fields : http::parse_response_head(raw, response_);
                if (error == http::HeadError::none) {
                    response_meaning_ = http::meaning_of(response_, method_ == policy::MethodClass::head);
                    error = response_meaning_.error;
                }
            }
            if (error != http::HeadError::none) {
                record_.error = "malformed response";
                facts_.outcome = policy::Outcome::broken;
                co_return HeadEnd::failed;
            }
            response_begin_ += response_scanner_.end();
            response_scanner_.reset();
            if (response_.status == 101) {
                const bool matches = meaning_.wants_upgrade && !response_.find(http::FieldId::upgrade).empty();
                if (!matches) {
                    record_.error = "unrequested 101";
                    facts_.outcome = policy::Outcome::broken;
                    co_return HeadEnd::failed;
                }
                co_return HeadEnd::switching;
            }
            if (response_.status >= 200) {
                co_return HeadEnd::final_head;
            }
            // Interim responses are relayed, but a backend cannot keep us busy with them for ever.
            if (++interim_count_ > kMaxInterim) {
                record_.error = "too many interim responses";
                facts_.outcome = policy::Outcome::broken;
                co_return HeadEnd::failed;
            }
            if (!co_await relay_interim()) {
                co_return HeadEnd::client_gone;
            }
        }
        if (response_buffer_ && response_begin_ == response_fill_) {
            // Nothing of a next head yet: a backend that thinks for minutes does not hold a buffer.
            response_buffer_.release();
            response_fill_ = response_begin_ = 0;
        }
        if (!stream.is_readable()) {
            const net::Wake wake = co_await stream.readable(wait);
            // While the body is still going up, its own limits decide; the answer's clock begins when the request is complete.
            if (wake == net::Wake::timed_out && !upload_running_) {
                record_.error = "backend response timeout";
                facts_.outcome = policy::Outcome::timed_out;
                co_return HeadEnd::failed;
            }
        }
    }
}

}  // namespace s3gate::proxy
