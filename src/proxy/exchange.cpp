#include "exchange.hpp"

#include "s3gate/base/text.hpp"

namespace s3gate::proxy {
namespace {

bool asks_to_read(const Request& request) {
    return request.method() == policy::MethodClass::get ||
           request.method() == policy::MethodClass::head;
}

bool is_for_status_page(const Request& request, const config::StatusPage& status) {
    return status.enabled && asks_to_read(request) &&
           request.meaning().path.starts_with(status.path);
}

// The page's path but for the slash at its end, which people forget.
bool lacks_status_slash(const Request& request, const config::StatusPage& status) {
    return status.enabled && status.path.ends_with('/') && asks_to_read(request) &&
           request.meaning().path ==
               std::string_view(status.path).substr(0, status.path.size() - 1);
}

}  // namespace

Exchange::Exchange(Worker& worker, ClientConnection& client, base::TimePoint asked_at,
                   Memory& memory)
    : memory_(memory),
      context_(worker, client, *this, memory.record, asked_at),
      request_(context_, memory.request),
      response_(context_, request_, memory.response) {
    client.stream.set_observer(this);
    memory.record.clear();
    memory.record.site = context_.site.config->name;
    memory.record.is_s3 = context_.is_s3();
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
        co_await end_without_request(head);
    } else if (const Server server = route(); server != Server::backends) {
        co_await answer_here(server);
    } else {
        Attempts& attempts = begin_attempts();
        const Attempts::End end = co_await attempts.run();
        if (end != Attempts::End::answered || !relay_at_once(attempts)) {
            co_await finish(attempts, end);
        }
        attempts_.reset();
    }
    settle();
    co_return response_.fate();
}

net::task<void> Exchange::end_without_request(HeadRead head) {
    if (head == HeadRead::ended || head == HeadRead::broken) {
        response_.set_fate(head == HeadRead::ended ? ClientFate::finish : ClientFate::reset);
    } else {
        co_await response_.reply(answer_to_refused_head(context_, request_, head));
    }
}

// Who answers. The status page comes before the limits: whoever operates this must be able to look
// while it is overloaded.
inline Exchange::Server Exchange::route() {
    is_serving_ = true;
    request_.understand();
    const config::StatusPage& status = context_.site.config->status;
    const bool wants_status = is_for_status_page(request_, status);
    if ((wants_status || lacks_status_slash(request_, status)) &&
        base::contains(status.allow, context_.client.peer.ip())) {
        return wants_status ? Server::status_page : Server::status_redirect;
    }
    refusal_ = refusal_of(context_, wants_status);
    return refusal_ != nullptr ? Server::refusal : Server::backends;
}

net::task<void> Exchange::answer_here(Server server) {
    if (server == Server::status_page) {
        co_await response_.reply_status_page();
    } else if (server == Server::status_redirect) {
        co_await response_.redirect_to_status_page();
    } else {
        co_await response_.reply(*refusal_);
    }
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

void Exchange::on_stream_event() {
    // Nobody reads from the client: pipelined bytes wait their turn.
    if (is_client_lost() && context_.set_client_gone()) {
        response_.on_client_gone();
        // A FIN gives no room: who waits for the client to take more would do so to its limit.
        context_.client.stream.interrupt_write();
        wake();
    }
}

// True if nobody waits for the answer any more: the connection broke, or the client closed it. A
// client that closes cannot be told from one that only shuts down its sending side (RFC 9112 §9.6
// allows that). Servers take both for gone, and so must we: a backend that works on for a client
// that left is lost to others. In a tunnel a FIN ends one direction, no more.
bool Exchange::is_client_lost() const {
    const net::Stream& stream = context_.client.stream;
    return stream.is_broken() ||
           (stream.peer_finished() && !is_tunnelling() &&
            context_.site.config->client_half_close == config::HalfClose::cut);
}

void Exchange::wake() {
    if (attempts_) {
        attempts_->wake();
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
    wake();
    context_.client.stream.interrupt_write();
}

// Once for every request: the client's fault is counted, and the log gets its line.
inline void Exchange::settle() {
    const ClientConnection& client = context_.client;
    WorkerCounters& counters = context_.worker.counters;
    const ClientFault fault = context_.client_fault();
    if (fault != ClientFault::none && !context_.is_cut() && !client.cut) {
        bump(fault == ClientFault::stuck ? counters.client_write_timeouts
                                         : counters.clients_gone);
    }
    if (response_.fate() == ClientFate::keep &&
        (client.stream.is_broken() || context_.is_cut())) {
        response_.set_fate(ClientFate::reset);
    }
    if (memory_.record.status != 0) {
        write_record();
    }
}

inline void Exchange::write_record() {
    observe::RequestRecord& record = memory_.record;
    ClientConnection& client = context_.client;
    client.learn_local_address();
    record.local_ip = client.local_ip();
    record.client_ip = client.ip();
    record.bytes_in = request_.body_received();
    record.duration = context_.since(context_.started);
    const policy::AffinityKey& key = request_.key();
    if (key.source != nullptr) {
        record.key_source = context_.site.key_sources[static_cast<std::size_t>(
            key.source - context_.group.balance->key.data())];
        record.session = policy::is_secret(*key.source) ? request_.session_text() : key.key;
    }
    record.request_id = response_.request_id();
    record.backend_request_id = response_.backend_request_id();
    context_.worker.log(record);
}

}  // namespace s3gate::proxy
