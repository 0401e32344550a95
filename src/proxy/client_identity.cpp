#include "client_identity.hpp"

#include <memory>
#include <ranges>

#include "client_connection.hpp"

namespace s3gate::proxy {

void ClientIdentity::learn_from_trusted(const config::Forwarded& rules,
                                        const http::RequestHead& head) {
    policy::ForwardedWalk walk(*ip_, rules.trusted);
    for (const http::Field& field : head.fields | std::views::reverse) {
        if (field.id == http::FieldId::x_forwarded_for && !walk.take(field.value)) {
            break;
        }
    }
    const policy::Client& client = walk.client();
    has_trusted_source_ = true;
    is_known_ = client.is_known;
    if (client.ip == *ip_) {
        return;
    }
    std::unique_ptr<NamedClient>& named = connection_.named;
    if (!named) {
        named = std::make_unique<NamedClient>(client.ip);
    } else if (named->ip != client.ip) {
        named->place.reset();
        named->ip = client.ip;
        named->text = base::IpText(client.ip);
    }
    ip_ = &named->ip;
    text_ = named->text.view();
}

base::SocketAddress ClientIdentity::address() const {
    const base::SocketAddress& source = connection_.source;
    return ip_ == &source.ip() ? source : base::SocketAddress(*ip_, 0);
}

state::ClientTable::Entry* ClientIdentity::rate_entry(state::CellId site) const {
    if (ip_ == &connection_.source.ip()) {
        return connection_.entry;
    }
    std::optional<BorrowedEntry>& place = connection_.named->place;
    if (!place || place->site() != site) {
        place.emplace(*connection_.worker.shared.clients, site, *ip_);
    }
    return &place->entry();
}

}  // namespace s3gate::proxy
