// What keeps a sick cluster from being hammered: tokens for retries that an answer's status caused
// (docs/architecture.md "Retry"). Every client request pays a tenth of a token in, such a retry
// takes one out, and a retry that helped gives it back. One balance per worker and group, written
// by that worker only; what counts is their sum, so a worker may draw on what the others have left.
// Pure functions of balances in thousandths of a token.
#pragma once

#include <cstddef>
#include <cstdint>

namespace s3gate::policy {

inline constexpr std::int32_t kToken = 1000;
inline constexpr std::int32_t kTokenDeposit = 100;  // per client request
// Of a group over all workers: at the start, and at most while few requests are in flight.
inline constexpr std::int32_t kGroupTokens = 10;

// Of a group with `in_flight` requests, retries under way that a status caused are at most a fifth
// of them or this many. More than for other retries: the tokens bound what a sick cluster sees.
inline constexpr std::int64_t kLeastStatusRetries = kGroupTokens;

// What one of `workers` workers begins with.
constexpr std::int32_t initial_tokens(std::size_t workers) {
    return static_cast<std::int32_t>(static_cast<std::size_t>(kGroupTokens * kToken) / workers);
}

// The most one worker may hold: its share, or a fifth of the group's requests that it has in
// flight. One node of six that answers badly has a seventh of all requests in a retry at any
// moment, whatever their number.
constexpr std::int32_t most_tokens(std::int32_t share, std::int64_t in_flight) {
    constexpr std::int64_t kMany = 1'000'000;  // far above; keeps the product small
    const std::int64_t fifth = (in_flight < kMany ? in_flight : kMany) * kToken / 5;
    return fifth > share ? static_cast<std::int32_t>(fifth) : share;
}

// After one more client request began.
constexpr std::int32_t after_deposit(std::int32_t balance, std::int32_t most) {
    return balance + kTokenDeposit < most ? balance + kTokenDeposit : most;
}

// True if a retry may be made. A balance of the worker's own says nothing: others may have drawn on
// it.
constexpr bool has_token(std::int64_t of_all_workers) {
    return of_all_workers >= kToken;
}

// After a retry began; below zero when it drew on others.
constexpr std::int32_t after_retry(std::int32_t balance) {
    return balance - kToken;
}

// After `retries` of one request turned out to have helped: its answer was a good one.
constexpr std::int32_t after_help(std::int32_t balance, unsigned retries, std::int32_t most) {
    const std::int64_t back = balance + static_cast<std::int64_t>(retries) * kToken;
    return back < most ? static_cast<std::int32_t>(back) : most;
}

// True for the statuses that lead to retries: an answer with one of them is no help.
constexpr bool is_bad_status(int status) {
    return status == 500 || status == 502 || status == 503 || status == 504;
}

}  // namespace s3gate::policy
