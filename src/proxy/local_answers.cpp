#include "local_answers.hpp"

#include "s3gate/http/head.hpp"
#include "s3gate/http/proxy_protocol.hpp"

namespace s3gate::proxy {
namespace {

using policy::Side;
using policy::Stage;

constexpr LocalAnswer kShed{
    503,          "SlowDown",         "Too many connections, reduce your request rate.",
    true,         "connection limit", Side::proxy,
    Stage::limits};
constexpr LocalAnswer kTooManyConnections{
    503,
    "SlowDown",
    "Too many connections from your address, reduce your request rate.",
    true,
    "client connection limit",
    Side::client,
    Stage::limits};
constexpr LocalAnswer kTooManyRequests{
    503,          "SlowDown",   "Please reduce your request rate.", false, "client rate limit",
    Side::client, Stage::limits};
// From a peer whose header is not read. A source that anybody could name would be worth nothing.
constexpr std::string_view kUnexpectedHeader = "unexpected PROXY protocol header";
constexpr LocalAnswer kProxyHeaderRefused{400, "InvalidRequest", kUnexpectedHeader, true,
                                          kUnexpectedHeader};
constexpr LocalAnswer kStatusPageDenied{403,          "AccessDenied",       "Access Denied.",
                                        false,        "status page denied", Side::client,
                                        Stage::limits};

// True if the client sends more requests than the site lets it. Counts the request otherwise.
bool exceeds_rate(const ExchangeContext& context) {
    const policy::RateRule& rate = context.site().rate;
    if (rate.interval == 0) {
        return false;
    }
    state::ClientTable::Entry* const entry = context.identity.rate_entry(context.site().cell);
    return entry != nullptr && !state::ClientTable::admit(*entry, rate, context.worker.now_ns());
}

// A head beyond `limits.head`. The log shows the received bytes without checks.
LocalAnswer answer_to_long_head(ExchangeContext& context, const Request& request) {
    if (!request.has_start_line()) {
        return {414, "InvalidURI", "The request target is longer than the server accepts.", true,
                "request line too long"};
    }
    const std::string_view line = request.received_line();
    const std::size_t method_end = line.find(' ');
    const std::size_t target_end = line.rfind(' ');
    if (method_end < target_end && target_end != std::string_view::npos) {
        context.record.method = line.substr(0, method_end);
        context.record.target = line.substr(method_end + 1, target_end - method_end - 1);
    }
    return {431, "RequestHeaderSectionTooLarge",
            "Your request header section exceeds the maximum allowed size.", true,
            "request head too large"};
}

constexpr LocalAnswer kNoBackend{503,
                                 "ServiceUnavailable",
                                 "No storage server is available. Please try again.",
                                 false,
                                 {},
                                 Side::backend,
                                 Stage::choice};

LocalAnswer answer_to(const policy::Failure& failure) {
    using policy::Cause;
    switch (failure.cause) {
        case Cause::client_stalled:
            return {408, "RequestTimeout", "The request body was not received within the timeout.",
                    true, failure.error};
        case Cause::client_malformed:
            return {400, "InvalidRequest", "The chunked request body is malformed.", true,
                    failure.error};
        case Cause::no_answer:
        case Cause::stopped_reading:
        case Cause::went_down:
            return {504, "RequestTimeout", "The storage server did not answer in time."};
        case Cause::malformed:
            return {502, "InternalError", "The storage server sent a broken answer."};
        case Cause::closed:
            return {502, "InternalError",
                    "The storage server closed the connection before it answered."};
        case Cause::no_descriptor:
            return {503, "SlowDown",
                    "The proxy is out of connections. Please reduce your request rate."};
        default:
            return kNoBackend;
    }
}

}  // namespace

LocalAnswer answer_to_refused_head(ExchangeContext& context, const Request& request, HeadRead why) {
    if (why == HeadRead::timed_out) {
        return {408, "RequestTimeout", "The request head was not received within the timeout.",
                true, "client head timeout"};
    }
    state::bump(context.worker.counters.refused_requests);
    if (why == HeadRead::too_long) {
        return answer_to_long_head(context, request);
    }
    if (http::begins_like_proxy_header(request.received())) {
        return kProxyHeaderRefused;
    }
    const http::HeadError error = request.head_error();
    if (error == http::HeadError::too_many_fields) {
        return {431, "RequestHeaderSectionTooLarge", "Too many request header fields.", true,
                http::to_string(error)};
    }
    const int status = error == http::HeadError::bad_expectation ? 417 : 400;
    return {status, "InvalidRequest", http::to_string(error), true, http::to_string(error)};
}

LocalAnswer answer_to_refused_source(ExchangeContext& context, const SourceRead& read) {
    state::WorkerCounters& counters = context.worker.counters;
    switch (read.end) {
        case SourceRead::End::refused:
            state::bump(counters.proxy_headers_refused);
            return {400, "InvalidRequest",
                    "This address takes requests from your address only behind a PROXY protocol "
                    "header.",
                    true, http::to_string(read.error)};
        case SourceRead::End::timed_out:
            state::bump(counters.proxy_header_timeouts);
            return {408, "RequestTimeout", {}, true, "PROXY protocol header timeout"};
        default:
            context.note_client(ClientFault::gone);
            return {499, {}, {}, true, "client closed in PROXY protocol header"};
    }
}

const LocalAnswer* refusal_of(const ClientConnection& client) {
    if (client.shed) {
        return &kShed;
    }
    return client.admission != state::ClientTable::Admission::served ? &kTooManyConnections
                                                                     : nullptr;
}

const LocalAnswer* refusal_of(ExchangeContext& context, bool wants_status) {
    Worker& worker = context.worker;
    if (const LocalAnswer* const refusal = refusal_of(context.client)) {
        return refusal;
    }
    if (exceeds_rate(context)) {
        state::bump(worker.counters.requests_limited);
        return &kTooManyRequests;
    }
    if (wants_status) {
        state::bump(worker.counters.status_page_denied);
        return &kStatusPageDenied;
    }
    return nullptr;
}

LocalAnswer answer_to_failure(const policy::Failure* decisive, bool is_all_out) {
    LocalAnswer answer = kNoBackend;
    if (decisive != nullptr) {
        answer = answer_to(*decisive);
        answer.side = decisive->side;
        answer.stage = decisive->stage;
    } else if (is_all_out) {
        answer.side = Side::proxy;
    }
    return answer;
}

LocalAnswer answer_to_broken_body(bool is_timeout, std::string_view error, policy::Side side) {
    if (is_timeout) {
        return {504,  "RequestTimeout", "The storage server did not answer in time.", false, error,
                side, Stage::body};
    }
    return {502,  "InternalError", "The storage server sent a broken answer.", false, error,
            side, Stage::body};
}

}  // namespace s3gate::proxy
