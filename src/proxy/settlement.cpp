#include "settlement.hpp"

#include <array>

#include "s3gate/s3/operation.hpp"
#include "s3gate/state/bucket_figures.hpp"
#include "s3gate/state/labels.hpp"

namespace s3gate::proxy {
namespace {

void count_bucket(const ExchangeContext& context, state::BucketFigures& buckets) {
    const observe::RequestRecord& record = context.record;
    const state::BucketRequest request{
        .site = record.site,
        .bucket = record.bucket,
        .status_class = policy::class_of_status(record.status),
        .bytes_in = record.bytes_in,
        .bytes_out = record.bytes_out,
    };
    state::BucketCells<state::Counter>* const cells = buckets.find(context.worker.index, request);
    state::count(cells != nullptr ? *cells : context.figures().other_buckets, request);
}

// Operations without copies, by s3::ObjectQuery and policy::MethodClass; kOtherOperation: to be
// looked at in full.
constexpr auto kOfObject = [] {
    using policy::MethodClass;
    std::array<std::array<std::size_t, 6>, 4> places{};
    for (auto& row : places) {
        row.fill(state::kOtherOperation);
    }
    const auto set = [&](s3::ObjectQuery query, MethodClass method, std::string_view operation) {
        places[static_cast<std::size_t>(query)][static_cast<std::size_t>(method)] =
            state::place_of_operation(operation);
    };
    for (const auto query :
         {s3::ObjectQuery::object, s3::ObjectQuery::upload, s3::ObjectQuery::part}) {
        const bool is_upload = query != s3::ObjectQuery::object;
        set(query, MethodClass::get, is_upload ? "ListParts" : "GetObject");
        set(query, MethodClass::head, "HeadObject");
        set(query, MethodClass::put, query == s3::ObjectQuery::part ? "UploadPart" : "PutObject");
        set(query, MethodClass::delete_, is_upload ? "AbortMultipartUpload" : "DeleteObject");
    }
    return places;
}();

// The place of the operation. Where nobody needs the name, most requests do not need it either.
inline std::size_t find_operation(ExchangeContext& context, const Request& request,
                                  bool needs_name) {
    constexpr std::size_t kUnknown = state::place_of_operation("-");
    observe::RequestRecord& record = context.record;
    if (!needs_name && context.is_s3() && record.host_bucket.empty() && !record.has_copy_source) {
        const http::RequestMeaning& meaning = request.meaning();
        const s3::ObjectQuery query = s3::object_query_of(meaning.path, meaning.query);
        const std::size_t found =
            kOfObject[static_cast<std::size_t>(query)][static_cast<std::size_t>(request.method())];
        if (found != state::kOtherOperation) {
            return found;
        }
    }
    observe::name_operation(record);
    return context.is_s3() ? state::place_of_operation(record.operation) : kUnknown;
}

inline void count(ExchangeContext& context, const Request& request, bool is_logged) {
    state::BucketFigures* const buckets = context.worker.shared.board->buckets();
    const std::size_t operation = find_operation(context, request, is_logged || buckets != nullptr);
    const observe::RequestRecord& record = context.record;
    state::SiteFigures<state::Counter>& figures = context.figures();
    state::bump(
        figures.requests[figures.request_place(operation, policy::class_of_status(record.status))]);
    state::bump(figures.bytes[0], record.bytes_in);
    state::bump(figures.bytes[1], record.bytes_out);
    if (!record.group.empty()) {
        state::bump(figures.keys[state::place_of(request.key().source)]);
    }
    if (buckets != nullptr) {
        count_bucket(context, *buckets);
    }
}

inline void write_record(ExchangeContext& context, Request& request, Response& response) {
    observe::RequestRecord& record = context.record;
    ClientConnection& client = context.client;
    client.learn_local_address();
    record.local_ip = client.local->ip.view();
    record.client_ip = context.identity.text();
    record.peer_ip = client.peer_ip.view();
    record.duration = context.since(context.started);
    const policy::AffinityKey& key = request.key();
    if (key.source != nullptr) {
        record.key_source = context.site().key_sources[static_cast<std::size_t>(
            key.source - context.group().balance->key.data())];
        record.session = policy::is_secret(*key.source) ? request.session_text() : key.key;
    }
    if (context.worker.shows_access_keys()) {
        record.access_key = request.access_key();
    }
    record.request_id = response.request_id();
    record.backend_request_id = response.backend_request_id();
    context.worker.log(record);
}

}  // namespace

void settle(ExchangeContext& context, Request& request, Response& response) {
    const ClientConnection& client = context.client;
    state::WorkerCounters& counters = context.worker.counters;
    const ClientFault fault = context.client_fault();
    if (fault != ClientFault::none && !context.is_cut() && !client.cut) {
        state::bump(fault == ClientFault::stuck ? counters.client_write_timeouts
                                                : counters.clients_gone);
    }
    if (response.fate() == ClientFate::keep && (client.stream.is_broken() || context.is_cut())) {
        response.set_fate(ClientFate::reset);
    }
    if (context.record.status != 0) {
        const bool is_logged = context.worker.is_logging();
        context.record.bytes_in = request.body_received();
        if (!context.record.site.empty()) {
            count(context, request, is_logged);
        } else if (is_logged) {
            observe::name_operation(context.record);
        }
        if (is_logged) {
            write_record(context, request, response);
        }
    }
}

}  // namespace s3gate::proxy
