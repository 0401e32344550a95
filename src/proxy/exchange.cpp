#include "exchange.hpp"

#include "dispatch.hpp"
#include "settlement.hpp"

namespace s3gate::proxy {

Exchange::Exchange(Worker& worker, ClientConnection& client, base::TimePoint asked_at,
                   Memory& memory)
    : memory_(memory),
      context_(worker, client, *this, memory.record, asked_at),
      request_(context_, memory.request),
      response_(context_, request_, memory.response) {
    client.stream.set_observer(this);
}

Exchange::~Exchange() {
    context_.client.stream.set_observer(nullptr);
}

net::task<ClientFate> Exchange::run() {
    HeadRead head = request_.receive_head();
    if (head == HeadRead::incomplete) {
        head = co_await request_.wait_for_head();
    }
    if (head != HeadRead::complete) {
        co_await response_.refuse_head(head);
    } else {
        is_serving_ = true;
        request_.understand();
        const Dispatch dispatched = dispatch(context_, request_);
        if (dispatched.to != Dispatch::To::backends) {
            co_await response_.answer_here(dispatched);
        } else {
            Attempts& attempts = begin_attempts();
            const Attempts::End end = co_await attempts.run();
            if (end != Attempts::End::answered || !relay_at_once(attempts)) {
                co_await finish(attempts, end);
            }
            attempts_.reset();
        }
    }
    settle(context_, request_, response_);
    co_return response_.fate();
}

inline Attempts& Exchange::begin_attempts() {
    // A client that left right after its request: the event told the reader of the head, not the
    // observer.
    on_stream_event();
    request_.find_key();
    request_.prepare();
    return attempts_.emplace(context_, request_, response_, memory_.attempts);
}

// Commits to the answer of the last attempt. True if all of it is out, as nearly always with a
// short one.
inline bool Exchange::relay_at_once(Attempts& attempts) {
    Attempt& attempt = attempts.current();
    response_.commit(attempt);
    attempts.note_commit(attempt.answer().head().status);
    if (!response_.send_at_once() || attempt.is_uploading()) {
        return false;
    }
    attempts.note_time();
    response_.end(attempt);
    return true;
}

// What relay_at_once() has not done.
net::task<void> Exchange::finish(Attempts& attempts, Attempts::End end) {
    if (end == Attempts::End::answered) {
        const net::RelayEnd relayed = co_await response_.relay(attempts.current());
        attempts.note_time();
        if (relayed == net::RelayEnd::complete) {
            response_.end(attempts.current());
        } else {
            attempts.end_current();
            co_await response_.end_broken(relayed);
        }
    } else if (end == Attempts::End::switching) {
        co_await response_.tunnel(attempts.current());
        attempts.note_time();
    } else if (end == Attempts::End::client_gone) {
        co_await response_.end_for_client();
    } else {
        co_await response_.reply(attempts.own_answer(end));
    }
}

// The client's stream has news while nobody reads from it: pipelined bytes wait their turn.
void Exchange::on_stream_event() {
    if (context_.is_client_lost(response_.is_tunnelling()) && context_.set_client_gone()) {
        response_.on_client_gone();
        // A FIN gives no room: who waits for the client to take more would do so to its limit.
        context_.client.stream.interrupt_write();
        if (attempts_) {
            attempts_->wake();
        }
    }
}

void Exchange::on_backend_down(std::uint32_t slot) {
    if (attempts_) {
        attempts_->on_backend_down(slot);
    }
}

bool Exchange::end_waiting_answer() {
    if (!is_endless() || context_.is_cut()) {
        return false;
    }
    cut();
    return true;
}

void Exchange::cut() {
    context_.set_cut();
    response_.cut();
    if (attempts_) {
        attempts_->cut();
    }
    context_.client.stream.interrupt_write();
}

}  // namespace s3gate::proxy
