#include "settlement.hpp"

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

inline void count(const ExchangeContext& context, const policy::AffinityKey& key) {
    const observe::RequestRecord& record = context.record;
    state::SiteFigures<state::Counter>& figures = context.figures();
    const std::size_t operation =
        state::place_of_operation(context.is_s3() ? record.operation : "-");
    state::bump(
        figures.requests[figures.request_place(operation, policy::class_of_status(record.status))]);
    state::bump(figures.bytes[0], record.bytes_in);
    state::bump(figures.bytes[1], record.bytes_out);
    if (!record.group.empty()) {
        state::bump(figures.keys[state::place_of(key.source)]);
    }
    if (state::BucketFigures* const buckets = context.worker.shared.board->buckets()) {
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
    record.bytes_in = request.body_received();
    record.duration = context.since(context.started);
    const policy::AffinityKey& key = request.key();
    if (key.source != nullptr) {
        record.key_source = context.site.key_sources[static_cast<std::size_t>(
            key.source - context.group.balance->key.data())];
        record.session = policy::is_secret(*key.source) ? request.session_text() : key.key;
    }
    if (context.worker.shows_access_keys()) {
        record.access_key = request.access_key();
    }
    record.request_id = response.request_id();
    record.backend_request_id = response.backend_request_id();
    observe::name_operation(record);
    count(context, key);
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
        write_record(context, request, response);
    }
}

}  // namespace s3gate::proxy
