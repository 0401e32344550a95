#include "exchange.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "client_connection.hpp"
#include "s3gate/base/text.hpp"
#include "s3gate/http/local_reply.hpp"
#include "s3gate/observe/status_page.hpp"
#include "s3gate/policy/waiting_request.hpp"
#include "s3gate/proxy/passive_marks.hpp"

namespace s3gate::proxy {

struct Refusal {
    int status;
    std::string_view code;
    std::string_view message;
    bool close;
    std::string_view error;  // for the log
};

namespace {

constexpr Refusal kShed{503, "SlowDown", "Too many connections, reduce your request rate.", true,
                        "connection limit"};
constexpr Refusal kTooManyConnections{
    503, "SlowDown", "Too many connections from your address, reduce your request rate.", true,
    "client connection limit"};
constexpr Refusal kTooManyRequests{503, "SlowDown", "Please reduce your request rate.", false,
                                   "client rate limit"};
constexpr Refusal kStatusPageDenied{403, "AccessDenied", "Access Denied.", false,
                                    "status page denied"};

// A real request's head fits; grown on demand up to limits.head.
constexpr std::size_t kHeadBuffer = 16 * 1024;
// A head buffer that grew beyond this is given back after its request.
constexpr std::size_t kKeptHeadBuffer = 64 * 1024;

policy::MethodClass method_class_of(std::string_view method) {
    if (method == "GET") {
        return policy::MethodClass::get;
    }
    if (method == "HEAD") {
        return policy::MethodClass::head;
    }
    if (method == "PUT") {
        return policy::MethodClass::put;
    }
    if (method == "DELETE") {
        return policy::MethodClass::delete_;
    }
    return method == "OPTIONS" ? policy::MethodClass::options : policy::MethodClass::other;
}

}  // namespace

net::task<ClientFate> Exchange::run(ClientConnection& client, base::TimePoint asked_at) {
    begin(client, asked_at);
    HeadRead head = receive_head();
    if (head == HeadRead::incomplete) {
        head = co_await wait_for_head();
    }
    if (head == HeadRead::complete) {
        serving_ = true;
        note_request();
        const bool wants_status = is_for_status_page();
        // Before the limits: whoever operates this must be able to look while it is overloaded.
        if (wants_status && may_see_status()) {
            co_await reply_status_page();
        } else if (lacks_status_slash() && may_see_status()) {
            co_await redirect_to_status_page();
        } else if (const Refusal* const refusal = refusal_of(wants_status)) {
            co_await reply(refusal->status, refusal->code, refusal->message, refusal->close);
            record_.error = refusal->error;
        } else {
            if (is_client_lost()) {
                // It left right after its request. The event told the reader of the head, not the
                // observer.
                on_client_gone();
            }
            find_key();
            prepare_request();
            worker_.shared.board->add_group_requests(worker_.index, group_->cell, 1);
            deposit_token();
            co_await attempts();
            worker_.shared.board->add_group_requests(worker_.index, group_->cell, -1);
            release_retry();
        }
    } else if (head != HeadRead::closed) {
        co_await refuse_head(head);
    }
    if (upload_running_) {
        co_await join_upload();
    }
    settle();
    co_return fate_;
}

void Exchange::begin(ClientConnection& client, base::TimePoint asked_at) {
    client_ = &client;
    client.stream.set_observer(this);
    generation_ = worker_.borrow_generation();
    const std::size_t site = worker_.sockets[client.listener].site;
    site_ = &generation_->snapshot->sites[site];
    state_ = &generation_->sites[site];
    group_ = &site_->default_group();
    group_state_ = &state_->groups[site_->routes.back().group];
    fate_ = ClientFate::reset;
    serving_ = client_gone_ = cut_ = false;
    client_fault_ = ClientFault::none;
    head_fill_ = 0;
    if (head_buffer_.empty()) {
        head_buffer_.resize(kHeadBuffer);
    }
    scanner_.reset();
    head_.clear();
    meaning_ = {};
    waiting_ = policy::Waiting::no;
    key_.key.clear();
    key_.source = nullptr;
    session_text_.clear();
    continue_relayed_ = false;
    interim_count_ = 0;
    body_.complete = true;
    body_.received = 0;
    body_.prefix = {};
    walk_begun_ = false;
    fresh_only_ = false;
    sent_attempts_ = refused_attempts_ = 0;
    takes_recovering_ = false;
    free_retry_used_ = blind_retry_used_ = holds_retry_ = false;
    tokens_taken_ = 0;
    sent_and_broken_ = sent_and_timed_out_ = own_lack_ = false;
    awaiting_head_ = taken_down_ = slot_counted_ = is_waiting_ = false;
    held_server_ = kNoServer;
    upload_running_ = false;
    committed_ = false;
    tunnel_.reset();
    backend_request_id_.clear();
    request_id_[0] = '\0';
    record_.clear();
    record_.site = site_->config->name;
    record_.is_s3 = site_->config->type == config::SiteType::s3;
    started_ = asked_at;
}

// Takes what there is of the head, without waiting.
Exchange::HeadRead Exchange::receive_head() {
    net::Stream& stream = client_->stream;
    const std::size_t limit = site_->config->limits.head;
    http::HeadScanner::State state = http::HeadScanner::State::incomplete;
    if (!client_->leftover.empty()) {
        if (client_->leftover.size() > head_buffer_.size()) {
            head_buffer_.resize(client_->leftover.size());
        }
        std::memcpy(head_buffer_.data(), client_->leftover.data(), client_->leftover.size());
        head_fill_ = client_->leftover.size();
        // Its memory too: an idle connection keeps nothing. (Assigning {} would keep it.)
        std::string().swap(client_->leftover);
        state = scanner_.scan({head_buffer_.data(), head_fill_}, head_);
    }
    while (state == http::HeadScanner::State::incomplete) {
        if (head_fill_ >= limit) {
            return HeadRead::too_long;
        }
        if (head_fill_ == head_buffer_.size()) {
            head_buffer_.resize(std::min(head_buffer_.size() * 2, std::max(limit, head_fill_)));
        }
        const std::size_t room =
            std::min(head_buffer_.size(), std::max(limit, kHeadBuffer)) - head_fill_;
        const ssize_t got = stream.receive(head_buffer_.data() + head_fill_, room);
        if (got > 0) {
            head_fill_ += static_cast<std::size_t>(got);
            state = scanner_.scan({head_buffer_.data(), head_fill_}, head_);
            continue;
        }
        if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
            fate_ = got == 0 ? ClientFate::finish : ClientFate::reset;
            if (head_fill_ > scanner_.begin()) {
                record_.status = 499;
                record_.error = "client closed in head";
                note_client(ClientFault::gone);
            }
            return HeadRead::closed;
        }
        return HeadRead::incomplete;
    }
    if (state == http::HeadScanner::State::bad) {
        meaning_.error = scanner_.error();
        return HeadRead::malformed;
    }
    const std::string_view raw(head_buffer_.data() + scanner_.begin(),
                               scanner_.end() - scanner_.begin());
    if (raw.size() > limit) {
        return HeadRead::too_long;
    }
    if (head_.raw.empty()) {
        meaning_.error = http::parse_request_head(raw, head_);
    }
    if (meaning_.error == http::HeadError::none) {
        meaning_ = http::meaning_of(head_);
    }
    if (meaning_.error != http::HeadError::none) {
        record_.method = head_.method;
        record_.target = head_.target;
        return HeadRead::malformed;
    }
    body_.begin(
        stream, meaning_.body,
        std::string_view(head_buffer_.data() + scanner_.end(), head_fill_ - scanner_.end()));
    body_.prefix_is_stable = true;
    body_.surplus = &client_->leftover;
    if (body_.complete) {
        client_->leftover.assign(body_.prefix);
        body_.prefix = {};
    }
    return HeadRead::complete;
}

net::task<Exchange::HeadRead> Exchange::wait_for_head() {
    // The whole head has one deadline: a client that trickles bytes makes no progress worth waiting
    // for.
    const net::Tick deadline = worker_.reactor.now() + state_->ticks.client_head;
    for (;;) {
        const auto left = static_cast<std::int32_t>(deadline - worker_.reactor.now());
        net::Wake wake = net::Wake::timed_out;
        if (left > 0) {
            // An empty line behind the last request (RFC 9112 §2.2) is no beginning of the next.
            const bool is_idle = head_fill_ == scanner_.begin();
            client_->set_awaits_request(is_idle);
            wake = co_await client_->stream.readable(static_cast<net::Tick>(left));
            client_->set_awaits_request(false);
            if (cut_ || client_->cut) {
                co_return HeadRead::closed;
            }
            if (is_idle && wake == net::Wake::interrupted && worker_.draining &&
                !client_->stream.has_unread()) {
                fate_ = ClientFate::finish;
                co_return HeadRead::closed;
            }
        }
        if (wake == net::Wake::timed_out) {
            break;
        }
        if (const HeadRead head = receive_head(); head != HeadRead::incomplete) {
            co_return head;
        }
    }
    if (head_fill_ == scanner_.begin()) {
        bump(worker_.counters.client_idle_closed);
        fate_ = ClientFate::finish;
        co_return HeadRead::closed;
    }
    bump(worker_.counters.client_head_timeouts);
    co_return HeadRead::timed_out;
}

net::task<void> Exchange::refuse_head(HeadRead why) {
    if (why == HeadRead::timed_out) {
        co_await reply(408, "RequestTimeout",
                       "The request head was not received within the timeout.", true);
        record_.error = "client head timeout";
        co_return;
    }
    bump(worker_.counters.refused_requests);
    if (why == HeadRead::too_long) {
        co_await refuse_long_head();
        co_return;
    }
    const http::HeadError error = meaning_.error;
    if (error == http::HeadError::too_many_fields) {
        co_await reply(431, "RequestHeaderSectionTooLarge", "Too many request header fields.",
                       true);
    } else {
        const int status = error == http::HeadError::bad_expectation ? 417 : 400;
        co_await reply(status, "InvalidRequest", http::to_string(error), true);
    }
    record_.error = http::to_string(error);
}

// A head beyond `limits.head`. What the log says of it is as it was received, not checked.
net::task<void> Exchange::refuse_long_head() {
    if (!scanner_.has_start_line()) {
        co_await reply(414, "InvalidURI", "The request target is longer than the server accepts.",
                       true);
        record_.error = "request line too long";
        co_return;
    }
    const std::string_view line = received_line();
    const std::size_t method_end = line.find(' ');
    const std::size_t target_end = line.rfind(' ');
    if (method_end < target_end && target_end != std::string_view::npos) {
        record_.method = line.substr(0, method_end);
        record_.target = line.substr(method_end + 1, target_end - method_end - 1);
    }
    co_await reply(431, "RequestHeaderSectionTooLarge",
                   "Your request header section exceeds the maximum allowed size.", true);
    record_.error = "request head too large";
}

// What the log and the counters get to know of a request that can be understood.
void Exchange::note_request() {
    bump(worker_.counters.requests);
    record_.method = head_.method;
    record_.target = head_.target;
    record_.host = meaning_.host;
    method_ = method_class_of(head_.method);
    waiting_ = site_->config->type == config::SiteType::s3
                   ? policy::waiting_of(head_.method, meaning_.path, meaning_.query)
                   : policy::Waiting::no;
    for (const http::Field& field : head_.fields) {
        if (field.id == http::FieldId::user_agent) {
            record_.user_agent = field.value;
        } else if (field.id == http::FieldId::referer) {
            record_.referer = field.value;
        } else if (field.id == http::FieldId::x_forwarded_for) {
            record_.forwarded_for = field.value;
        }
    }
}

bool Exchange::is_for_status_page() const {
    const config::StatusPage& status = site_->config->status;
    return status.enabled &&
           (method_ == policy::MethodClass::get || method_ == policy::MethodClass::head) &&
           meaning_.path.starts_with(status.path);
}

// The page's path but for the slash at its end, which people forget.
bool Exchange::lacks_status_slash() const {
    const config::StatusPage& status = site_->config->status;
    return status.enabled && status.path.ends_with('/') &&
           (method_ == policy::MethodClass::get || method_ == policy::MethodClass::head) &&
           meaning_.path == std::string_view(status.path).substr(0, status.path.size() - 1);
}

bool Exchange::may_see_status() const {
    return base::contains(site_->config->status.allow, client_->peer.ip());
}

// What a limit on clients, or on who may see the status page, forbids; no backend hears of it. Null
// when nothing does. (Connections that are too many were counted when they came.)
const Refusal* Exchange::refusal_of(bool wants_status) {
    if (client_->shed) {
        return &kShed;
    }
    if (client_->admission != ClientTable::Admission::served) {
        return &kTooManyConnections;
    }
    if (client_->entry != nullptr && site_->rate.interval > 0 &&
        !ClientTable::admit(*client_->entry, site_->rate, worker_.now_ns())) {
        bump(worker_.counters.requests_limited);
        return &kTooManyRequests;
    }
    if (wants_status) {
        bump(worker_.counters.status_page_denied);
        return &kStatusPageDenied;
    }
    return nullptr;
}

net::task<void> Exchange::reply_status_page() {
    std::vector<observe::StatusGroup> groups;
    const Board& board = *worker_.shared.board;
    for (const Group& group : groups_of(*generation_->snapshot)) {
        observe::StatusGroup& shown = groups.emplace_back();
        shown.name = group.name;
        shown.has_checkers = group.health->enabled;
        for (const GroupServer& server : group.servers) {
            if (server.peer_count == 0) {
                shown.peers.push_back({server.config->text, false, server.config->backup});
            }
            for (const std::uint32_t index : server.peers()) {
                const Peer& peer = group.peers[index];
                shown.peers.push_back(
                    {peer.address_text, is_usable(board, peer), server.config->backup});
            }
        }
    }
    const std::string text = observe::status_text(groups);
    const bool close = must_close_unlogged();
    reply_.clear();
    http::append_plain_reply(reply_, "text/plain; charset=utf-8", text,
                             method_ == policy::MethodClass::head, close, worker_.date());
    co_await send_unlogged(close);
}

net::task<void> Exchange::redirect_to_status_page() {
    const bool close = must_close_unlogged();
    std::string location = site_->config->status.path;
    if (!meaning_.query.empty()) {
        location.append("?").append(meaning_.query);
    }
    reply_.clear();
    http::append_redirect(reply_, location, close, worker_.date());
    co_await send_unlogged(close);
}

bool Exchange::must_close_unlogged() const {
    return !body_.complete || !meaning_.keep_alive || is_continue_due() || worker_.draining ||
           client_->shed || client_->admission != ClientTable::Admission::served;
}

net::task<void> Exchange::send_unlogged(bool close) {
    const bool taken = has_client_taken(
        co_await net::send_all(client_->stream, reply_, state_->ticks.client_write));
    fate_ = !taken ? ClientFate::reset : close ? ClientFate::linger : ClientFate::keep;
    record_.status = 0;  // docs/operations.md: the status page is not logged
}

void Exchange::make_request_id() {
    if (request_id_[0] == '\0') {
        const std::uint64_t id = worker_.next_random();
        for (std::size_t i = 0; i < 2; ++i) {
            const std::uint64_t digits = base::hex8(static_cast<std::uint32_t>(id >> 32 * i));
            std::memcpy(request_id_.data() + 8 * i, &digits, sizeof digits);
        }
    }
}

std::string_view Exchange::received_line() const {
    const std::string_view received(head_buffer_.data() + scanner_.begin(),
                                    head_fill_ - scanner_.begin());
    return received.substr(0, received.find('\r'));
}

// The path of a request whose head was refused: what a complete request line lets read.
std::string_view Exchange::refused_path() const {
    const std::string_view line = received_line();
    const std::size_t begin = line.find(" /");
    if (!scanner_.has_start_line() || begin == std::string_view::npos) {
        return "/";
    }
    return line.substr(begin + 1, line.find_first_of(" ?", begin + 1) - begin - 1);
}

net::task<void> Exchange::reply(int status, std::string_view code, std::string_view message,
                                bool close) {
    bump(worker_.counters.local_replies);
    make_request_id();
    http::LocalReply reply;
    reply.status = status;
    reply.code = code;
    reply.message = message;
    reply.resource = meaning_.path.empty() ? refused_path() : meaning_.path;
    reply.request_id = {request_id_.data(), 16};
    reply.host_id = worker_.shared.hostname;
    // Also of a head that was refused before it was parsed: whoever asks with HEAD reads no body.
    reply.head = head_.method.empty() ? std::string_view(head_buffer_.data(), head_fill_)
                                            .substr(scanner_.begin())
                                            .starts_with("HEAD ")
                                      : head_.method == "HEAD";
    reply.close =
        close || !body_.complete || !meaning_.keep_alive || head_.minor == 0 || worker_.draining ||
        head_.raw.empty() ||
        // A client that still waits for its 100 would take the next answer for this one's.
        is_continue_due();
    reply.retry_after = status == 503 ? 1 : 0;
    reply.page = site_->config->type == config::SiteType::http && http::asks_for_page(head_);
    reply_.clear();
    http::append_local_reply(reply_, reply, worker_.date());
    record_.status = static_cast<std::uint16_t>(status);
    record_.ttfb_ms =
        std::chrono::duration_cast<base::Duration>(worker_.reactor.now_point() - started_).count();
    // A stop waits for no client that does not take a few hundred bytes at once.
    const net::Tick patience = cut_ ? 1 : state_->ticks.client_write;
    if (!has_client_taken(co_await net::send_all(client_->stream, reply_, patience))) {
        fate_ = ClientFate::reset;
        record_.error = client_error();
        co_return;
    }
    const std::size_t body_at = reply_.find("\r\n\r\n");
    record_.bytes_out = reply_.size() - body_at - 4;
    fate_ = reply.close ? ClientFate::linger : ClientFate::keep;
}

net::task<void> Exchange::reply_failure() {
    // docs/architecture.md, "The life of one request".
    if (sent_and_timed_out_) {
        co_await reply(504, "RequestTimeout", "The storage server did not answer in time.", false);
    } else if (sent_and_broken_ && malformed_) {
        co_await reply(502, "InternalError", "The storage server sent a broken answer.", false);
    } else if (sent_and_broken_) {
        co_await reply(502, "InternalError",
                       "The storage server closed the connection before it answered.", false);
    } else if (own_lack_) {
        co_await reply(503, "SlowDown",
                       "The proxy is out of connections. Please reduce your request rate.", false);
    } else {
        co_await reply(503, "ServiceUnavailable",
                       "No storage server is available. Please try again.", false);
    }
}

bool Exchange::has_client_taken(net::RelayEnd end) {
    if (end == net::RelayEnd::complete) {
        return true;
    }
    note_client(end == net::RelayEnd::sink_timed_out ? ClientFault::stuck : ClientFault::gone);
    return false;
}

void Exchange::on_stream_event() {
    // Nobody reads from the client: pipelined bytes wait their turn.
    if (is_client_lost()) {
        on_client_gone();
    }
}

bool Exchange::is_client_lost() const {
    // A client that closes cannot be told from one that only shuts down its sending side (RFC 9112
    // §9.6 allows that). Servers take both for gone, and so must we: a backend that works on for a
    // client that left is lost to others. In a tunnel a FIN ends one direction, no more.
    const net::Stream& stream = client_->stream;
    return stream.is_broken() ||
           (stream.peer_finished() && !tunnelling_ &&
            site_->config->client_half_close == config::HalfClose::cut);
}

void Exchange::on_client_gone() {
    if (!client_gone_) {
        client_gone_ = true;
        down_.cancelled = true;
        tunnel_.on_client_broken();
        // A FIN gives no room: who waits for the client to take more would do so to its limit.
        client_->stream.interrupt_write();
        wake_main();
    }
}

void Exchange::wake_main() {
    if (is_waiting_) {
        stop_waiting(Pick::gone);
    }
    if (backend_) {
        backend_->stream.interrupt_read();
        backend_->stream.interrupt_write();
    }
}

void Exchange::on_backend_down(std::uint32_t slot) {
    if (awaiting_head_ && backend_ && backend_->slot() == slot && !response_byte_seen_) {
        taken_down_ = true;
        wake_main();
    }
}

bool Exchange::end_waiting_answer() {
    if (!is_endless() || cut_) {
        return false;
    }
    cut();
    return true;
}

// The client is gone, or a stop took the request from it: whoever is still there, and has got
// nothing yet, is told in words.
net::task<void> Exchange::end_for_client() {
    note_client(ClientFault::gone);
    if (cut_ && !committed_ && !client_->stream.is_broken()) {
        co_await reply(503, "ServiceUnavailable", "The proxy is stopping. Please try again.", true);
        record_.error = client_error();
        co_return;
    }
    record_.status = record_.status == 0 ? 499 : record_.status;
    record_.error = client_error();
    fate_ = ClientFate::reset;
}

void Exchange::cut() {
    cut_ = true;
    client_gone_ = true;
    up_.cancelled = down_.cancelled = true;
    tunnel_.cut();
    wake_main();
    client_->stream.interrupt_write();
}

void Exchange::settle() {
    if (backend_) {
        discard_attempt();
    }
    release_slot();
    up_.buffer.release();
    down_.buffer.release();
    down_.prefix_buffer.release();
    response_buffer_.release();
    replay_.reset(0);
    worker_.replay_used -= replay_reserved_;
    replay_reserved_ = 0;
    client_->stream.set_observer(nullptr);
    if (client_fault_ != ClientFault::none && !cut_ && !client_->cut) {
        bump(client_fault_ == ClientFault::stuck ? worker_.counters.client_write_timeouts
                                                 : worker_.counters.clients_gone);
    }
    if (fate_ == ClientFate::keep && (client_->stream.is_broken() || cut_)) {
        fate_ = ClientFate::reset;
    }
    if (record_.status != 0) {
        client_->learn_local_address();
        record_.local_ip = client_->local_ip();
        record_.client_ip = client_->ip();
        record_.bytes_in = body_.received;
        record_.duration =
            std::chrono::duration_cast<base::Duration>(worker_.reactor.now_point() - started_);
        if (key_.source != nullptr) {
            record_.key_source = site_->key_sources[static_cast<std::size_t>(
                key_.source - group_->balance->key.data())];
            record_.session = policy::is_secret(*key_.source) ? session_text() : key_.key;
        }
        make_request_id();
        record_.request_id = {request_id_.data(), 16};
        record_.backend_request_id = backend_request_id_;
        worker_.log(record_);
    }
    worker_.return_generation(generation_);
    generation_ = nullptr;
    if (head_buffer_.size() > kKeptHeadBuffer) {
        std::vector<char>().swap(head_buffer_);
    }
    client_ = nullptr;
}

}  // namespace s3gate::proxy
