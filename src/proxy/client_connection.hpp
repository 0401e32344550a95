// One client: its socket, its addresses, and state kept between requests. It is small because tens
// of thousands of idle clients exist; the state of a request is in a pooled Exchange. Owned by its
// worker, freed at the end of its coroutine.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "client_identity.hpp"
#include "s3gate/net/stream.hpp"
#include "s3gate/net/task.hpp"
#include "s3gate/policy/affinity_key.hpp"
#include "worker.hpp"

namespace s3gate::proxy {

class Exchange;

struct ClientConnection : ClientHook {
    ClientConnection(Worker& owner, const base::SocketAddress& peer_address,
                     Acceptor& came_through);

    Worker& worker;
    net::Stream stream;
    const base::SocketAddress peer;  // other end of the TCP connection
    base::SocketAddress source;      // who connected: the peer, or whom the peer's header names
    Acceptor& acceptor;              // of the worker; lives as long as its clients
    const base::TimePoint came;      // it was taken in
    Exchange* exchange = nullptr;    // of its request in progress
    std::uint32_t requests = 0;
    std::uint32_t generation = 0;  // number of the one that let it in
    net::Tick idle_since = 0;      // set with awaits_request
    bool awaits_request = false;   // between requests, and no byte of the next has arrived
    bool awaits_begin =
        false;  // a request has arrived and waits for its turn (net::Reactor::begin_work)
    bool lingers = false;             // the last answer is sent; further input is discarded
    bool shed = false;                // over limits.connections: its first request is answered 503
    bool cut = false;                 // the worker stops
    bool has_unnamed_source = false;  // the peer's header names nobody; the source is the peer
    bool had_long_answer =
        false;  // the last GET's answer was long enough to splice after a short read
    state::ClientTable::Admission admission = state::ClientTable::Admission::served;
    // Cell of the site that counts this connection; none before its source is known.
    std::optional<std::uint32_t> site;
    state::ClientTable::Entry* entry = nullptr;  // null where the site does not limit its clients
    base::IpText peer_ip;
    base::IpText source_ip;
    // Address that the client connected to; the first request that needs it asks the kernel.
    struct Local {
        explicit Local(const base::SocketAddress& at) : address(at), ip(at.ip()) {}
        base::SocketAddress address;
        base::IpText ip;
    };
    std::optional<Local> local;
    std::unique_ptr<NamedClient> named;    // null until a trusted source names a client
    policy::FingerprintCache fingerprint;  // of the last request
    std::string leftover;                  // bytes of the next, pipelined request

    // Names the source. Call it before the client is admitted: the limits count the source.
    void set_source(const base::SocketAddress& named_source);
    void set_awaits_request(bool awaits) {
        awaits_request = awaits;
        if (awaits) {
            idle_since = stream.reactor().now();
        }
    }
    // Fills `local` where the peer's header has not named it.
    void learn_local_address();
};

// Serves requests until the connection ends; frees `client`.
net::detached serve_client(ClientConnection* client);
// The same, for a client whose peer names its source in a header of the PROXY protocol first.
net::detached serve_proxied_client(ClientConnection* client);

}  // namespace s3gate::proxy
