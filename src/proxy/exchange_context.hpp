// What the parts of an exchange share: the client, the site, the generation, the log record, and
// whether anybody waits for the answer. One per request, owned by the exchange. One worker's
// thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

#include "client_connection.hpp"
#include "holds.hpp"
#include "s3gate/net/body_relay.hpp"
#include "s3gate/observe/request_record.hpp"
#include "worker.hpp"

namespace s3gate::proxy {

enum class ClientFault : std::uint8_t { none, gone, stuck };

class ExchangeContext {
  public:
    // `client_watch` is told when the client's stream has news that nobody waits for.
    ExchangeContext(Worker& the_worker, ClientConnection& the_client,
                    net::StreamObserver& the_watch, observe::RequestRecord& the_record,
                    base::TimePoint asked_at)
        : worker(the_worker),
          client(the_client),
          client_watch(the_watch),
          record(the_record),
          started(asked_at),
          generation(the_worker),
          address(generation->at(the_client.listener)),
          site(*address.site),
          state(*address.site_state),
          group(site.default_group()),
          group_state(state.groups[site.routes.back().group]) {
        record.clear();
        record.site = site.config->name;
        record.is_s3 = is_s3();
    }

    Worker& worker;
    ClientConnection& client;
    net::StreamObserver& client_watch;
    observe::RequestRecord& record;
    const base::TimePoint started;  // when the request's first byte arrived
    GenerationHold generation;
    const AddressState& address;  // its limits hold until the head is read, then the site's
    const state::Site& site;
    SiteState& state;
    const state::Group& group;
    GroupState& group_state;

    const SiteTicks& ticks() const { return state.ticks; }
    bool is_s3() const { return site.config->type == config::SiteType::s3; }

    // True if the client's connection says that nobody waits for the answer any more: it broke, or
    // the client closed it. A client that closes cannot be told from one that only shuts down its
    // sending side (RFC 9112 §9.6 allows that). Servers take both for gone, and so must we: a
    // backend that works on for a client that left is lost to others. In a tunnel a FIN ends one
    // direction, no more.
    bool is_client_lost(bool is_tunnelling) const {
        return client.stream.is_broken() ||
               (client.stream.peer_finished() && !is_tunnelling &&
                site.config->client_half_close == config::HalfClose::cut);
    }
    // Nobody waits for the answer any more: the client left, or a stop took the request from it.
    bool is_abandoned() const { return is_abandoned_; }
    // A stop took the request from its client: every request, or one whose answer may never end.
    bool is_cut() const { return is_cut_; }
    // Returns false if it was set already.
    bool set_abandoned() { return !std::exchange(is_abandoned_, true); }
    // The attempts end as they do for a client that left. This client is still there and is told.
    void set_cut() { is_cut_ = is_abandoned_ = true; }

    // Keeps the first fault; settle() counts it.
    void note_client(ClientFault fault) {
        client_fault_ = client_fault_ == ClientFault::none ? fault : client_fault_;
    }
    ClientFault client_fault() const { return client_fault_; }
    // Notes a fault of the client in how sending to it ended. Returns true if everything went out.
    bool note_client_end(net::RelayEnd end) {
        if (end != net::RelayEnd::complete) {
            note_client(end == net::RelayEnd::sink_timed_out ? ClientFault::stuck
                                                             : ClientFault::gone);
        }
        return end == net::RelayEnd::complete;
    }
    // Why the client has not got all of its answer.
    std::string_view client_error() const {
        return is_cut_                               ? "cut at shutdown"
               : client_fault_ == ClientFault::stuck ? "client write timeout"
                                                     : "client closed";
    }

    base::Duration since(base::TimePoint begin) const {
        return std::chrono::duration_cast<base::Duration>(worker.reactor.now_point() - begin);
    }

  private:
    bool is_abandoned_ = false;
    bool is_cut_ = false;
    ClientFault client_fault_ = ClientFault::none;
};

}  // namespace s3gate::proxy
