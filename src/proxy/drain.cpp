// The end of a worker: a drain lets requests finish, a stop cuts them (docs/architecture.md,
// "Start, drain, stop").
#include <algorithm>

#include "client_connection.hpp"
#include "exchange.hpp"
#include "worker.hpp"

namespace s3gate::proxy {

// The sockets of a listener that the successor does not have are closed as those of a reload are,
// by close_listener().
void Worker::hand_over(const std::vector<std::shared_ptr<Listener>>& kept) {
    announce_close();
    handed_over = true;
    for (const auto& acceptor : acceptors_) {
        const auto is_same = [&](const auto& listener) {
            return &acceptor->listener() == listener.get();
        };
        if (acceptor && std::ranges::any_of(kept, is_same)) {
            acceptor->close();
        }
    }
    end_listening();
    check_finished();
}

void Worker::hurry() {
    if (draining || hurries_) {
        return;
    }
    hurries_ = true;
    drain_began_ = reactor.now();
    end_tunnels();
}

// Also those that begin later, with a head that was in progress.
void Worker::end_tunnels() {
    for (Exchange& exchange : exchanges_.active()) {
        if (exchange.is_tunnelling() && !exchange.is_cut()) {
            ++cut_short_.tunnels;
            exchange.cut(kCutAfterManyUpgrades);
        }
    }
}

void Worker::drain() {
    if (draining) {
        return;
    }
    announce_close();
    draining = true;  // first: from now on no client is handed over
    for (const auto& acceptor : acceptors_) {
        if (acceptor) {
            acceptor->close_when_empty();
        }
    }
    end_listening();
    drain_began_ = reactor.now();
    for (ClientConnection& client : clients_) {
        if (client.lingers) {
            client.stream.interrupt_read();  // its time limit is shorter from now on
        }
    }
    check_finished();
}

void Worker::end_idle_clients() {
    const auto quiet_since = [&](const ClientConnection& client) {
        const bool is_later = static_cast<std::int32_t>(client.idle_since - drain_began_) > 0;
        return is_later ? client.idle_since : drain_began_;
    };
    for (ClientConnection& client : clients_) {
        // Clients in the middle of a request are left alone: each wake would restart their
        // timeouts.
        if (client.awaits_request && reactor.now() - quiet_since(client) >= kDrainIdle) {
            client.stream.interrupt_read();
        }
    }
}

void Worker::end_endless_answers() {
    if (reactor.now() - drain_began_ < kDrainWaiting) {
        return;
    }
    for (Exchange& exchange : exchanges_.active()) {
        if (exchange.end_endless_answer()) {
            ++cut_short_.endless;
        }
    }
}

void Worker::stop() {
    announce_close();
    draining = true;
    stopping = true;
    close_listeners();
    cut_exchanges();
    cut_clients();
    check_finished();
}

void Worker::cut_exchanges() {
    for (Exchange& exchange : exchanges_.active()) {
        if (exchange.is_tunnelling()) {
            ++cut_short_.tunnels;
        } else if (exchange.is_endless()) {
            cut_short_.endless += exchange.end_endless_answer() ? 1 : 0;
        } else if (exchange.is_serving()) {
            ++cut_short_.requests;
        }
        exchange.cut(kCutByStop);
    }
}

void Worker::cut_clients() {
    for (ClientConnection& client : clients_) {
        client.cut = true;
        cut_short_.requests += client.awaits_begin && !client.stream.is_broken() ? 1 : 0;
        client.stream.interrupt_read();
        client.stream.interrupt_write();
    }
}

void Worker::close_listeners() {
    for (const auto& acceptor : acceptors_) {
        if (acceptor) {
            acceptor->close();
        }
    }
    end_listening();
}

void Worker::end_listening() {
    const bool is_closed = std::ranges::all_of(
        acceptors_, [](const auto& acceptor) { return !acceptor || acceptor->is_closed(); });
    if (is_closed && is_listening_) {
        is_listening_ = false;
        shared.listening.fetch_sub(1);
    }
}

void Worker::check_finished() {
    if (!is_at_end() || !clients_.empty() || is_finishing_ || shared.listening.load() != 0) {
        return;
    }
    // No worker hands clients over any more. The hand-overs in the queue come before this.
    is_finishing_ = true;
    reactor.submit([this] {
        is_finishing_ = false;
        if (clients_.empty()) {
            flush_log();
            pool.drop_all();
            count_unasked();
            reactor.stop();
        }
    });
}

}  // namespace s3gate::proxy
