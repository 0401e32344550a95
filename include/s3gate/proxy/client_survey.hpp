// A question of an operator to all workers: which client connections there are, and what each of
// them does. Each worker fills its own part, bit by bit between its other work; the control side
// reads a part once it is done. Whoever asks holds the survey; one that nobody waits for any more
// ends at the next bit.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "s3gate/base/address.hpp"
#include "s3gate/base/clock.hpp"

namespace s3gate::proxy {

enum class ClientState : std::uint8_t {
    idle,                 // no byte of a request has arrived
    reading_head,         // of a request, or of the PROXY protocol
    queued,               // waits for room at a server
    upload,               // of the request's body
    waiting_for_backend,  // for a connection, or for the head of the answer
    download,             // of the answer
    tunnel,
    lingering,  // the last answer is sent; what still arrives is discarded
};
std::string_view to_string(ClientState state);

// A client connection at one moment.
struct ClientReport {
    ClientState state = ClientState::idle;
    bool has_request = false;    // the members after `requests` are about it
    base::TimePoint since;       // the request's first byte, or else the client, came
    base::TimePoint came;        // the client did
    std::uint32_t worker = 0;    // index
    std::string client;          // who it is for limits and log: without port
    std::string peer;            // the other end of the connection: "ip:port"
    std::string site;            // its name
    std::string listener;        // the address that the client came through: "ip:port"
    std::uint64_t requests = 0;  // begun so far

    std::string method;          // as received; empty before the head is complete
    std::string_view operation;  // of S3; empty on other sites
    // Escaped for JSON, and without secrets, as the access log has them. A long target is cut.
    std::string bucket;
    std::string target;
    std::string server;           // as configured; empty: the request is at none
    std::string address;          // of the server
    std::uint64_t bytes_in = 0;   // of the request's body, from the client
    std::uint64_t bytes_out = 0;  // of the answer's body, to the client
};

// The order of reports, and of what a limit leaves out last: requests in progress, the oldest
// first, then the other connections, the oldest first.
bool comes_before(const ClientReport& left, const ClientReport& right);

class ClientSurvey {
  public:
    struct Question {
        std::optional<base::Cidr> clients =
            {};                 // those whose client or peer is in it; nullopt = all
        std::size_t limit = 0;  // most reports
    };
    // The answer of one worker.
    struct Part {
        std::vector<ClientReport> reports;  // the first `limit`, in no order
        std::size_t matching = 0;           // connections that the question asks for
    };

    ClientSurvey(const Question& question, std::size_t workers)
        : question_(question), parts_(workers) {}
    ClientSurvey(const ClientSurvey&) = delete;
    ClientSurvey& operator=(const ClientSurvey&) = delete;

    const Question& question() const { return question_; }
    // The moment of the question. Clients that come later are not part of the answer.
    base::TimePoint began() const { return began_; }
    std::size_t workers() const { return parts_.size(); }

    // The worker's own part, until it calls finish().
    Part& part(std::size_t worker) { return parts_[worker].part; }
    void finish(std::size_t worker) {
        parts_[worker].is_done.store(true, std::memory_order_release);
    }
    // The part of a worker that has finished; else null. Any thread.
    const Part* answer(std::size_t worker) const {
        const bool is_done = parts_[worker].is_done.load(std::memory_order_acquire);
        return is_done ? &parts_[worker].part : nullptr;
    }
    // Nobody waits for the answer. Any thread.
    void give_up() { is_given_up_.store(true, std::memory_order_relaxed); }
    bool is_given_up() const { return is_given_up_.load(std::memory_order_relaxed); }

  private:
    struct Slot {
        Part part;
        std::atomic<bool> is_done{false};
    };
    const Question question_;
    const base::TimePoint began_ = base::Clock::now();
    std::deque<Slot> parts_;  // by worker
    std::atomic<bool> is_given_up_{false};
};

}  // namespace s3gate::proxy
