#include "attempt.hpp"

#include <algorithm>
#include <cerrno>

#include "response.hpp"
#include "s3gate/s3/error_code.hpp"

namespace s3gate::proxy {
namespace {

using policy::Cause;
using policy::Failure;
using policy::Side;
using policy::Stage;

// docs/architecture.md, "Reuse of pooled connections": writes prefer a connection that was used
// less than 5 s ago.
constexpr std::uint64_t kFreshForWrites = 5000;
// Time for an answer after the backend stopped reading the request.
constexpr net::Tick kAnswerAfterClose = 40;  // 10 s
// Time to wait for the code of a 503 after its head. Servers send both at once; a body that takes
// longer does not matter.
constexpr net::Tick kCodePatience = 4;  // 1 s, and up to one more tick

}  // namespace

Attempt::Attempt(ExchangeContext& context, Request& request, Response& response, Memory& memory,
                 const state::Peer& peer, ServerRoom room, Connection connection)
    : context_(context),
      request_(request),
      response_(response),
      peer_(peer),
      room_(std::move(room)),
      began_(context.worker.reactor.now_point()),
      in_flight_(context.worker, peer.slot),
      figures_(*context.group_state().figures[peer.server]),
      answer_(context, request, memory.answer),
      lists_(memory.lists),
      may_reuse_(connection == Connection::any) {}

Attempt::~Attempt() {
    count();
    if (backend_) {
        backend_->stream.close_with_reset();
    }
}

// docs/metrics.md says what each figure is. The bytes to the client are those of this attempt: no
// earlier one has sent any.
inline void Attempt::count() {
    state::bump(figures_.attempts[static_cast<std::size_t>(class_)]);
    state::bump(figures_.bytes[0], tunnelled_ + (up_ ? up_->payload_sent : 0));
    state::bump(figures_.bytes[1], response_.is_committed() ? context_.record.bytes_out : 0);
    const bool is_answered =
        class_ >= policy::AttemptClass::success && class_ <= policy::AttemptClass::server_error;
    if (is_answered) {
        figures_.duration.observe(static_cast<std::uint64_t>(nanoseconds()));
    }
}

net::task<policy::AttemptEnd> Attempt::run() {
    if (!take_parked()) {
        const net::ConnectEnd end =
            co_await net::connect_backend(*backend_, peer_.address, context_.ticks().connect);
        if (end != net::ConnectEnd::connected) {
            co_return connect_failure(end);
        }
        figures_.connect.observe(static_cast<std::uint64_t>(nanoseconds()));
    } else {
        state::bump(figures_.reused[0]);
    }
    context_.record.attempt().connected_ns = is_reused_ ? 0 : nanoseconds();
    begin_upload();
    std::optional<Failure> failure;
    AnswerHead head = AnswerHead::pending;
    for (;;) {
        if (is_interrupted()) {
            failure = ended_early();
            if (failure) {
                break;
            }
        }
        head = answer_.receive(stream(), is_uploading_);
        if (head == AnswerHead::interim) {
            head = co_await relay_interims();
        }
        if (head != AnswerHead::pending) {
            failure = failure_of_head(head);
            break;
        }
        answer_.release_read();
        if (!stream().is_readable()) {
            const net::Wake wake = co_await stream().readable(patience());
            if (is_silence(wake)) {
                failure = this->failure(Cause::no_answer, "backend response timeout");
                break;
            }
        }
    }
    phase_ = Phase::ended;
    if (failure) {
        co_return *failure;
    }
    const std::int64_t took = nanoseconds();
    context_.record.attempt().answered_ns = took;
    figures_.head.observe(static_cast<std::uint64_t>(took));
    if (answer_.head().status == 503 && is_code_wanted()) {
        co_await await_code();
    }
    co_return answer_of_head();
}

// Takes a parked connection, or makes one to connect. True for a parked one.
inline bool Attempt::take_parked() {
    Worker& worker = context_.worker;
    const std::string_view preamble = request_.preamble();
    if (may_reuse_) {
        const std::uint64_t fresh_within = request_.is_read() ? 0 : kFreshForWrites;
        backend_ = preamble.empty() ? worker.pool.take(peer_.slot, fresh_within)
                                    : worker.pool.take_own(peer_.slot, fresh_within, preamble);
    }
    is_reused_ = static_cast<bool>(backend_);
    if (!is_reused_) {
        backend_ =
            std::make_unique<net::BackendConnection>(worker.reactor, worker.pool, peer_.slot);
        backend_->preamble = preamble;
    }
    if (!preamble.empty()) {
        request_.set_preamble_sent(!is_reused_);
    }
    return is_reused_;
}

Failure Attempt::connect_failure(net::ConnectEnd end) const {
    switch (end) {
        case net::ConnectEnd::timed_out:
            // Nobody answered: the way is cut, or the host is off.
            return {Cause::connect_timeout, Side::network, Stage::connect, false, false,
                    "connect timed out"};
        case net::ConnectEnd::unreachable:
            return {Cause::refused, Side::network, Stage::connect, false, false, "unreachable"};
        case net::ConnectEnd::no_descriptor:
            return {Cause::no_descriptor, Side::proxy, Stage::connect, false, false,
                    "out of descriptors"};
        case net::ConnectEnd::interrupted:
            return {Cause::interrupted, context_.side_of_abandon(), Stage::connect};
        default:
            return {Cause::refused, Side::backend, Stage::connect, false, false, "connect refused"};
    }
}

inline void Attempt::begin_upload() {
    phase_ = Phase::awaiting_head;
    Worker& worker = context_.worker;
    ++backend_->requests;
    net::BodyRelay& up = up_.emplace(request_.body(), stream(),
                                     net::RelayMeans{worker.buffers, worker.pipes, lists_});
    up.head = &request_.pieces();
    up.replay = request_.replay();
    up.resend = up.replay != nullptr && up.replay->size() > 0;
    up.chunked_out = request_.meaning().body.kind == http::BodyKind::chunked;
    // While the backend may still ask for the body, the client rightly sends nothing.
    up.read_timeout =
        request_.is_continue_due() ? request_.head_ticks() : context_.ticks().client_body;
    up.write_timeout = context_.ticks().backend_body;
    up.sink_is_backend = true;
    if (!net::relay_at_once(up)) {
        upload_half();
    }
}

net::detached Attempt::upload_half() {
    is_uploading_ = true;
    upload_end_ = co_await net::relay_body(*up_);
    is_uploading_ = false;
    context_.client_watch.on_stream_event();
    if (upload_joiner_) {
        context_.worker.reactor.post(std::exchange(upload_joiner_, nullptr));
    } else if (backend_) {
        // Wakes the other half, which looks at this end and restarts its own timeout.
        stream().interrupt_read();
    }
}

net::task<void> Attempt::end_upload() {
    up_->cancelled = true;
    context_.client.stream.interrupt_read();
    if (backend_) {
        stream().interrupt_write();
    }
    struct Join {
        Attempt& attempt;
        bool await_ready() const noexcept { return !attempt.is_uploading_; }
        void await_suspend(std::coroutine_handle<> self) const { attempt.upload_joiner_ = self; }
        void await_resume() const noexcept {}
    };
    co_await Join{*this};
}

std::optional<Failure> Attempt::ended_early() const {
    if (context_.is_abandoned()) {
        return failure(Cause::abandoned, {}, context_.side_of_abandon());
    }
    if (was_taken_down_) {
        return failure(Cause::went_down, "backend taken down");
    }
    return is_uploading_ ? std::nullopt : failure_of_upload();
}

std::optional<Failure> Attempt::failure_of_upload() const {
    switch (upload_end_) {
        case net::RelayEnd::source_timed_out:
            if (request_.is_continue_due() && !up_->body_sent) {
                // The client waited for a 100 that this backend never sent.
                return failure(Cause::no_answer, "backend response timeout");
            }
            return failure(Cause::client_stalled, "client body timeout", Side::client);
        case net::RelayEnd::source_malformed:
            return failure(Cause::client_malformed, "malformed chunked body", Side::client);
        case net::RelayEnd::source_closed:
            return failure(Cause::abandoned, {}, context_.side_of_abandon());
        case net::RelayEnd::sink_timed_out:
            return failure(Cause::stopped_reading, "backend stopped reading");
        default:
            return std::nullopt;  // a backend that closed may have sent an answer
    }
}

inline std::optional<Failure> Attempt::failure_of_head(AnswerHead head) const {
    switch (head) {
        case AnswerHead::closed:
            return closed();
        case AnswerHead::malformed:
            return failure(Cause::malformed, answer_.error());
        case AnswerHead::interim:  // the client did not take it
            return failure(Cause::abandoned, {}, context_.side_of_abandon());
        default:
            return std::nullopt;
    }
}

// Relays the interim heads that have arrived. Returns `interim` if the client did not take one.
net::task<AnswerHead> Attempt::relay_interims() {
    AnswerHead head = AnswerHead::interim;
    while (head == AnswerHead::interim) {
        if (!response_.admits_interim()) {
            co_return answer_.refuse("too many interim responses");
        }
        has_continued_ = has_continued_ || answer_.head().status == 100;
        const bool was_continue_due = request_.is_continue_due();
        const bool is_taken = co_await response_.relay_interim(answer_.head());
        if (!is_taken) {
            break;
        }
        if (was_continue_due && !request_.is_continue_due()) {
            // From now on the client must send its body, within the client's limit.
            up_->read_timeout = context_.ticks().client_body;
            context_.client.stream.interrupt_read();
        }
        head = answer_.scan(is_uploading_);
    }
    co_return head;
}

// A backend that stopped reading may have answered (an early 403 before a close). Its answer gets
// less time.
net::Tick Attempt::patience() const {
    const net::Tick patience = request_.head_ticks();
    return upload_end_ == net::RelayEnd::complete ? patience
                                                  : std::min(patience, kAnswerAfterClose);
}

// True if the answer's time is over. During the upload the upload's limits apply; the answer's time
// begins when the request is complete. If the upload ended in this tick (a client that stalled),
// its end is handled first.
inline bool Attempt::is_silence(net::Wake wake) const {
    const bool is_told =
        upload_end_ == net::RelayEnd::complete || upload_end_ == net::RelayEnd::sink_closed;
    return wake == net::Wake::timed_out && !is_uploading_ && is_told;
}

// True if the code of a 503 matters: for a retry by row 5, or for a passive mark. Servers of plain
// sites send no codes.
bool Attempt::is_code_wanted() const {
    if (!context_.is_s3()) {
        return false;
    }
    const bool may_repeat = context_.group().retry->on.http_503 && request_.is_in_hand() &&
                            policy::may_follow_503(request_.traits());
    return may_repeat || policy::is_marked(context_.worker.shared.board->passive(peer_.slot));
}

// Called after the head of a 503. Waits for a body in a later packet that may contain the code.
net::task<void> Attempt::await_code() {
    const net::Tick end = context_.worker.reactor.now() + kCodePatience;
    while (!context_.is_abandoned() && answer_.is_code_open()) {
        const ssize_t got = answer_.receive_more(stream());
        if (got > 0) {
            continue;
        }
        const auto left = static_cast<std::int32_t>(end - context_.worker.reactor.now());
        if (got == 0 || (errno != EAGAIN && errno != EINTR) || left <= 0) {
            co_return;  // the relay will see the same end
        }
        if (errno == EAGAIN) {
            co_await stream().readable(static_cast<net::Tick>(left));
        }
    }
}

inline policy::Answer Attempt::answer_of_head() {
    const int status = answer_.head().status;
    policy::Answer answer{.status = status, .is_load = status == 429};
    if (status != 503) {
        answer.is_well = context_.is_s3() || status < 500;
        return answer;
    }
    const std::string_view code = answer_.error_code();
    const s3::CodeMeaning meaning = s3::meaning_of_code(code);
    answer.is_load = meaning == s3::CodeMeaning::load;
    answer.not_ready = meaning == s3::CodeMeaning::not_ready;
    // A server that closes without a code is about to end (MinIO: "http: Server closed").
    const bool is_ending = code.empty() && !answer_.meaning().keep_alive;
    answer.is_well = context_.is_s3() && !answer.not_ready && !is_ending;
    return answer;
}

Failure Attempt::failure(Cause cause, std::string_view error, Side side) const {
    return {.cause = cause,
            .side = side,
            .stage = answer_.has_begun() ? Stage::answer : Stage::request,
            .is_reused = is_reused_,
            .has_sent_body = up_->body_sent,
            .error = error};
}

// The failure if the connection ended before the head of an answer was complete.
Failure Attempt::closed() const {
    // If the connection died before our first byte, the request was not executed, whatever its
    // method. (Reads go to the same backend again: row 4.)
    const bool is_dead =
        !up_->any_sent && !answer_.has_begun() && !request_.is_read() && request_.may_start_over();
    // The backend is not at fault if it gave up on a client that sent nothing.
    const bool is_client_silent = is_uploading_ && context_.client.stream.has_reader();
    // The kernel tells an error once: to the upload or to the answer's reader.
    const int errors[] = {answer_.close_error(), up_->error};
    const bool is_lost = std::ranges::any_of(errors, net::is_network_error);
    Failure failed = failure(is_dead ? Cause::dead : Cause::closed,
                             answer_.has_begun() ? "backend closed in head" : "backend closed",
                             is_lost            ? Side::network
                             : is_client_silent ? Side::client
                                                : Side::backend);
    failed.is_reset = answer_.close_error() != 0 || up_->error != 0;
    return failed;
}

void Attempt::on_backend_down(std::uint32_t slot) {
    if (phase_ == Phase::awaiting_head && peer_.slot == slot && !answer_.has_begun()) {
        was_taken_down_ = true;
        wake();
    }
}

void Attempt::wake() {
    if (backend_) {
        stream().interrupt_read();
        stream().interrupt_write();
    }
}

void Attempt::cut() {
    if (up_) {
        up_->cancelled = true;
    }
}

void Attempt::close() {
    stream().close();
    backend_.reset();
}

}  // namespace s3gate::proxy
