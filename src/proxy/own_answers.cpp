// Answers of the proxy itself: errors, the status page, the redirect to it.
#include <cstring>

#include "response.hpp"
#include "s3gate/base/text.hpp"
#include "s3gate/http/local_reply.hpp"
#include "s3gate/observe/status_page.hpp"
#include "s3gate/state/cluster_status.hpp"

namespace s3gate::proxy {

std::string_view Response::request_id() {
    if (request_id_[0] == '\0') {
        const std::uint64_t id = context_.worker.next_random();
        for (std::size_t i = 0; i < 2; ++i) {
            const std::uint64_t digits = base::hex8(static_cast<std::uint32_t>(id >> 32 * i));
            std::memcpy(request_id_.data() + 8 * i, &digits, sizeof digits);
        }
    }
    return {request_id_.data(), request_id_.size()};
}

net::task<void> Response::refuse_head(HeadRead why) {
    if (why == HeadRead::ended || why == HeadRead::broken) {
        fate_ = why == HeadRead::ended ? ClientFate::finish : ClientFate::reset;
    } else {
        co_await reply(answer_to_refused_head(context_, request_, why));
    }
}

net::task<void> Response::answer_here(const Dispatch& dispatched) {
    if (dispatched.to == Dispatch::To::status_page) {
        co_await reply_status_page();
    } else if (dispatched.to == Dispatch::To::status_redirect) {
        co_await redirect_to_status_page();
    } else {
        co_await reply(*dispatched.refusal);
    }
}

net::task<void> Response::reply(const LocalAnswer& answer) {
    Worker& worker = context_.worker;
    state::bump(worker.counters.local_replies);
    if (!context_.record.site.empty()) {
        state::bump(context_.figures().own_answers[state::place_of(state::kOwnCodes, answer.code)]);
    }
    http::LocalReply reply;
    reply.status = answer.status;
    reply.error.code = answer.code;
    reply.error.message = answer.message;
    reply.error.resource = request_.path();
    reply.error.request_id = request_id();
    reply.error.host_id = worker.shared.hostname;
    reply.head = request_.is_head();
    reply.close = answer.close || !request_.is_body_complete() || !request_.meaning().keep_alive ||
                  request_.head().minor == 0 || context_.is_last_answer() ||
                  request_.head().raw.empty() ||
                  // A client that still waits for its 100 would take the next answer for this
                  // one's.
                  request_.is_continue_due();
    reply.retry_after = answer.status == 503 ? 1 : 0;
    reply.page = !context_.is_s3() && http::asks_for_page(request_.head());
    memory_.text.clear();
    http::append_local_reply(memory_.text, reply, worker.date());
    observe::RequestRecord& record = context_.record;
    record.status = static_cast<std::uint16_t>(answer.status);
    record.ttfb_ms = context_.since(context_.started).count();
    // During a stop a client gets little time to take a few hundred bytes.
    const net::Tick patience = context_.is_cut() ? 1 : context_.ticks().client_write;
    const net::RelayEnd end =
        co_await net::send_all(context_.client.stream, memory_.text, patience);
    if (context_.note_client_end(end)) {
        const std::size_t body_at = memory_.text.find("\r\n\r\n");
        record.bytes_out = memory_.text.size() - body_at - 4;
        fate_ = reply.close ? ClientFate::linger : ClientFate::keep;
    } else {
        fate_ = ClientFate::reset;
        record.error = context_.client_error();
    }
    record.error = answer.error.empty() ? record.error : answer.error;
    context_.blame(answer.side, answer.stage);
}

net::task<void> Response::end_abandoned(policy::Stage stage) {
    context_.note_client(ClientFault::gone);
    const bool can_be_told =
        !is_committed_ && !is_interim_cut_ && !context_.client.stream.is_broken();
    if (context_.is_cut() && can_be_told) {
        co_await reply(answer_to_cut(context_.cut_reason().request, stage));
        co_return;
    }
    observe::RequestRecord& record = context_.record;
    record.status = record.status == 0 ? 499 : record.status;
    record.error = context_.client_error();
    context_.blame(context_.side_of_abandon(), stage);
    fate_ = ClientFate::reset;
}

net::task<void> Response::reply_status_page() {
    const std::string text = observe::status_text(
        state::cluster_status_of(context_.generation->snapshot(), *context_.worker.shared.board));
    const bool close = must_close_unlogged();
    memory_.text.clear();
    http::append_plain_reply(memory_.text, "text/plain; charset=utf-8", text, request_.is_head(),
                             close, context_.worker.date());
    co_await send_unlogged(close);
}

net::task<void> Response::redirect_to_status_page() {
    const bool close = must_close_unlogged();
    std::string location = context_.site().config->status.path;
    if (!request_.meaning().query.empty()) {
        location.append("?").append(request_.meaning().query);
    }
    memory_.text.clear();
    http::append_redirect(memory_.text, location, close, context_.worker.date());
    co_await send_unlogged(close);
}

bool Response::must_close_unlogged() const {
    return !request_.is_body_complete() || !request_.meaning().keep_alive ||
           request_.is_continue_due() || context_.is_last_answer() || context_.client.shed ||
           context_.client.admission != state::ClientTable::Admission::served;
}

net::task<void> Response::send_unlogged(bool close) {
    const bool is_taken = co_await send_text();
    fate_ = !is_taken ? ClientFate::reset : close ? ClientFate::linger : ClientFate::keep;
    context_.record.status = 0;  // docs/operations.md: the status page is not logged
}

}  // namespace s3gate::proxy
