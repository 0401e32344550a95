// The client of one request, as limits, allow lists, the fingerprint, forwarded fields and the log
// use it. policy/client_identity.hpp decides who it is. One per request; one worker's thread.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "s3gate/base/address.hpp"
#include "s3gate/http/head.hpp"
#include "s3gate/policy/client_identity.hpp"
#include "s3gate/state/client_table.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::proxy {

struct ClientConnection;

// A place in the table of clients, for the rate of requests that others forward.
class BorrowedEntry {
  public:
    BorrowedEntry(state::ClientTable& table, state::CellId site, const base::IpAddress& ip)
        : table_(table), entry_(table.borrow(site, ip)), site_(site) {}
    ~BorrowedEntry() { table_.give_back(entry_); }
    BorrowedEntry(const BorrowedEntry&) = delete;
    BorrowedEntry& operator=(const BorrowedEntry&) = delete;
    state::ClientTable::Entry& entry() const { return entry_; }
    state::CellId site() const { return site_; }

  private:
    state::ClientTable& table_;
    state::ClientTable::Entry& entry_;
    state::CellId site_;
};

// The client that a trusted source named last. It is kept with the connection: a proxy often sends
// several requests of one client in a row.
struct NamedClient {
    explicit NamedClient(const base::IpAddress& address) : ip(address), text(address) {}

    base::IpAddress ip;
    base::IpText text;
    std::optional<BorrowedEntry> place;  // where the site limits the rate of its clients
};

class ClientIdentity {
  public:
    // The source is the client, until a head says otherwise. `is_source_known` is false where a
    // proxy connected and named nobody: its fields are not believed.
    ClientIdentity(ClientConnection& connection, const base::IpAddress& source,
                   std::string_view source_text, bool is_source_known)
        : connection_(connection), ip_(&source), text_(source_text), is_known_(is_source_known) {}

    // Reads from the head who the client is, if the source is trusted.
    void learn(const config::Forwarded& rules, const http::RequestHead& head) {
        if (policy::is_believed(rules, *ip_) && is_known_) {
            learn_from_trusted(rules, head);
        }
    }
    // Without brackets and port.
    std::string_view text() const { return text_; }
    // With the port of the connection if the client is the source, else with port 0.
    base::SocketAddress address() const;
    // True if the fields of the source are kept.
    bool has_trusted_source() const { return has_trusted_source_; }
    // True if an allow list contains the client.
    bool is_in(const std::vector<base::Cidr>& allow) const {
        return is_known_ && base::contains(allow, *ip_);
    }
    // The client's place for the rate of its requests at a site that limits it; null if it has
    // none.
    state::ClientTable::Entry* rate_entry(state::CellId site) const;

  private:
    void learn_from_trusted(const config::Forwarded& rules, const http::RequestHead& head);

    ClientConnection& connection_;
    const base::IpAddress* ip_;  // of the source, or of the connection's NamedClient
    std::string_view text_;
    bool has_trusted_source_ = false;
    bool is_known_;
};

}  // namespace s3gate::proxy
