#include "dispatch.hpp"

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

// True for the page's path without its final slash, a common mistake.
bool lacks_status_slash(const Request& request, const config::StatusPage& status) {
    return status.enabled && status.path.ends_with('/') && asks_to_read(request) &&
           request.meaning().path ==
               std::string_view(status.path).substr(0, status.path.size() - 1);
}

}  // namespace

Dispatch refuse_host(ExchangeContext& context) {
    context.record.site = {};  // the request is of none
    if (const LocalAnswer* const refusal = refusal_of(context.client)) {
        return {Dispatch::To::refusal, refusal};
    }
    state::bump(context.worker.counters.unknown_hosts);
    return {Dispatch::To::refusal, &kUnknownHost};
}

Dispatch dispatch(ExchangeContext& context, const Request& request) {
    const config::StatusPage& status = context.site().config->status;
    // The path of a request for a bucket's host is the key of an object.
    const bool is_at_bucket = !context.record.host_bucket.empty();
    const bool wants_page = !is_at_bucket && is_for_status_page(request, status);
    if ((wants_page || (!is_at_bucket && lacks_status_slash(request, status))) &&
        context.identity.is_in(status.allow)) {
        return {wants_page ? Dispatch::To::status_page : Dispatch::To::status_redirect};
    }
    const LocalAnswer* const refusal = refusal_of(context, wants_page);
    return {refusal != nullptr ? Dispatch::To::refusal : Dispatch::To::backends, refusal};
}

}  // namespace s3gate::proxy
