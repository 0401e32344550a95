// The life of one request (docs/architecture.md): receive_head → route → find_key →
// prepare_request → attempts → commit → end_response, relay_response or tunnel → settle. Pooled by
// the worker: everything a request needs in memory is here and is reused.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "s3gate/http/framing.hpp"
#include "s3gate/http/head.hpp"
#include "s3gate/http/header_rules.hpp"
#include "s3gate/net/backend_pool.hpp"
#include "s3gate/net/body_relay.hpp"
#include "s3gate/net/tunnel.hpp"
#include "s3gate/observe/request_record.hpp"
#include "s3gate/policy/affinity_key.hpp"
#include "s3gate/policy/error_code.hpp"
#include "s3gate/policy/ketama_ring.hpp"
#include "s3gate/policy/retry_rule.hpp"
#include "s3gate/policy/waiting_request.hpp"
#include "worker_impl.hpp"

namespace s3gate::proxy {

struct ClientConnection;
struct Refusal;  // how and why a request is answered without a backend

// What becomes of the client connection after an exchange.
enum class ClientFate : std::uint8_t {
    keep,    // wait for the next request
    finish,  // everything was said and the client wanted no more: close
    linger,  // everything was said, but the client may still be sending: FIN, discard for a while,
             // close
    cut,     // a message that says its length is incomplete: close, the client sees what is missing
    reset,   // something was cut that only a reset makes visible, or the client is gone
};

class Exchange final : public net::StreamObserver {
  public:
    explicit Exchange(Worker::Impl& worker) : worker_(worker) {}

    // Serves one request on the connection; its first bytes may already be in client.leftover. They
    // came at `asked_at`.
    net::task<ClientFate> run(ClientConnection& client, base::TimePoint asked_at);

    // The worker calls this when active checks took a backend down hard.
    void on_backend_down(std::uint32_t slot);
    // The worker is being stopped: cut everything.
    void cut();
    // True while its answer has no end that a drain could wait for.
    bool is_endless() const { return waiting_ == policy::Waiting::endless; }
    // Ends such an answer. False if this exchange has none, or it was ended already.
    bool end_waiting_answer();
    // True while a request is being served (not merely a head being read).
    bool is_serving() const { return serving_; }
    // True while it is a tunnel (which may never end by itself).
    bool is_tunnelling() const { return tunnelling_; }

    // The worker calls these for an exchange that waits for room. True if it takes the room at the
    // server with that cell (held for it already), and goes on.
    bool take_room(std::uint32_t cell);
    // True if it need not wait any longer, for whatever reason, and goes on.
    bool look_for_room();
    std::uint32_t waiting_group() const { return group_->cell; }
    std::uint64_t waiting_since() const { return waiting_since_; }

    // Neighbours in the worker's list of waiting exchanges of the group.
    Exchange* next_waiting = nullptr;
    Exchange* previous_waiting = nullptr;
    // Neighbours in the worker's list of active exchanges.
    Exchange* next = nullptr;
    Exchange* previous = nullptr;

  private:
    // 1xx answers that one request may bring; real servers send one or two.
    static constexpr unsigned kMaxInterim = 32;
    // How far the request's head has come.
    enum class HeadRead : std::uint8_t {
        incomplete,  // more is to come
        complete,
        closed,  // nobody is there to be answered, or nothing was asked; fate_ says how to close
        too_long,
        timed_out,
        malformed,  // meaning_.error says how
    };
    enum class ClientFault : std::uint8_t { none, gone, stuck };
    // How one attempt ended, beyond what policy::AttemptFacts says.
    enum class AttemptEnd : std::uint8_t {
        facts_ready,  // facts_ is filled in: ask retry_rule
        done,         // answered (relayed, tunnelled or replied): fate_ is set
    };

    void begin(ClientConnection& client, base::TimePoint asked_at);
    HeadRead receive_head();
    net::task<HeadRead> wait_for_head();
    net::task<void> refuse_head(HeadRead why);
    net::task<void> refuse_long_head();
    void note_request();
    bool is_for_status_page() const;
    bool lacks_status_slash() const;
    bool may_see_status() const;
    const Refusal* refusal_of(bool wants_status);
    net::task<void> reply_status_page();
    net::task<void> redirect_to_status_page();
    net::task<void> send_unlogged(bool close);
    bool must_close_unlogged() const;
    net::task<void> reply(int status, std::string_view code, std::string_view message, bool close);
    net::task<void> reply_failure();
    void find_key();
    void prepare_request();
    const std::string& session_text();

    enum class Pick : std::uint8_t {
        found,      // peer_ is chosen, marked as tried, and room at its server is held
        full,       // there are usable servers, but none of them has room
        none,       // there is no usable server
        gone,       // while waiting: the client left, or we stop
        timed_out,  // waited in vain
        overflow,   // too many wait already
    };
    Pick pick_peer();
    bool pick_among(bool ignore_health);
    bool claim_peer();
    bool has_room(const GroupServer& server) const;
    bool is_open(std::uint32_t peer, bool ignore_health);
    bool has_open(bool ignore_health);
    net::task<Pick> wait_for_room();
    void stop_waiting(Pick result);
    net::task<void> reply_busy(Pick pick);
    bool is_candidate(std::uint32_t peer, bool ignore_health);
    bool is_well(const Peer& peer) const;
    bool has_candidate(bool ignore_health);
    bool may_ignore_health();
    std::uint32_t choose_address(const GroupServer& server, bool ignore_health);

    net::task<void> attempts();
    void weigh_retry();
    net::task<AttemptEnd> attempt();
    bool take_parked();
    net::task<bool> open_connection();
    net::detached upload_half();
    net::task<void> join_upload();
    // How far an attempt has come with the head of the answer.
    enum class HeadEnd : std::uint8_t {
        pending,  // more is to come
        interim,  // 1xx, to be relayed
        final_head,
        switching,
        failed,  // the outcome is set
        client_gone,
        upload_failed,
    };
    net::Tick answer_patience() const;
    HeadEnd before_answer();
    HeadEnd receive_answer();
    HeadEnd scan_answer();
    HeadEnd answer_timed_out();
    HeadEnd answer_malformed(std::string_view why);
    void release_read_answer();
    void remember_length();
    net::task<bool> relay_interim();
    void commit_response();
    void note_relayed();
    void end_response();
    // `is_out`: relay_at_once() has sent all of it.
    net::task<void> relay_response(bool is_out);
    net::task<void> tunnel();
    std::string_view error_code();
    bool lifts_mark(std::string_view code) const;
    net::task<void> await_error_code();
    // `is_whole`: nothing more of it is to come.
    struct ErrorBody {
        std::string_view text;
        bool is_whole = false;
    };
    ErrorBody error_body();
    bool is_code_wanted() const;
    bool is_code_open();
    net::Tick head_ticks() const {
        return waiting_ == policy::Waiting::no ? state_->ticks.backend_head
                                               : state_->ticks.backend_stream;
    }
    net::Tick body_ticks() const {
        return waiting_ == policy::Waiting::no ? state_->ticks.backend_body
                                               : state_->ticks.backend_stream;
    }
    // Takes this attempt out of its backend's in-flight count; once is enough, twice does no harm.
    void release_slot();
    void deposit_token();
    void return_tokens();
    void release_retry();
    void discard_attempt();
    // True if every body byte received so far is still in the replay buffer.
    bool holds_whole_body() const { return replay_reserved_ > 0 && replay_.is_whole(); }
    // True if a further backend would get the body from its first byte.
    bool may_start_over() const { return body_.received == 0 || holds_whole_body(); }
    bool is_in_hand() const {
        return meaning_.body.kind == http::BodyKind::none ||
               (meaning_.body.kind == http::BodyKind::length && meaning_.body.length == 0) ||
               (body_.received == 0 && body_.complete) || holds_whole_body();
    }
    void finish_attempt_record();
    void note_passive(bool failed);
    void make_request_id();
    // The start line as it was received, or as much of it as there is.
    std::string_view received_line() const;
    std::string_view refused_path() const;
    // True while the client waits for the 100 that it asked for.
    bool is_continue_due() const { return meaning_.expects_continue && !continue_relayed_; }
    void settle();

    void on_stream_event() override;
    // True if nobody waits for the answer any more: the connection broke, or the client closed it
    // (a FIN, unless `client_half_close: serve` takes it for a half-close).
    bool is_client_lost() const;
    void on_client_gone();
    net::task<void> end_for_client();
    // How the client failed, counted once by settle(): the first word stands.
    void note_client(ClientFault fault) {
        client_fault_ = client_fault_ == ClientFault::none ? fault : client_fault_;
    }
    // Notes how sending to the client ended; true if everything went out.
    bool has_client_taken(net::RelayEnd end);
    // Why the client has not got all of its answer.
    std::string_view client_error() const {
        return cut_                                   ? "cut at shutdown"
               : client_fault_ == ClientFault::stuck ? "client write timeout"
                                                      : "client closed";
    }
    void wake_main();

    Worker::Impl& worker_;
    ClientConnection* client_ = nullptr;
    Generation* generation_ = nullptr;
    const Site* site_ = nullptr;
    SiteState* state_ = nullptr;
    const Group* group_ = nullptr;
    GroupState* group_state_ = nullptr;
    ClientFate fate_ = ClientFate::reset;
    bool serving_ = false;
    bool client_gone_ = false;
    bool cut_ = false;  // by a stop: everything, or this answer, which would wait for ever
    ClientFault client_fault_ = ClientFault::none;

    // The request.
    std::vector<char> head_buffer_;
    std::size_t head_fill_ = 0;
    http::HeadScanner scanner_{http::HeadScanner::Kind::request};
    http::RequestHead head_;
    http::RequestMeaning meaning_;
    policy::MethodClass method_ = policy::MethodClass::other;
    policy::Waiting waiting_ = policy::Waiting::no;
    policy::AffinityKey key_;
    std::uint32_t key_hash_ = 0;  // CRC32 of a key that is not empty
    std::string session_text_;
    std::string request_own_;
    http::Pieces request_pieces_;
    net::BodySource body_;
    net::ReplayBuffer replay_{&worker_.replay_blocks};
    std::size_t replay_reserved_ = 0;
    base::TimePoint started_{};
    bool continue_relayed_ = false;
    unsigned interim_count_ = 0;

    // Attempts.
    policy::RingWalk walk_;
    bool walk_begun_ = false;
    std::vector<std::uint8_t> tried_;
    std::vector<policy::Candidate> candidates_;
    std::uint32_t peer_ = 0;
    static constexpr std::uint32_t kNoServer = ~std::uint32_t{0};
    std::uint32_t held_server_ = kNoServer;  // whose room this request holds
    // Waiting for room.
    struct WaitLimit final : net::TimerNode {
        explicit WaitLimit(Exchange& e) : exchange(e) {}
        void on_deadline() override { exchange.stop_waiting(Pick::timed_out); }
        Exchange& exchange;
    };
    WaitLimit wait_limit_{*this};
    bool is_waiting_ = false;
    Pick wait_result_ = Pick::none;
    std::uint64_t waiting_since_ = 0;  // milliseconds; never 0 while waiting
    std::coroutine_handle<> waiter_;
    bool fresh_only_ = false;
    policy::AttemptFacts facts_;
    unsigned sent_attempts_ = 0;
    unsigned refused_attempts_ = 0;  // of those: answered that the backend is not ready
    // Every server that is well refused this request: it may go to those as well that a passive mark
    // keeps out, or checks that have not passed often enough yet.
    bool takes_recovering_ = false;
    bool free_retry_used_ = false;
    bool blind_retry_used_ = false;
    bool holds_retry_ = false;
    unsigned tokens_taken_ = 0;  // by this request's retries that a status caused
    bool sent_and_broken_ = false;
    bool sent_and_timed_out_ = false;
    bool own_lack_ = false;  // the last attempt failed for want of descriptors or ports on our side
    bool malformed_ = false;  // the backend answered, but not HTTP as we accept it
    base::TimePoint attempt_started_{};
    net::BackendLease backend_;
    bool reused_ = false;
    bool continue_seen_ = false;  // from this backend
    bool response_byte_seen_ = false;
    bool had_odd_interim_ = false;  // this backend sent an interim head that was oddly framed
    bool awaiting_head_ = false;
    bool taken_down_ = false;
    bool slot_counted_ = false;

    // Upload half.
    net::BodyRelay up_;
    bool upload_running_ = false;
    net::RelayEnd upload_end_ = net::RelayEnd::complete;
    std::coroutine_handle<> upload_joiner_;

    // Response.
    net::Buffer response_buffer_;
    std::size_t response_fill_ = 0;
    std::size_t response_begin_ = 0;
    http::HeadScanner response_scanner_{http::HeadScanner::Kind::response};
    http::ResponseHead response_;
    http::ResponseMeaning response_meaning_;
    http::Pieces response_pieces_;
    std::string response_own_;
    net::BodySource download_;
    net::BodyRelay down_;
    bool committed_ = false;
    // As commit_response() left them: the backend has the whole request; the client is told that
    // its connection ends.
    bool sent_upload_ = false;
    bool closes_client_ = false;
    std::string reply_;
    std::string backend_request_id_;

    net::Tunnel tunnel_;
    bool tunnelling_ = false;

    std::array<char, 17> request_id_{};
    observe::RequestRecord record_;
};

}  // namespace s3gate::proxy
