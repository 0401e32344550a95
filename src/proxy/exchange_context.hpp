// State shared by the parts of an exchange: the client, the site, the generation, the log record,
// and whether the client still waits for the answer. One per request, owned by the exchange. One
// worker's thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

#include "client_connection.hpp"
#include "holds.hpp"
#include "s3gate/net/body_relay.hpp"
#include "s3gate/observe/request_record.hpp"
#include "s3gate/policy/attempt_end.hpp"
#include "worker.hpp"

namespace s3gate::proxy {

// Why the proxy itself ends a request or a tunnel, as the access log says it.
struct CutReason {
    std::string_view request;
    std::string_view tunnel;
};
inline constexpr CutReason kCutByStop{"cut at shutdown", "tunnel cut at shutdown"};
inline constexpr CutReason kCutAfterReload{"cut after reload_grace",
                                           "tunnel cut after reload_grace"};
inline constexpr CutReason kCutAfterManyReloads{"cut after many reloads",
                                                "tunnel cut after many reloads"};

inline constexpr CutReason kCutAfterManyUpgrades{"cut after many upgrades",
                                                 "tunnel cut after many upgrades"};

enum class ClientFault : std::uint8_t { none, gone, stuck };

class ExchangeContext {
  public:
    // `client_watch` receives events of the client's stream that no coroutine waits for.
    ExchangeContext(Worker& the_worker, ClientConnection& the_client,
                    net::StreamObserver& the_watch, observe::RequestRecord& the_record,
                    base::TimePoint asked_at)
        : worker(the_worker),
          client(the_client),
          client_watch(the_watch),
          record(the_record),
          started(asked_at),
          identity(the_client, the_client.source.ip(), the_client.source_ip.view(),
                   !the_client.has_unnamed_source),
          generation(the_worker, the_client.acceptor.generation()),
          address(the_client.acceptor.address()) {
        record.clear();
        serve_at(address.leading);
    }

    Worker& worker;
    ClientConnection& client;
    net::StreamObserver& client_watch;
    observe::RequestRecord& record;
    const base::TimePoint started;  // arrival of the request's first byte
    ClientIdentity identity;        // Exchange completes it once the head is read
    GenerationHold generation;
    const AddressState& address;  // its limits apply until the head is read, then the site's

    // Chooses the site by the request's host. Until then it is the address's leading site. False if
    // no site takes the host.
    bool choose_site(std::string_view host) { return !address.has_hosts || serve_host(host); }

    const state::Site& site() const { return *site_; }
    const state::Group& group() const { return *group_; }
    GroupState& group_state() const { return *group_state_; }
    const SiteTicks& ticks() const { return state_->ticks; }
    bool is_s3() const { return site_->config->type == config::SiteType::s3; }

    // True if the client no longer waits for the answer: its connection broke, or it closed. A
    // client that closes looks like one that only shuts down its sending side (RFC 9112 §9.6 allows
    // that). Servers treat both as gone, and so must we: a backend that works for a client that
    // left cannot serve others. In a tunnel a FIN ends only one direction.
    bool is_client_lost(bool is_tunnelling) const {
        return client.stream.is_broken() ||
               (client.stream.peer_finished() && !is_tunnelling &&
                site_->config->client_half_close == config::HalfClose::cut);
    }
    // The answer is no longer wanted: the client left, or the request was cut.
    bool is_abandoned() const { return is_abandoned_; }
    // The worker ended the request: a stop ends all, a drain those whose answers may never end,
    // reload_grace those of an earlier generation, many reloads those of the oldest ones.
    bool is_cut() const { return cut_reason_ != nullptr; }
    // False if it was set already.
    bool set_abandoned() { return !std::exchange(is_abandoned_, true); }
    // The attempts end as for a client that left. This client is still connected and gets an
    // answer.
    // Keeps the first reason.
    void set_cut(const CutReason& reason) {
        cut_reason_ = cut_reason_ == nullptr ? &reason : cut_reason_;
        is_abandoned_ = true;
    }

    // Keeps the first fault; settle() counts it.
    void note_client(ClientFault fault) {
        client_fault_ = client_fault_ == ClientFault::none ? fault : client_fault_;
    }
    ClientFault client_fault() const { return client_fault_; }
    // Notes a client fault from the end of a send to it. True if all bytes were sent.
    bool note_client_end(net::RelayEnd end) {
        if (end != net::RelayEnd::complete) {
            note_client(end == net::RelayEnd::sink_timed_out ? ClientFault::stuck
                                                             : ClientFault::gone);
        }
        return end == net::RelayEnd::complete;
    }
    // The reason why the client did not get its whole answer.
    std::string_view client_error() const {
        return is_cut()                              ? cut_reason().request
               : client_fault_ == ClientFault::stuck ? "client write timeout"
                                                     : "client closed";
    }

    // The same in the field `upstreamerror`.
    std::string_view client_word() const {
        return is_cut()                              ? "cut"
               : client_fault_ == ClientFault::stuck ? "client stuck"
                                                     : "client left";
    }

    // What this worker counts for the request's site.
    state::SiteFigures<state::Counter>& figures() const { return *state_->figures; }

    // Notes whose fault the end of the request is, and where the request was.
    void blame(policy::Side side, policy::Stage stage) const {
        record.blame = policy::to_string(side);
        record.stage = policy::to_string(stage);
    }

    // Who gave the request up: its client, or the proxy, which cut it.
    policy::Side side_of_abandon() const {
        return is_cut() ? policy::Side::proxy : policy::Side::client;
    }

    // Call it where is_cut().
    const CutReason& cut_reason() const { return *cut_reason_; }

    // True if the client's connection ends with this answer.
    bool is_last_answer() const { return worker.announces_close || client.acceptor.is_leaving(); }

    base::Duration since(base::TimePoint begin) const {
        return std::chrono::duration_cast<base::Duration>(worker.reactor.now_point() - begin);
    }

  private:
    void serve_at(const SiteAtWork& chosen) {
        site_ = chosen.site;
        state_ = chosen.state;
        const std::uint32_t route = site_->routes.back().group;
        group_ = &site_->groups[route];
        group_state_ = &chosen.state->groups[route];
        record.site = site_->config->name;
        record.is_s3 = is_s3();
    }
    bool serve_host(std::string_view host);

    const state::Site* site_ = nullptr;
    SiteState* state_ = nullptr;
    const state::Group* group_ = nullptr;
    GroupState* group_state_ = nullptr;
    bool is_abandoned_ = false;
    const CutReason* cut_reason_ = nullptr;  // null: it was not cut
    ClientFault client_fault_ = ClientFault::none;
};

}  // namespace s3gate::proxy
