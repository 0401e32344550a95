#include "client_connection.hpp"

#include <algorithm>
#include <cerrno>

#include "exchange.hpp"
#include "s3gate/net/listen_socket.hpp"
#include "source_header.hpp"

namespace s3gate::proxy {
namespace {

// An SDK may have more than 1 MiB in flight and must still read the error. Discarding costs little:
// MSG_TRUNC copies no bytes.
constexpr std::size_t kLingerBytes = 16 * 1024 * 1024;
constexpr net::Tick kLingerTicks = 20;      // 5 s
constexpr std::size_t kMaxLingering = 512;  // per worker, at once

// Closes so that the peer can still read the answer: sends FIN, then discards what the peer sends,
// within bounds. A close() with unread bytes sends RST, and the peer's kernel may then drop the
// answer.
net::task<void> linger(ClientConnection& client) {
    Worker& worker = client.worker;
    net::Stream& stream = client.stream;
    stream.shutdown_write();
    if (stream.is_broken() || worker.lingering >= kMaxLingering || worker.stopping) {
        co_return;
    }
    ++worker.lingering;
    client.lingers = true;
    const net::Tick end = worker.reactor.now() + kLingerTicks;
    std::size_t discarded = 0;
    while (discarded < kLingerBytes && !client.cut) {
        const ssize_t got = stream.discard(net::kBufferSize);
        if (got > 0) {
            discarded += static_cast<std::size_t>(got);
            continue;
        }
        if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
            break;
        }
        const auto left = static_cast<std::int32_t>(end - worker.reactor.now());
        if (left <= 0) {
            break;
        }
        // A drain gives up on a client that is quiet for a second.
        const auto patience = std::min<net::Tick>(static_cast<net::Tick>(left),
                                                  worker.draining ? kDrainIdle : kLingerTicks);
        if (co_await stream.readable(patience) == net::Wake::timed_out || stream.is_broken()) {
            break;
        }
    }
    client.lingers = false;
    --worker.lingering;
}

}  // namespace

ClientConnection::ClientConnection(Worker& owner, const base::SocketAddress& peer_address,
                                   Acceptor& came_through)
    : worker(owner),
      stream(owner.reactor),
      peer(peer_address),
      source(peer_address),
      acceptor(came_through),
      came(owner.reactor.now_point()),
      peer_ip(peer_address.ip()),
      source_ip(peer_ip) {}

void ClientConnection::set_source(const base::SocketAddress& named_source) {
    source = named_source;
    source_ip = base::IpText(source.ip());
}

void ClientConnection::learn_local_address() {
    if (local) {
        return;
    }
    // A listener on one address knows it. A listener on a wildcard address does not.
    const base::SocketAddress& listening = acceptor.listener().address();
    local.emplace(listening.ip().is_wildcard()
                      ? net::bound_address(stream.descriptor()).value_or(listening)
                      : listening);
}

net::detached serve_client(ClientConnection* client) {
    Worker& worker = client->worker;
    for (;;) {
        if (client->leftover.empty() &&
            (client->stream.settle() || !client->stream.is_readable())) {
            const AddressState& address = client->acceptor.address();
            client->set_awaits_request(true);
            const net::Wake wake = co_await client->stream.readable(
                client->requests > 0 ? address.client_idle : address.client_head);
            client->set_awaits_request(false);
            if (wake == net::Wake::timed_out && !client->cut && !client->stream.is_broken() &&
                !client->stream.is_readable()) {
                state::bump(worker.counters.client_idle_closed);
            }
            // A request is served if it arrived in the round in which the wait ended, also when no
            // event has announced it yet.
            if (client->cut || client->stream.is_broken() ||
                (wake != net::Wake::ready && !client->stream.is_readable() &&
                 !(wake == net::Wake::interrupted && client->stream.has_unread()))) {
                break;
            }
        }
        if (client->leftover.empty() && client->stream.peer_finished() &&
            !client->stream.has_unread()) {
            break;  // the client left without another request
        }
        // With thousands of requests at once, answers in progress come before new requests.
        const base::TimePoint asked_at = worker.reactor.now_point();
        client->awaits_begin = true;
        co_await worker.reactor.begin_work();
        client->awaits_begin = false;
        if (client->cut || client->stream.is_broken()) {
            break;
        }
        if (client->generation != client->acceptor.generation().number()) {
            worker.readmit(*client);
        }
        ExchangeSlot& slot = worker.begin_exchange(*client, asked_at);
        const ClientFate fate = co_await slot.exchange->run();
        worker.end_exchange(slot);
        ++client->requests;
        if (fate == ClientFate::keep) {
            continue;
        }
        if (fate == ClientFate::linger ||
            (fate == ClientFate::finish && !client->stream.settle())) {
            co_await linger(*client);
        } else if (fate == ClientFate::reset) {
            client->stream.close_with_reset();
        }
        break;
    }
    worker.remove_client(*client);
}

net::detached serve_proxied_client(ClientConnection* client) {
    Worker& worker = client->worker;
    const base::TimePoint began = worker.reactor.now_point();
    const SourceRead read = co_await read_source(*client);
    if (read.end == SourceRead::End::named && worker.admit_source(*client)) {
        serve_client(client);
        co_return;
    }
    if (read.leaves_line()) {
        ExchangeSlot& slot = worker.begin_exchange(*client, began);
        const ClientFate fate = co_await slot.exchange->refuse_source(read);
        worker.end_exchange(slot);
        if (fate == ClientFate::linger) {
            co_await linger(*client);
        } else {
            client->stream.close_with_reset();
        }
    } else if (read.end == SourceRead::End::timed_out) {
        state::bump(worker.counters.client_idle_closed);
    }
    worker.remove_client(*client);
}

}  // namespace s3gate::proxy
