// The response to a client: a backend's answer, a tunnel, or the proxy's own answer. One per
// exchange.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "dispatch.hpp"
#include "local_answers.hpp"
#include "request.hpp"
#include "s3gate/http/header_rules.hpp"
#include "s3gate/net/body_relay.hpp"
#include "s3gate/net/tunnel.hpp"

namespace s3gate::proxy {

class Attempt;

// The fate of the client connection after an exchange.
enum class ClientFate : std::uint8_t {
    keep,    // wait for the next request
    finish,  // the answer is complete and the client asked for the end; close
    linger,  // the answer is complete, but the client may still be sending; FIN, discard for a
             // while, close
    cut,     // an answer of declared length was cut; a close shows that
    reset,   // an answer was cut and only a reset shows that, or the client is gone
};

class Response {
  public:
    // Reused between requests.
    struct Memory {
        http::Pieces pieces;
        std::string own;
        net::RelayMeans::Lists lists;
        std::string text;  // of own answers, interim and switching heads
        std::string backend_request_id;
    };

    Response(ExchangeContext& context, Request& request, Memory& memory);
    Response(const Response&) = delete;
    Response& operator=(const Response&) = delete;

    // The fate of the connection; `reset` until it is decided.
    ClientFate fate() const { return fate_; }
    void set_fate(ClientFate fate) { fate_ = fate; }
    // True if no retry may follow.
    bool is_committed() const { return is_committed_; }
    bool is_tunnelling() const { return tunnel_.has_value(); }
    // Bytes of bodies, or in a tunnel, that came from the client and went to it so far.
    std::uint64_t bytes_in() const {
        return tunnel_ ? tunnel_->bytes_to_backend() : request_.body_received();
    }
    std::uint64_t bytes_out() const {
        return tunnel_ ? tunnel_->bytes_to_client()
               : down_ ? down_->payload_sent
                       : context_.record.bytes_out;
    }
    // For the log and our own answers; made on first use.
    std::string_view request_id();
    std::string_view backend_request_id() const { return memory_.backend_request_id; }

    // False after more interim answers than real servers send (one or two), so a backend cannot
    // send them forever.
    bool admits_interim() { return ++interim_count_ <= kMaxInterim; }
    // False if the client did not take it.
    net::task<bool> relay_interim(const http::ResponseHead& head);

    // Commits to this attempt's answer; no retry follows. As long as no byte of it is sent, the
    // client may still get our 502 or 504.
    void commit(Attempt& attempt);
    // Sends the answer if all of it was received, as with most short ones. True if all of it was
    // sent.
    bool send_at_once() { return is_all_out_ = net::relay_at_once(*down_); }
    // Sends the rest of the answer as it arrives, and ends the attempt's upload.
    net::task<net::RelayEnd> relay(Attempt& attempt);
    // Called after the complete answer. Parks or closes the backend's connection and decides the
    // fate of the client's.
    void release_backend(Attempt& attempt);
    // Ends an answer that was cut. Call it after the attempt was dropped.
    net::task<void> end_broken(net::RelayEnd end);
    // Relays bytes both ways after a 101.
    net::task<void> tunnel(Attempt& attempt);

    // Ends a request whose head is refused.
    net::task<void> refuse_head(HeadRead why);
    // Answers a request that goes to no backend.
    net::task<void> answer_here(const Dispatch& dispatched);
    // Sends an own answer.
    net::task<void> reply(const LocalAnswer& answer);
    // Ends a request whose answer is no longer wanted, at that stage. A client that is still
    // connected and has received nothing gets an error answer.
    net::task<void> end_abandoned(policy::Stage stage);
    // The client's connection broke or closed: ends the send to it.
    void on_client_lost();
    // For a stop: ends the send to the client.
    void cut();

  private:
    static constexpr unsigned kMaxInterim = 32;

    http::ResponseRules rules_for(const Attempt& attempt, bool synthesizes) const;
    void begin_download(Attempt& attempt);
    std::size_t begin_tunnel(Attempt& attempt);
    // Returns the side that is at fault.
    policy::Side note_broken(net::RelayEnd end);
    void note_tunnel(net::TunnelEnd end);
    bool synthesizes_continue() const;
    void remember_length(const Attempt& attempt);
    bool must_close_unlogged() const;
    // Sends the status page, or the redirect to it. Not logged.
    net::task<void> reply_status_page();
    net::task<void> redirect_to_status_page();
    net::task<void> send_unlogged(bool close);
    net::task<bool> send_text();
    net::task<bool> send_interim();

    ExchangeContext& context_;
    Request& request_;
    Memory& memory_;
    ClientFate fate_ = ClientFate::reset;
    bool is_committed_ = false;
    bool is_interim_cut_ = false;  // a part of an interim head may be sent, so no answer can follow
    bool is_all_out_ = false;
    // Set by commit():
    bool has_sent_request_ = false;  // the backend has the whole request
    bool closes_client_ = false;     // the client was told that its connection ends
    http::BodyKind body_kind_ = http::BodyKind::none;  // delimiting of the answer's body
    unsigned interim_count_ = 0;
    std::optional<net::BodySource> download_;
    std::optional<net::BodyRelay> down_;
    std::optional<net::Tunnel> tunnel_;
    std::array<char, 16> request_id_{};
};

}  // namespace s3gate::proxy
