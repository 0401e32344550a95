// Reads one site's mapping into a Site. The rows of site_rows.cpp name these readers for keys that
// are more than a word or a number; `key` is the key's name in the section. Rules for a single key
// are here; rules between keys are in validate.cpp.
#pragma once

#include <array>

#include "section.hpp"

namespace s3gate::config {

// The reasons for another attempt, by the words of retry.on.
inline constexpr std::array<std::pair<std::string_view, bool RetryOn::*>, 6> kRetryReasons = {
    {{"error", &RetryOn::error},
     {"timeout", &RetryOn::timeout},
     {"500", &RetryOn::http_500},
     {"502", &RetryOn::http_502},
     {"503", &RetryOn::http_503},
     {"504", &RetryOn::http_504}}};

Site read_site(const Section& section);

void read_name(const Section& site, std::string_view key, Site& out);
void read_site_listen(const Section& site, std::string_view key, Site& out);
void read_hosts(const Section& site, std::string_view key, Site& out);
void read_domains(const Section& site, std::string_view key, Site& out);
void read_balance(const Section& site, std::string_view key, Site& out);
void read_key_sources(const Section& balance, std::string_view key, Site& out);
void read_backends(const Section& site, std::string_view key, Site& out);
void read_health(const Section& site, std::string_view key, Site& out);
void read_max_fails(const Section& server, std::string_view key, Server& out);
void read_passive(const Section& site, std::string_view key, Site& out);
void read_resolve(const Section& site, std::string_view key, Site& out);
void read_retry(const Section& site, std::string_view key, Site& out);
void read_retry_on(const Section& retry, std::string_view key, Site& out);
void read_requests_per_client(const Section& limits, std::string_view key, Site& out);
void read_rate(const Section& section, std::string_view key, Site& out);
void read_trusted(const Section& forwarded, std::string_view key, Site& out);
void read_headers(const Section& site, std::string_view key, Site& out);
void read_header_fields(const Section& headers, std::string_view key, Site& out);
void read_status_page(const Section& site, std::string_view key, Site& out);
void read_status_allow(const Section& status, std::string_view key, Site& out);
void read_session_header(const Section& site, std::string_view key, Site& out);

// Report a bad text.
void check_name(const Section& section, std::string_view key, const std::string& name);
void check_health_path(const Section& health, std::string_view key, const std::string& path);
void check_health_host(const Section& health, std::string_view key, const std::string& host);
void check_status_path(const Section& status, std::string_view key, const std::string& path);

// Reports a max_fails of 0 as a problem; returns true then.
bool is_zero_fails(const Section& passive, std::string_view key);

}  // namespace s3gate::config
