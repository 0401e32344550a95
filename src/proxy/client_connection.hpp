// One client: its socket, its addresses, what is remembered between requests. Small, because tens
// of thousands of idle ones exist; everything a request needs is in a pooled Exchange. Owned by its
// worker, freed by its own coroutine's end.
#pragma once

#include <array>
#include <string>

#include "s3gate/net/stream.hpp"
#include "s3gate/net/task.hpp"
#include "s3gate/policy/affinity_key.hpp"
#include "worker.hpp"

namespace s3gate::proxy {

struct ClientConnection : ClientHook {
    ClientConnection(Worker& owner, const base::SocketAddress& peer_address,
                     const Listener& came_through);

    Worker& worker;
    net::Stream stream;
    base::SocketAddress peer;
    const Listener& listener;
    std::uint32_t requests = 0;
    net::Tick idle_since = 0;      // while awaits_request
    bool awaits_request = false;   // before the first or between two, nothing received of the next
    bool awaits_begin = false;     // asked, and waits for its turn (net::Reactor::begin_work)
    bool lingers = false;          // answered for the last time; what it still sends is discarded
    bool shed = false;             // over limits.connections: its first request is answered 503
    bool cut = false;              // the worker stops
    bool had_long_answer = false;  // the last GET's: long enough to be spliced behind a short read
    state::ClientTable::Admission admission = state::ClientTable::Admission::served;
    std::uint32_t site = 0;                      // cell of the site whose connection count it is in
    state::ClientTable::Entry* entry = nullptr;  // where the site limits its clients
    std::array<char, 46> ip_text{};
    std::uint8_t ip_length = 0;
    // Address the client connected to, asked of the kernel when the first request needs it.
    std::array<char, 46> local_text{};
    std::uint8_t local_length = 0;
    std::uint16_t local_port = 0;
    policy::FingerprintCache fingerprint;  // of the last request
    std::string leftover;                  // bytes of the next, pipelined request

    void set_awaits_request(bool awaits) {
        awaits_request = awaits;
        if (awaits) {
            idle_since = stream.reactor().now();
        }
    }
    void learn_local_address();
    std::string_view local_ip() const { return {local_text.data(), local_length}; }
    std::string_view ip() const { return {ip_text.data(), ip_length}; }
};

// Serves requests until the connection ends; frees `client`.
net::detached serve_client(ClientConnection* client);

}  // namespace s3gate::proxy
