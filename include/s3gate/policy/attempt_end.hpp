// How one attempt at a backend ended: with the head of an answer, or with a failure. The value is
// made where the attempt ends. The retry rule, the passive marks, the counters, the log and the
// answer that a client gets all read this one value.
#pragma once

#include <cstdint>
#include <string_view>
#include <variant>

namespace s3gate::policy {

// A final response head arrived.
struct Answer {
    int status = 0;
    bool is_load = false;    // row 5: 429, or the answer's code says load (error_code.hpp)
    bool not_ready = false;  // a 503 whose code says that this backend cannot serve now: nothing
                             // was executed, and the next one may serve (error_code.hpp)
    bool is_well = true;     // it shows that its backend is well: a passive mark goes
};

// Whose doing a failure is.
enum class Side : std::uint8_t { client, network, backend, proxy };

// How far the attempt had come.
enum class Stage : std::uint8_t {
    connect,  // there was no connection yet
    request,  // no byte of an answer had come
    answer,   // the answer's head had begun
};

enum class Cause : std::uint8_t {
    // No request byte left us.
    refused,          // the connect failed: refused or unreachable
    connect_timeout,  // the connect ran into its limit
    no_descriptor,    // we lack descriptors or ports
    interrupted,      // the connect was given up: the client is gone, or a stop cut the request
    dead,             // a parked connection had died before the first byte of a write left us
    // The request, or a part of it, was sent.
    closed,           // closed or reset before the head of the answer was complete
    malformed,        // what came is no answer
    no_answer,        // no head in time
    stopped_reading,  // the backend took no more of the request within the limit
    went_down,        // the active checks took the backend down, and no byte had come from it
    // Nobody waits for the answer, or the client does not keep to the protocol.
    abandoned,         // the client closed or reset its connection, or a stop cut the request
    client_stalled,    // the rest of the request's body did not come in time
    client_malformed,  // the chunked coding of the request's body is broken
};

struct Failure {
    Cause cause = Cause::refused;
    Side side = Side::backend;
    Stage stage = Stage::connect;
    bool is_reused = false;       // the connection had been parked
    bool has_sent_body = false;   // a body byte was sent to this backend
    std::string_view error = {};  // for the log; static; empty = it adds nothing

    bool answer_begun() const { return stage == Stage::answer; }
};

using AttemptEnd = std::variant<Answer, Failure>;

// What the retry rule makes of an end.
enum class Outcome : std::uint8_t {
    answered,    // there is an Answer
    not_sent,    // no request byte left us
    broken,      // sent, then closed, reset or unparsable before a response head was complete
    timed_out,   // sent, then no response head in time
    taken_down,  // sent, no response byte, and the active checks took the backend down meanwhile
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

// True if the client ended the attempt: whatever may be repeated otherwise, no other backend is to
// be asked.
constexpr bool is_ended_by_client(Cause cause) {
    return cause == Cause::abandoned || cause == Cause::client_stalled ||
           cause == Cause::client_malformed;
}

// True if the backend closed an idle connection just as it was used, most likely without having
// seen the request.
constexpr bool is_stale(const Failure& failure) {
    return (failure.cause == Cause::closed || failure.cause == Cause::dead) && failure.is_reused &&
           !failure.answer_begun();
}

}  // namespace s3gate::policy
