// What the client gets: a backend's answer, a tunnel, or an answer of our own. One per exchange.
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

// What becomes of the client connection after an exchange.
enum class ClientFate : std::uint8_t {
    keep,    // wait for the next request
    finish,  // everything was said and the client wanted no more: close
    linger,  // everything was said, but the client may still be sending: FIN, discard for a while,
             // close
    cut,     // an answer with a declared length was not sent in full: close, which shows it
    reset,   // an answer was cut and only a reset shows it, or the client is gone
};

class Response {
  public:
    // Reused from request to request.
    struct Memory {
        http::Pieces pieces;
        std::string own;
        net::RelayMeans::Lists lists;
        std::string text;  // of our own answers, interim and switching heads
        std::string backend_request_id;
    };

    Response(ExchangeContext& context, Request& request, Memory& memory);
    Response(const Response&) = delete;
    Response& operator=(const Response&) = delete;

    // What becomes of the connection; `reset` until something else is known.
    ClientFate fate() const { return fate_; }
    void set_fate(ClientFate fate) { fate_ = fate; }
    // True once nothing is retried any more.
    bool is_committed() const { return is_committed_; }
    bool is_tunnelling() const { return tunnel_.has_value(); }
    // Written into the log and our own answers; made when it is first asked for.
    std::string_view request_id();
    std::string_view backend_request_id() const { return memory_.backend_request_id; }

    // Real servers send one or two 1xx answers; a backend cannot keep us busy with them for ever.
    bool admits_interim() { return ++interim_count_ <= kMaxInterim; }
    // False if the client did not take it.
    net::task<bool> relay_interim(const http::ResponseHead& head);

    // From here on nothing is retried: the client gets this attempt's answer. While no byte of it
    // is out, the client may still get a 502 or 504 of ours.
    void commit(Attempt& attempt);
    // Sends the answer if all of it was received already, as of most short ones. Returns true if
    // all of it is out.
    bool send_at_once() { return is_all_out_ = net::relay_at_once(*down_); }
    // Sends what is left of the answer as it comes, and ends the upload half of the attempt.
    net::task<net::RelayEnd> relay(Attempt& attempt);
    // The client has all of the answer: parks or closes the backend's connection and decides what
    // becomes of the client's.
    void release_backend(Attempt& attempt);
    // Ends an answer that was not sent in full. To be called once the attempt was dropped.
    net::task<void> end_broken(net::RelayEnd end);
    // After a 101: bytes both ways.
    net::task<void> tunnel(Attempt& attempt);

    // Ends a request whose head is not served.
    net::task<void> refuse_head(HeadRead why);
    // Answers a request that no backend sees.
    net::task<void> answer_here(const Dispatch& dispatched);
    // Sends an answer of ours.
    net::task<void> reply(const LocalAnswer& answer);
    // Nobody waits for the answer. A client that is still connected and has received nothing gets
    // an error answer.
    net::task<void> end_abandoned();
    // The client broke or closed: ends what is being sent to it.
    void on_client_lost();
    // For a stop: the same.
    void cut();

  private:
    static constexpr unsigned kMaxInterim = 32;

    http::ResponseRules rules_for(const Attempt& attempt, bool synthesizes) const;
    void begin_download(Attempt& attempt);
    std::size_t begin_tunnel(Attempt& attempt);
    void note_broken(net::RelayEnd end);
    void note_tunnel(net::TunnelEnd end);
    bool synthesizes_continue() const;
    void remember_length(const Attempt& attempt);
    bool must_close_unlogged() const;
    // The status page, and the redirect to it. Not logged.
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
    bool is_interim_cut_ = false;  // a part of an interim head may be out: no answer can follow it
    bool is_all_out_ = false;
    // As commit() found them:
    bool has_sent_request_ = false;  // the backend has the whole request
    bool closes_client_ = false;     // the client is told that its connection ends
    http::BodyKind body_kind_ = http::BodyKind::none;  // how the answer's body is delimited
    unsigned interim_count_ = 0;
    std::optional<net::BodySource> download_;
    std::optional<net::BodyRelay> down_;
    std::optional<net::Tunnel> tunnel_;
    std::array<char, 16> request_id_{};
};

}  // namespace s3gate::proxy
