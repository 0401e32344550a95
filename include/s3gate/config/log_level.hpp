// The words for log.level, in the configuration and for operators. Pure.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "s3gate/config/model.hpp"

namespace s3gate::config {

inline constexpr auto kLogLevels = std::to_array<std::pair<std::string_view, LogLevel>>({
    {"debug", LogLevel::debug},
    {"info", LogLevel::info},
    {"warn", LogLevel::warn},
    {"error", LogLevel::error},
});
// Words of syslog and nginx, and ours for them.
inline constexpr auto kLogLevelSynonyms =
    std::to_array<std::pair<std::string_view, std::string_view>>(
        {{"warning", "warn"}, {"err", "error"}, {"notice", "info"}, {"trace", "debug"}});

constexpr std::string_view word_of(LogLevel level) {
    return std::ranges::find(kLogLevels, level, [](const auto& row) { return row.second; })->first;
}

// nullopt for any other text.
constexpr std::optional<LogLevel> parse_log_level(std::string_view text) {
    for (const auto& [word, ours] : kLogLevelSynonyms) {
        text = text == word ? ours : text;
    }
    for (const auto& [word, level] : kLogLevels) {
        if (text == word) {
            return level;
        }
    }
    return std::nullopt;
}

}  // namespace s3gate::config
