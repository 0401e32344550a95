// The end of an attempt as the figures of its server count it. Each attempt has exactly one class.
// Pure.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <variant>

#include "s3gate/policy/attempt_end.hpp"

namespace s3gate::policy {

enum class AttemptClass : std::uint8_t {
    informational,  // switched protocols
    success,
    redirection,
    client_error,
    server_error,
    broken,    // sent, and no whole answer came: closed, reset, malformed, timed out, taken down
    unsent,    // no connection: refused, unreachable, timed out
    stale,     // a kept connection that the backend closed before or at its next use
    given_up,  // ended by the client, or by this proxy
};
inline constexpr std::size_t kAttemptClasses = 9;

// The words of the label `class`.
inline constexpr std::array<std::string_view, kAttemptClasses> kAttemptClassWords{
    "1xx", "2xx", "3xx", "4xx", "5xx", "broken", "unsent", "stale", "given_up"};

inline constexpr std::size_t kStatusClasses = 5;

// 0 for 1xx … 4 for 5xx and above.
constexpr std::size_t class_of_status(int status) {
    return static_cast<std::size_t>(std::clamp(status / 100, 1, 5) - 1);
}

constexpr AttemptClass class_of(const Failure& failure) {
    if (is_stale(failure)) {
        return AttemptClass::stale;
    }
    if (failure.side == Side::client || failure.side == Side::proxy) {
        return AttemptClass::given_up;
    }
    switch (failure.cause) {
        case Cause::refused:
        case Cause::connect_timeout:
            return AttemptClass::unsent;
        case Cause::no_descriptor:
        case Cause::interrupted:
        case Cause::abandoned:
        case Cause::client_stalled:
        case Cause::client_malformed:
            return AttemptClass::given_up;
        default:
            return AttemptClass::broken;
    }
}

constexpr AttemptClass class_of(const Answer& answer) {
    return static_cast<AttemptClass>(class_of_status(answer.status));
}

}  // namespace s3gate::policy
