// One attempt at one backend: the connection, the upload of the request, the head of the answer. A
// new object per attempt. Its destructor returns all resources, and cuts the connection unless it
// was parked or closed.
#pragma once

#include <coroutine>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "answer_reader.hpp"
#include "holds.hpp"
#include "request.hpp"
#include "s3gate/net/backend_pool.hpp"
#include "s3gate/net/body_relay.hpp"
#include "s3gate/policy/attempt_class.hpp"
#include "s3gate/policy/attempt_end.hpp"
#include "s3gate/state/figures.hpp"

namespace s3gate::proxy {

class Response;

class Attempt {
  public:
    // Reused between attempts.
    struct Memory {
        AnswerReader::Memory answer;
        net::RelayMeans::Lists lists;
    };
    enum class Connection : std::uint8_t { any, fresh };

    Attempt(ExchangeContext& context, Request& request, Response& response, Memory& memory,
            const state::Peer& peer, ServerRoom room, Connection connection);
    // The upload must have ended.
    ~Attempt();
    Attempt(const Attempt&) = delete;
    Attempt& operator=(const Attempt&) = delete;

    // Connects, sends the request, relays interim heads and waits for the head of the answer. The
    // upload may still run when it returns.
    net::task<policy::AttemptEnd> run();
    bool is_uploading() const { return is_uploading_; }
    // Since it began.
    std::int64_t nanoseconds() const {
        return std::chrono::nanoseconds(context_.worker.reactor.now_point() - began_).count();
    }
    // How its end counts for its server; the last word counts, when the attempt is destroyed.
    void count_as(policy::AttemptClass end) { class_ = end; }
    void count_fault(state::ServerFault fault) {
        state::bump(figures_.faults[static_cast<std::size_t>(fault)]);
    }
    void count_load(int status) { state::bump(figures_.load[status >= 500 ? 0 : 1]); }
    // Another attempt follows because of this one.
    void count_retry() { state::bump(figures_.retries[0]); }
    // Adds bytes that a tunnel took to the server.
    void add_sent(std::uint64_t bytes) { tunnelled_ += bytes; }
    // Ends the upload.
    net::task<void> end_upload();

    // The active checks took this backend down.
    void on_backend_down(std::uint32_t slot);
    // Wakes the coroutine that waits for the backend, so it sees changed flags.
    void wake();
    // For a stop: ends the upload.
    void cut();

    net::Stream& stream() { return backend_->stream; }
    AnswerReader& answer() { return answer_; }
    const AnswerReader& answer() const { return answer_; }
    bool has_continued() const { return has_continued_; }
    // True if the backend has the whole request.
    bool has_sent_all() const {
        return request_.is_body_complete() && !is_uploading_ &&
               upload_end_ == net::RelayEnd::complete;
    }
    // True if a body is announced with Expect, and this backend has neither asked for it nor
    // received any of it.
    bool is_expect_pending() const {
        return request_.meaning().expects_continue && phase_ != Phase::connecting &&
               request_.traits().has_body && !has_continued_ && !up_->body_sent &&
               request_.may_start_over();
    }

    // Gives the connection to the pool, or closes it where the server gets no further request.
    void park() {
        const state::Override command = context_.worker.shared.board->override_of(peer_.slot);
        if (command > state::Override::keeps_sessions) {
            close();
            return;
        }
        context_.worker.pool.park(std::move(backend_), context_.group().backends->keepalive,
                                  context_.group_state().pool_idle);
    }
    // Closes the connection without a reset.
    void close();
    // Passes the room to the next attempt at the same server.
    ServerRoom take_room() { return std::move(room_); }

  private:
    enum class Phase : std::uint8_t { connecting, awaiting_head, ended };

    void count();
    bool take_parked();
    policy::Failure connect_failure(net::ConnectEnd end) const;
    void begin_upload();
    net::detached upload_half();
    // True if ended_early() would find an end.
    bool is_interrupted() const {
        return context_.is_abandoned() || was_taken_down_ || upload_end_ != net::RelayEnd::complete;
    }
    std::optional<policy::Failure> ended_early() const;
    std::optional<policy::Failure> failure_of_upload() const;
    std::optional<policy::Failure> failure_of_head(AnswerHead head) const;
    net::task<AnswerHead> relay_interims();
    net::Tick patience() const;
    bool is_silence(net::Wake wake) const;
    bool is_code_wanted() const;
    net::task<void> await_code();
    policy::Answer answer_of_head();
    policy::Failure failure(policy::Cause cause, std::string_view error,
                            policy::Side side = policy::Side::backend) const;
    policy::Failure closed() const;

    ExchangeContext& context_;
    Request& request_;
    Response& response_;
    const state::Peer& peer_;
    ServerRoom room_;
    const base::TimePoint began_;
    InFlightHold in_flight_;
    state::ServerFigures<state::Counter>& figures_;
    policy::AttemptClass class_ = policy::AttemptClass::given_up;
    std::uint64_t tunnelled_ = 0;
    AnswerReader answer_;
    net::RelayMeans::Lists& lists_;
    std::optional<net::BodyRelay> up_;  // set once there is a connection
    net::BackendLease backend_;
    const bool may_reuse_;
    bool is_reused_ = false;
    bool has_continued_ = false;  // this backend sent a 100
    Phase phase_ = Phase::connecting;
    bool was_taken_down_ = false;
    bool is_uploading_ = false;
    net::RelayEnd upload_end_ = net::RelayEnd::complete;
    std::coroutine_handle<> upload_joiner_;
};

}  // namespace s3gate::proxy
