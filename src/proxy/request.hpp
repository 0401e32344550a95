// One request: its head, the values that every attempt needs (key, head to send, traits for the
// retry rule), and the received part of its body. One per exchange.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "exchange_context.hpp"
#include "s3gate/http/framing.hpp"
#include "s3gate/http/head.hpp"
#include "s3gate/http/header_rules.hpp"
#include "s3gate/http/proxy_protocol.hpp"
#include "s3gate/net/body_relay.hpp"
#include "s3gate/net/replay_buffer.hpp"
#include "s3gate/policy/affinity_key.hpp"
#include "s3gate/policy/retry_rule.hpp"
#include "s3gate/policy/waiting_request.hpp"

namespace s3gate::proxy {

// Progress of a request's head.
enum class HeadRead : std::uint8_t {
    incomplete,  // needs more bytes
    complete,
    ended,   // the client closed, or the connection was idle too long; close
    broken,  // the connection broke, or a stop cut it; reset
    too_long,
    timed_out,
    malformed,  // Request::head_error() tells the reason
};

class Request {
  public:
    // Reused between requests.
    struct Memory {
        explicit Memory(net::ReplayPool& blocks) : replay(&blocks) {}
        std::vector<char> head_buffer;
        http::RequestHead head;
        http::Pieces pieces;  // of the forwarded head
        std::string own;      // our own lines of it
        // What begins every backend connection of the request; none without send_proxy.
        std::optional<http::ProxyHeader> preamble;
        policy::AffinityKey key;
        std::string session_text;
        std::string access_key;  // decoded
        net::ReplayBuffer replay;
    };

    Request(ExchangeContext& context, Memory& memory);
    ~Request();
    Request(const Request&) = delete;
    Request& operator=(const Request&) = delete;

    // Receives the available part of the head without waiting. Begins with bytes that came after
    // the previous request.
    HeadRead receive_head();
    // Waits for the rest of the head, up to `client_head`.
    net::task<HeadRead> wait_for_head();
    // Derives the values for counters, log and limits. The head must be complete.
    void understand();
    // The affinity key: the first source with a value.
    void find_key();
    // Builds the head for the attempts and the traits for the retry rule. Call it after find_key().
    void prepare();

    const http::RequestHead& head() const { return memory_.head; }
    const http::RequestMeaning& meaning() const { return meaning_; }
    http::HeadError head_error() const { return meaning_.error; }
    // All received bytes of the head, with empty lines before it and bytes behind it.
    std::string_view received() const { return {memory_.head_buffer.data(), head_fill_}; }
    // The received start line, possibly incomplete.
    std::string_view received_line() const;
    bool has_start_line() const { return scanner_.has_start_line(); }
    // The path; also of a refused head if its start line is complete.
    std::string_view path() const;
    // True for HEAD, also if the head was refused before it was parsed: such a client reads no
    // body.
    bool is_head() const;

    policy::MethodClass method() const { return traits_.method; }
    const policy::RequestTraits& traits() const { return traits_; }
    bool is_read() const { return policy::is_read(traits_.method); }
    const policy::AffinityKey& key() const { return memory_.key; }
    // The key in the form for the log and `session_header`.
    const std::string& session_text();
    // The id of the key that signed the request; empty if none did, or on sites of type http.
    std::string_view access_key();

    const http::Pieces& pieces() const { return memory_.pieces; }
    // Valid after prepare(); empty if backend connections begin with the request.
    std::string_view preamble() const {
        return memory_.preamble ? memory_.preamble->bytes() : std::string_view();
    }
    // Decides whether pieces() begins with the preamble. Call it for each attempt of a request that
    // has one.
    void set_preamble_sent(bool is_sent);
    // The head must be complete.
    net::BodySource& body() { return *body_; }
    // True before the head is complete, and when the whole body was received.
    bool is_body_complete() const { return !body_ || body_->complete; }
    std::uint64_t body_received() const { return body_ ? body_->received : 0; }
    bool has_framed_body() const {
        return meaning_.body.kind != http::BodyKind::none && !is_empty_by_length();
    }
    bool is_empty_by_length() const {
        return meaning_.body.kind == http::BodyKind::length && meaning_.body.length == 0;
    }
    // Null if no body is kept.
    net::ReplayBuffer* replay() { return replay_hold_ ? &memory_.replay : nullptr; }
    // True if the replay buffer has every body byte received so far.
    bool holds_whole_body() const { return replay_hold_ && memory_.replay.is_whole(); }
    // True if another backend would get the body from its first byte.
    bool may_start_over() const { return body_->received == 0 || holds_whole_body(); }
    // True if another attempt could send the same body: there is none, or the replay buffer has
    // every byte received so far.
    bool is_in_hand() const {
        return !has_framed_body() || (body_->received == 0 && body_->complete) ||
               holds_whole_body();
    }

    // True while the client waits for a requested 100.
    bool is_continue_due() const { return meaning_.expects_continue && !is_continue_relayed_; }
    void set_continue_relayed() { is_continue_relayed_ = true; }

    // Tells whether the answer may be silent for long, or endless.
    policy::Waiting waiting() const { return waiting_; }
    void set_waiting(policy::Waiting waiting) { waiting_ = waiting; }
    net::Tick head_ticks() const {
        return waiting_ == policy::Waiting::no ? context_.ticks().backend_head
                                               : context_.ticks().backend_stream;
    }
    net::Tick body_ticks() const {
        return waiting_ == policy::Waiting::no ? context_.ticks().backend_body
                                               : context_.ticks().backend_stream;
    }

  private:
    http::HeadScanner::State take_leftover();
    void make_room();
    HeadRead take_end(ssize_t got);
    HeadRead take_head(http::HeadScanner::State state);
    http::ForwardRules forward_rules(std::string& local_host) const;
    void make_preamble();
    void find_traits();
    void reserve_replay();

    ExchangeContext& context_;
    Memory& memory_;
    std::size_t head_fill_ = 0;
    http::HeadScanner scanner_{http::HeadScanner::Kind::request};
    http::RequestMeaning meaning_;
    std::optional<net::BodySource> body_;
    policy::RequestTraits traits_;
    policy::Waiting waiting_ = policy::Waiting::no;
    bool is_continue_relayed_ = false;
    std::optional<ReplayHold> replay_hold_;
};

}  // namespace s3gate::proxy
