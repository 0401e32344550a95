#include "exchange_context.hpp"

namespace s3gate::proxy {

bool ExchangeContext::serve_host(std::string_view host) {
    const auto found = address.address->site_of(host);
    if (found) {
        serve_at(generation->site(*found));
        worker.move_client(client, *site_);
    }
    return found.has_value();
}

}  // namespace s3gate::proxy
