// The end of one attempt at a backend: the head of an answer, or a failure. The value is made where
// the attempt ends. The retry rule, the passive marks, the counters, the log and the answer to the
// client all use this one value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <variant>

namespace s3gate::policy {

// A final response head arrived.
struct Answer {
    int status = 0;
    bool is_load = false;    // row 5: status 429, or the answer's code means load (error_code.hpp)
    bool not_ready = false;  // a 503 whose code means that this backend cannot serve now: nothing
                             // was executed, and another backend may serve (error_code.hpp)
    bool is_well = true;     // the answer proves a healthy backend; a passive mark is cleared
};

// The side that caused a failure.
enum class Side : std::uint8_t {
    client,   // it left, was too slow or broke a rule; the way to it is part of it
    network,  // between us and the backend
    backend,
    proxy,  // our own limits, and what our operator commands
};

// The progress of a request. An attempt has the stages from `connect` on.
enum class Stage : std::uint8_t {
    head,     // the request's head is not complete
    limits,   // limits on clients and access lists are checked
    choice,   // no backend is chosen yet
    queue,    // it waits for room at a backend
    connect,  // no connection yet
    request,  // no byte of an answer yet
    answer,   // the answer's head has begun
    body,     // the answer's head is complete
    tunnel,   // both sides send as they like
};

// The words of the access log (docs/operations.md).
constexpr std::string_view to_string(Side side) {
    constexpr std::string_view kWords[] = {"client", "network", "backend", "proxy"};
    return kWords[static_cast<std::size_t>(side)];
}
constexpr std::string_view to_string(Stage stage) {
    constexpr std::string_view kWords[] = {"head",    "limits", "choice", "queue", "connect",
                                           "request", "answer", "body",   "tunnel"};
    return kWords[static_cast<std::size_t>(stage)];
}

enum class Cause : std::uint8_t {
    // No byte of the request was sent.
    refused,          // the connect failed: refused or unreachable
    connect_timeout,  // the connect timed out
    no_descriptor,    // no descriptor or port on our side
    interrupted,      // the connect was given up: the client left, or a stop cut the request
    dead,             // a parked connection died before the first byte of a write was sent
    // The request, or a part of it, was sent.
    closed,           // closed or reset before the head of the answer was complete
    malformed,        // the bytes are no answer
    no_answer,        // no head within the limit
    stopped_reading,  // the backend stopped reading the request for longer than the limit
    went_down,        // the active checks took the backend down before it sent a byte
    // The client left or broke the protocol.
    abandoned,         // the client closed or reset its connection, or a stop cut the request
    client_stalled,    // the rest of the request's body did not arrive in time
    client_malformed,  // the chunked coding of the request's body is broken
};

struct Failure {
    Cause cause = Cause::refused;
    Side side = Side::backend;
    Stage stage = Stage::connect;
    bool is_reused = false;       // the connection came from the pool
    bool has_sent_body = false;   // a body byte was sent to this backend
    std::string_view error = {};  // for the log; static; empty = nothing to add
    bool is_reset = false;        // the connection was reset, not closed

    bool answer_begun() const { return stage == Stage::answer; }
};

using AttemptEnd = std::variant<Answer, Failure>;

// An end as the retry rule sees it.
enum class Outcome : std::uint8_t {
    answered,    // an Answer exists
    not_sent,    // no byte of the request was sent
    broken,      // sent, then closed, reset or unparsable before a response head was complete
    timed_out,   // sent, then no response head within the limit
    taken_down,  // sent, no response byte, and the active checks took the backend down
};

constexpr Outcome outcome_of(Cause cause) {
    switch (cause) {
        case Cause::refused:
        case Cause::connect_timeout:
        case Cause::no_descriptor:
        case Cause::interrupted:
        case Cause::dead:
            return Outcome::not_sent;
        case Cause::no_answer:
        case Cause::stopped_reading:
            return Outcome::timed_out;
        case Cause::went_down:
            return Outcome::taken_down;
        case Cause::closed:
        case Cause::malformed:
        case Cause::abandoned:
        case Cause::client_stalled:
        case Cause::client_malformed:
            return Outcome::broken;
    }
    return Outcome::broken;
}

constexpr Outcome outcome_of(const AttemptEnd& end) {
    const auto* const failure = std::get_if<Failure>(&end);
    return failure == nullptr ? Outcome::answered : outcome_of(failure->cause);
}

// True if the client ended the attempt: no other backend is tried.
constexpr bool is_ended_by_client(Cause cause) {
    return cause == Cause::abandoned || cause == Cause::client_stalled ||
           cause == Cause::client_malformed;
}

// True if the backend closed an idle connection at the moment of its reuse, probably without seeing
// the request.
constexpr bool is_stale(const Failure& failure) {
    return (failure.cause == Cause::closed || failure.cause == Cause::dead) && failure.is_reused &&
           !failure.answer_begun();
}

// The access log's word for an answer that says that the backend failed; empty for others.
constexpr std::string_view word_of(const Answer& answer) {
    return answer.status >= 500 || answer.is_load ? "status" : "";
}

// The failure in the access log's field `upstreamerror`: one or two words without quotes, static.
constexpr std::string_view word_of(const Failure& failure) {
    if (is_stale(failure)) {
        return "stale";
    }
    const bool is_of_network = failure.side == Side::network;
    switch (failure.cause) {
        case Cause::refused:
            return is_of_network ? "unreachable" : "refused";
        case Cause::connect_timeout:
            return "connect timeout";
        case Cause::no_descriptor:
            return "out of descriptors";
        case Cause::interrupted:
        case Cause::abandoned:
            return failure.side == Side::proxy ? "cut" : "client left";
        case Cause::dead:
        case Cause::closed:
            return is_of_network ? "lost" : failure.is_reset ? "reset" : "closed";
        case Cause::malformed:
            return "broken answer";
        case Cause::no_answer:
            return "no answer";
        case Cause::stopped_reading:
            return "stopped reading";
        case Cause::went_down:
            return "went down";
        case Cause::client_stalled:
            return "client stalled";
        case Cause::client_malformed:
            return "broken request";
    }
    return {};
}

}  // namespace s3gate::policy
