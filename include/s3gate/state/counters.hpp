// The counters of the process, and one table with their names. The counter lines of the operational
// log and /status walk the table, so a new counter appears in both. Cells are relaxed atomics with
// one writing thread each; any thread may read.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "s3gate/policy/known_addresses.hpp"

namespace s3gate::state {

using Counter = std::atomic<std::uint64_t>;

// Adds without a locked instruction: each cell has one writing thread.
template <class T>
void bump(std::atomic<T>& cell, T by = 1) {
    cell.store(cell.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

// Counters of one worker. Each fault has exactly one counter (docs/reliability.md). A request that
// met several faults counts once in each.
struct WorkerCounterCells {
    // Clients
    Counter accepted{0};
    Counter handed_over{0};       // accepted here, served by another worker
    Counter accept_paused{0};     // out of descriptors (or memory) while accepting
    Counter shed{0};              // refused for limits.connections
    Counter shed_per_client{0};   // refused or dropped for limits.per_client
    Counter requests_limited{0};  // refused for limits.requests_per_client
    Counter requests{0};
    Counter local_replies{0};
    Counter refused_requests{0};       // our own 4xx for malformed requests
    Counter proxy_headers_refused{0};  // missing or malformed, from a peer of accept_proxy
    Counter proxy_header_timeouts{0};
    Counter client_head_timeouts{0};
    Counter client_body_timeouts{0};
    Counter client_write_timeouts{0};
    Counter client_idle_closed{0};      // also connections that never sent a byte
    Counter clients_gone{0};            // left in a head, in a body, or before the answer's end
    Counter aborted_responses{0};       // cut after their first byte, for any reason
    Counter cut_after_many_reloads{0};  // requests and tunnels of the oldest configurations
    Counter status_page_denied{0};
    Counter unknown_hosts{0};  // requests for a host that no site of the address takes
    // Backends
    Counter connects_refused{0};  // refused, unreachable, reset
    Counter connect_timeouts{0};
    Counter connects_lacking{0};  // no descriptor, port or memory on our side
    Counter backend_head_timeouts{0};
    Counter backend_body_timeouts{0};
    Counter backend_write_timeouts{0};  // stopped reading a request
    Counter backend_broken{0};          // closed or reset before the whole head of an answer
    Counter backend_stale{
        0};  // a kept connection that the backend closed before or during its next use
    Counter backend_cut_responses{0};  // closed or reset inside a body
    Counter backend_malformed{0};      // an answer that breaks our rules for HTTP
    Counter backend_unasked_bytes{0};  // connections closed for bytes that belong to no answer
    Counter backend_taken_down{0};     // requests that waited when checks took the backend down
    Counter no_backend{0};             // requests without a backend to go to
    Counter queued{0};                 // requests that waited for room at a server
    Counter queue_timeouts{0};         // of them, those that timed out
    Counter queue_full{0};             // requests that were refused because the queue was full
    Counter retries{0};
    Counter budget_spent{0};  // retries not made because the budget was spent
    Counter passive_marks_set{0};
    Counter passive_marks_cleared{0};
    Counter tunnel_idle_timeouts{0};
    // The process
    Counter log_lines_dropped{0};
    Counter ticks{0};  // life sign for the watchdog; not in the table
};

// The faults that are counted for each server as well, and their counters, in the order of
// ServerFault.
enum class ServerFault : std::uint8_t {
    refused,
    connect_timeout,
    head_timeout,
    body_timeout,
    write_timeout,
    broken,
    cut,
    malformed,
    taken_down,
};
inline constexpr std::size_t kServerFaults = 9;
inline constexpr Counter WorkerCounterCells::* kServerFaultCounters[kServerFaults] = {
    &WorkerCounterCells::connects_refused,       &WorkerCounterCells::connect_timeouts,
    &WorkerCounterCells::backend_head_timeouts,  &WorkerCounterCells::backend_body_timeouts,
    &WorkerCounterCells::backend_write_timeouts, &WorkerCounterCells::backend_broken,
    &WorkerCounterCells::backend_cut_responses,  &WorkerCounterCells::backend_malformed,
    &WorkerCounterCells::backend_taken_down,
};

// On cache lines of its own, so workers do not slow each other's counting.
struct alignas(64) WorkerCounters : WorkerCounterCells {
    // The last publication that the worker took over; not in the table.
    std::atomic<std::uint64_t> publication{0};
    // Earlier generations that requests, tunnels or clients of the worker use; not in the table.
    std::atomic<std::int64_t> old_generations{0};
    std::atomic<std::int64_t> old_generation_users{0};
    std::atomic<std::int64_t> connections{0};  // open client connections; not in the table
    // Backend connections that are kept for reuse, at the last tick; not in the table.
    std::atomic<std::int64_t> parked{0};
    // How late the latest of the last ticks was, see policy/tick_lateness.hpp; not in the table.
    std::atomic<std::uint64_t> tick_late_ns{0};
    // When the next tick is due, in nanoseconds of base::Clock; 0 without a running worker. Not in
    // the table.
    std::atomic<std::int64_t> tick_due_ns{0};
    // Listeners that wait for a descriptor or memory before they accept again; not in the table.
    std::atomic<std::int64_t> paused_listeners{0};
};

// Counters of the control thread: active checks, name lookups, stalls of the process.
struct ControlCounterCells {
    Counter passed{0};
    Counter failed{0};
    Counter discarded{0};  // no verdict: our own stall or lack of descriptors
    Counter went_down{0};
    Counter went_up{0};
    Counter marks_cleared{0};  // passive marks that passed checks cleared
    Counter lookups_failed{0};
    Counter stalls{0};  // times the process stood still for longer than 2 s
};

// Outcomes of name look-ups: an answer, or a policy::LookupFailure.
inline constexpr std::size_t kLookupOutcomes = 1 + policy::kLookupFailures;
inline std::string_view lookup_outcome(std::size_t place) {
    return place == 0 ? "answer" : policy::word_of(static_cast<policy::LookupFailure>(place - 1));
}

struct alignas(64) ControlCounters : ControlCounterCells {
    std::array<Counter, kLookupOutcomes> lookups{};  // not in the table
};

enum class CounterLevel : std::uint8_t {
    plain,    // ordinary work, or has a log line of its own: in the totals only
    note,     // harmless, worth a look when there are many: info
    trouble,  // a fault that was handled: warn
};

// One row: `name` for machines (snake case, unique), `one` and `many` for people.
struct CounterText {
    const char* name;
    const char* one;
    const char* many;
    CounterLevel level;
};

struct WorkerCounterRow {
    Counter WorkerCounterCells::* cell;
    CounterText text;
};

struct ControlCounterRow {
    Counter ControlCounterCells::* cell;
    CounterText text;
};

// In the order of the log lines: counters about clients first.
inline constexpr WorkerCounterRow kWorkerCounters[] = {
    {&WorkerCounterCells::accepted,
     {"client_connections", "connection accepted", "connections accepted", CounterLevel::plain}},
    {&WorkerCounterCells::handed_over,
     {"client_connections_handed_over", "connection handed to another worker",
      "connections handed to another worker", CounterLevel::plain}},
    {&WorkerCounterCells::requests,
     {"requests", "request served", "requests served", CounterLevel::plain}},
    {&WorkerCounterCells::local_replies,
     {"local_replies", "answer of our own", "answers of our own", CounterLevel::plain}},
    {&WorkerCounterCells::aborted_responses,
     {"aborted_responses", "response cut short", "responses cut short", CounterLevel::plain}},
    {&WorkerCounterCells::accept_paused,
     {"accept_pauses", "pause in accepting for want of descriptors",
      "pauses in accepting for want of descriptors", CounterLevel::trouble}},
    {&WorkerCounterCells::shed,
     {"connections_shed", "connection over limits.connections refused",
      "connections over limits.connections refused", CounterLevel::trouble}},
    {&WorkerCounterCells::shed_per_client,
     {"connections_shed_per_client", "connection over limits.per_client refused",
      "connections over limits.per_client refused", CounterLevel::trouble}},
    {&WorkerCounterCells::requests_limited,
     {"requests_limited_per_client", "request over limits.requests_per_client refused",
      "requests over limits.requests_per_client refused", CounterLevel::trouble}},
    {&WorkerCounterCells::proxy_headers_refused,
     {"proxy_headers_refused", "connection without a good PROXY protocol header refused",
      "connections without a good PROXY protocol header refused", CounterLevel::trouble}},
    {&WorkerCounterCells::proxy_header_timeouts,
     {"proxy_header_timeouts", "PROXY protocol header timeout", "PROXY protocol header timeouts",
      CounterLevel::trouble}},
    {&WorkerCounterCells::client_head_timeouts,
     {"client_head_timeouts", "client head timeout", "client head timeouts",
      CounterLevel::trouble}},
    {&WorkerCounterCells::client_body_timeouts,
     {"client_body_timeouts", "client body timeout", "client body timeouts",
      CounterLevel::trouble}},
    {&WorkerCounterCells::client_write_timeouts,
     {"client_write_timeouts", "client write timeout", "client write timeouts",
      CounterLevel::trouble}},
    {&WorkerCounterCells::client_idle_closed,
     {"client_idle_closed", "idle client connection closed", "idle client connections closed",
      CounterLevel::note}},
    {&WorkerCounterCells::clients_gone,
     {"clients_gone", "client gone before its answer's end",
      "clients gone before their answer's end", CounterLevel::note}},
    {&WorkerCounterCells::refused_requests,
     {"requests_refused", "malformed request refused", "malformed requests refused",
      CounterLevel::note}},
    {&WorkerCounterCells::cut_after_many_reloads,
     {"requests_cut_after_many_reloads", "request cut after many reloads",
      "requests cut after many reloads", CounterLevel::trouble}},
    {&WorkerCounterCells::status_page_denied,
     {"status_page_denied", "request for the status page denied",
      "requests for the status page denied", CounterLevel::note}},
    {&WorkerCounterCells::unknown_hosts,
     {"unknown_hosts", "request for a host of no site refused",
      "requests for hosts of no site refused", CounterLevel::note}},
    {&WorkerCounterCells::connects_refused,
     {"backend_connects_refused", "connect refused", "connects refused", CounterLevel::trouble}},
    {&WorkerCounterCells::connect_timeouts,
     {"backend_connect_timeouts", "connect timeout", "connect timeouts", CounterLevel::trouble}},
    {&WorkerCounterCells::connects_lacking,
     {"backend_connects_lacking", "connect failed for want of descriptors or ports",
      "connects failed for want of descriptors or ports", CounterLevel::trouble}},
    {&WorkerCounterCells::backend_head_timeouts,
     {"backend_head_timeouts", "backend head timeout", "backend head timeouts",
      CounterLevel::trouble}},
    {&WorkerCounterCells::backend_body_timeouts,
     {"backend_body_timeouts", "backend body timeout", "backend body timeouts",
      CounterLevel::trouble}},
    {&WorkerCounterCells::backend_write_timeouts,
     {"backend_write_timeouts", "backend write timeout", "backend write timeouts",
      CounterLevel::trouble}},
    {&WorkerCounterCells::backend_broken,
     {"backend_broken", "backend connection broken before an answer",
      "backend connections broken before an answer", CounterLevel::trouble}},
    {&WorkerCounterCells::backend_cut_responses,
     {"backend_cut_responses", "response cut by its backend", "responses cut by their backend",
      CounterLevel::trouble}},
    {&WorkerCounterCells::backend_malformed,
     {"backend_malformed", "malformed answer", "malformed answers", CounterLevel::trouble}},
    {&WorkerCounterCells::backend_unasked_bytes,
     {"backend_unasked_bytes", "backend connection closed for unasked bytes",
      "backend connections closed for unasked bytes", CounterLevel::trouble}},
    {&WorkerCounterCells::backend_taken_down,
     {"backend_taken_down", "request waiting on a backend that went down",
      "requests waiting on a backend that went down", CounterLevel::trouble}},
    {&WorkerCounterCells::backend_stale,
     {"backend_stale", "kept backend connection found closed",
      "kept backend connections found closed", CounterLevel::note}},
    {&WorkerCounterCells::no_backend,
     {"requests_without_backend", "request without a backend left",
      "requests without a backend left", CounterLevel::trouble}},
    {&WorkerCounterCells::queued,
     {"requests_queued", "request that waited for room at a server",
      "requests that waited for room at a server", CounterLevel::note}},
    {&WorkerCounterCells::queue_timeouts,
     {"queue_timeouts", "request that waited for room in vain",
      "requests that waited for room in vain", CounterLevel::trouble}},
    {&WorkerCounterCells::queue_full,
     {"queue_full", "request that found no place to wait", "requests that found no place to wait",
      CounterLevel::trouble}},
    {&WorkerCounterCells::retries, {"retries", "retry", "retries", CounterLevel::note}},
    {&WorkerCounterCells::budget_spent,
     {"retry_budget_spent", "retry not made: budget spent", "retries not made: budget spent",
      CounterLevel::trouble}},
    {&WorkerCounterCells::passive_marks_set,
     {"passive_marks_set", "passive mark set", "passive marks set", CounterLevel::trouble}},
    {&WorkerCounterCells::passive_marks_cleared,
     {"passive_marks_cleared", "passive mark cleared by a request",
      "passive marks cleared by requests", CounterLevel::note}},
    {&WorkerCounterCells::tunnel_idle_timeouts,
     {"tunnel_idle_timeouts", "idle tunnel closed", "idle tunnels closed", CounterLevel::note}},
    {&WorkerCounterCells::log_lines_dropped,
     {"access_log_lines_dropped", "access log line dropped", "access log lines dropped",
      CounterLevel::plain}},
};

inline constexpr ControlCounterRow kControlCounters[] = {
    {&ControlCounterCells::passed,
     {"checks_passed", "check passed", "checks passed", CounterLevel::plain}},
    {&ControlCounterCells::failed,
     {"checks_failed", "check failed", "checks failed", CounterLevel::plain}},
    {&ControlCounterCells::discarded,
     {"checks_discarded", "check without a verdict", "checks without a verdict",
      CounterLevel::plain}},
    {&ControlCounterCells::went_down,
     {"backends_went_down", "backend down", "backends down", CounterLevel::plain}},
    {&ControlCounterCells::went_up,
     {"backends_went_up", "backend up again", "backends up again", CounterLevel::plain}},
    {&ControlCounterCells::marks_cleared,
     {"passive_marks_cleared_by_checks", "passive mark cleared by checks",
      "passive marks cleared by checks", CounterLevel::note}},
    {&ControlCounterCells::lookups_failed,
     {"lookups_failed", "name lookup failed", "name lookups failed", CounterLevel::trouble}},
    {&ControlCounterCells::stalls,
     {"stalls", "stall of this process", "stalls of this process", CounterLevel::plain}},
};

// Every cell has its row, except `ticks`, which is not shown.
static_assert(sizeof(WorkerCounterCells) ==
                  (sizeof kWorkerCounters / sizeof *kWorkerCounters + 1) * sizeof(Counter),
              "a counter without a row in kWorkerCounters, or the other way round");
static_assert(sizeof(ControlCounterCells) ==
                  sizeof kControlCounters / sizeof *kControlCounters * sizeof(Counter),
              "a counter without a row in kControlCounters, or the other way round");

}  // namespace s3gate::state
