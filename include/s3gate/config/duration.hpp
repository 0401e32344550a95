// Durations as operators write them, for the configuration and for what takes one elsewhere. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "s3gate/base/clock.hpp"

namespace s3gate::config {

// A value, or the reason why there is none.
template <class T>
struct Parsed {
    std::optional<T> value;
    std::string error;  // empty when there is a value
};

// "250ms", "3s", "5m", "1h": whole numbers with a unit. A bare "0" is valid too.
Parsed<base::Duration> parse_duration(std::string_view text);
// In the largest unit that fits: "250ms", "3s", "5m", "1h".
std::string print_duration(base::Duration duration);

}  // namespace s3gate::config
