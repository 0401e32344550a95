// Tokens limit the retries that an answer's status causes, so a sick cluster is not overloaded
// (docs/architecture.md "Retry"). Every client request pays in a tenth of a token, such a retry
// takes one, and a retry that helped returns it. One balance per worker and group, written by that
// worker only. The sum counts, so a worker may use the tokens of others. Pure functions of balances
// in thousandths of a token.
#pragma once

#include <cstddef>
#include <cstdint>

namespace s3gate::policy {

inline constexpr std::int32_t kToken = 1000;
inline constexpr std::int32_t kTokenDeposit = 100;  // per client request
// Tokens of a group over all workers: at the start, and at most while few requests are in flight.
inline constexpr std::int32_t kGroupTokens = 10;

// Concurrent retries for a status, in a group with `in_flight` requests: at most a fifth of them or
// this number. The number is higher than for other retries, because the tokens limit these as well.
inline constexpr std::int64_t kLeastStatusRetries = kGroupTokens;

// Initial balance of one of `workers` workers.
constexpr std::int32_t initial_tokens(std::size_t workers) {
    return static_cast<std::int32_t>(static_cast<std::size_t>(kGroupTokens * kToken) / workers);
}

// Limit on one worker's balance: its share, or a fifth of its in-flight requests in the group. If
// one node of six answers badly, a seventh of all requests are in a retry at any moment, whatever
// their number.
constexpr std::int32_t most_tokens(std::int32_t share, std::int64_t in_flight) {
    // Above any real number; prevents an overflow of the product.
    constexpr std::int64_t kMany = 1'000'000;
    const std::int64_t fifth = (in_flight < kMany ? in_flight : kMany) * kToken / 5;
    return fifth > share ? static_cast<std::int32_t>(fifth) : share;
}

// The balance after a new client request.
constexpr std::int32_t after_deposit(std::int32_t balance, std::int32_t most) {
    return balance + kTokenDeposit < most ? balance + kTokenDeposit : most;
}

// True if a retry is allowed. Only the sum decides: other workers may have used this worker's
// tokens.
constexpr bool has_token(std::int64_t of_all_workers) {
    return of_all_workers >= kToken;
}

// The balance after a retry began; negative if it used tokens of others.
constexpr std::int32_t after_retry(std::int32_t balance) {
    return balance - kToken;
}

// The balance after `retries` of one request helped: its answer was good.
constexpr std::int32_t after_help(std::int32_t balance, unsigned retries, std::int32_t most) {
    const std::int64_t back = balance + static_cast<std::int64_t>(retries) * kToken;
    return back < most ? static_cast<std::int32_t>(back) : most;
}

// True for the statuses that cause retries; such an answer is no help.
constexpr bool is_bad_status(int status) {
    return status == 500 || status == 502 || status == 503 || status == 504;
}

}  // namespace s3gate::policy
