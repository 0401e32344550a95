#include "exchange.hpp"

#include "settlement.hpp"

namespace s3gate::proxy {

Exchange::Exchange(Worker& worker, ClientConnection& client, base::TimePoint asked_at,
                   Memory& memory)
    : memory_(memory),
      context_(worker, client, *this, memory.record, asked_at),
      request_(context_, memory.request),
      response_(context_, request_, memory.response) {
    client.stream.set_observer(this);
    client.exchange = this;
}

Exchange::~Exchange() {
    context_.client.stream.set_observer(nullptr);
    context_.client.exchange = nullptr;
}

net::task<ClientFate> Exchange::run() {
    HeadRead head_read = request_.receive_head();
    if (head_read == HeadRead::incomplete) {
        head_read = co_await request_.wait_for_head();
    }
    if (head_read != HeadRead::complete) {
        co_await response_.refuse_head(head_read);
    } else if (const Dispatch taken = take_request(); taken.to != Dispatch::To::backends) {
        co_await response_.answer_here(taken);
    } else {
        Attempts& attempts = begin_attempts();
        const Attempts::End end = co_await attempts.run();
        const bool is_done = end == Attempts::End::answered && commit(attempts);
        if (!is_done) {
            co_await finish(attempts, end);
        }
        attempts_.reset();  // gives back this request's counts of the group
    }
    settle(context_, request_, response_);
    co_return response_.fate();
}

net::task<ClientFate> Exchange::refuse_source(SourceRead read) {
    const LocalAnswer answer = answer_to_refused_source(context_, read);
    if (read.is_request) {
        co_await response_.reply(answer);
    } else {
        // PROXY protocol §2.1: the receiver aborts the connection, so that the sender notices.
        context_.record.status = static_cast<std::uint16_t>(answer.status);
        context_.record.error = answer.error;
        context_.blame(answer.side, answer.stage);
    }
    settle(context_, request_, response_);
    co_return response_.fate();
}

// Private functions with a single call are inline: a call with its registers costs more than most
// of their work (docs/bench.md counts instructions).
inline Dispatch Exchange::take_request() {
    is_serving_ = true;
    const bool has_site = context_.choose_site(request_.meaning().host);
    request_.understand();
    context_.identity.learn(context_.site().config->forwarded, request_.head());
    return has_site ? dispatch(context_, request_) : refuse_host(context_);
}

inline Attempts& Exchange::begin_attempts() {
    // Events that arrived while the head was read went to its reader. A close among them is noticed
    // here.
    on_stream_event();
    context_.record.group = context_.group().name;
    request_.find_key();
    request_.prepare();
    return attempts_.emplace(context_, request_, response_, memory_.attempts);
}

// Commits to the answer; no retry follows. True if the whole answer is sent and the upload has
// ended, as with nearly all short answers: there is nothing to wait for.
inline bool Exchange::commit(Attempts& attempts) {
    Attempt& attempt = attempts.current();
    response_.commit(attempt);
    attempts.settle_retries(attempt.answer().head().status);
    if (!response_.send_at_once() || attempt.is_uploading()) {
        return false;
    }
    attempts.note_time();
    response_.release_backend(attempt);
    return true;
}

// Handles the cases that may wait: the rest of an answer, a tunnel, an answer of the proxy.
net::task<void> Exchange::finish(Attempts& attempts, Attempts::End end) {
    if (end == Attempts::End::answered) {
        const net::RelayEnd relayed = co_await response_.relay(attempts.current());
        attempts.note_time();
        if (relayed == net::RelayEnd::complete) {
            response_.release_backend(attempts.current());
        } else {
            attempts.note_relayed(relayed);
            attempts.drop_current();
            co_await response_.end_broken(relayed);
        }
    } else if (end == Attempts::End::switching) {
        attempts.settle_retries(101);
        co_await response_.tunnel(attempts.current());
        attempts.note_time();
    } else if (end == Attempts::End::abandoned) {
        co_await response_.end_abandoned(attempts.stage());
    } else {
        co_await response_.reply(attempts.own_answer(end));
    }
}

// Called for an event of the client's stream without a reader. Only the loss of the client matters
// here; pipelined bytes stay for the next request.
void Exchange::on_stream_event() {
    if (context_.is_client_lost(response_.is_tunnelling()) && context_.set_abandoned()) {
        response_.on_client_lost();
        if (attempts_) {
            attempts_->wake();
        }
        // If the peer closed, its socket may never have room again; a waiting write would wait for
        // its whole timeout.
        context_.client.stream.interrupt_write();
    }
}

ClientState Exchange::state() const {
    if (response_.is_tunnelling()) {
        return ClientState::tunnel;
    }
    if (!is_serving_) {
        return ClientState::reading_head;
    }
    if (response_.is_committed() || context_.record.status != 0) {
        return ClientState::download;  // also of an answer of our own
    }
    if (attempts_ && attempts_->is_queued()) {
        return ClientState::queued;
    }
    return attempts_ && attempts_->is_uploading() ? ClientState::upload
                                                  : ClientState::waiting_for_backend;
}

bool Exchange::is_at_backend() const {
    return attempts_ && attempts_->is_at_backend();
}

void Exchange::on_backend_down(std::uint32_t slot) {
    if (attempts_) {
        attempts_->on_backend_down(slot);
    }
}

bool Exchange::end_endless_answer() {
    if (!is_endless() || context_.is_cut()) {
        return false;
    }
    cut(kCutByStop);
    return true;
}

void Exchange::cut(const CutReason& reason) {
    context_.set_cut(reason);
    response_.cut();
    if (attempts_) {
        attempts_->cut();
    }
    context_.client.stream.interrupt_write();
}

}  // namespace s3gate::proxy
