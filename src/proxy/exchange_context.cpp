#include "exchange_context.hpp"

namespace s3gate::proxy {

bool ExchangeContext::serve_host(std::string_view host) {
    const auto found = address.address->site_of(host);
    if (found) {
        const SiteAtWork chosen = generation->site(*found);
        serve_at(chosen);
        worker.move_client(client, chosen, generation->number());
    }
    return found.has_value();
}

}  // namespace s3gate::proxy
