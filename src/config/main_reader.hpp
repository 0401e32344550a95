// Readers of the main file's keys that are more than a word or a number. The rows of main_rows.cpp
// name them; `key` is the key's name in the section.
#pragma once

#include "section.hpp"

namespace s3gate::config {

// Default of `include` if neither it nor `sites` is written.
inline constexpr std::string_view kDefaultInclude = "sites/*.yaml";

// True if log.level is a level above error, reported as a problem.
bool is_above_error(const Section& log, std::string_view key);
void read_log_target(const Section& log, std::string_view key, Config& out);
void read_access_log(const Section& main, std::string_view key, Config& out);
void read_access_log_target(const Section& log, std::string_view key, Config& out);
void read_admin(const Section& main, std::string_view key, Config& out);
void read_admin_listen(const Section& admin, std::string_view key, Config& out);
void read_admin_allow(const Section& admin, std::string_view key, Config& out);
void read_admin_socket(const Section& admin, std::string_view key, Config& out);
void read_admin_operators(const Section& admin, std::string_view key, Config& out);
void read_user(const Section& main, std::string_view key, Config& out);

}  // namespace s3gate::config
