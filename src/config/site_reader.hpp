// One site's mapping → Site, with every default. Rules that look at a single key are applied here,
// rules between keys in validate.cpp.
#pragma once

#include "section.hpp"

namespace s3gate::config {

// Whether every server written made it into the site: rules that count servers are silent
// otherwise.
enum class ServerList { complete, partial };

struct SiteRead {
    Site site;
    ServerList servers = ServerList::complete;
};

SiteRead read_site(const Section& section);

// Shared with the main file: addresses to listen on, address blocks (with the loopback default),
// names of header fields that carry the message itself and so may never be configured.
std::vector<Listen> read_listen(const Section& section);
std::vector<base::Cidr> read_blocks(const Section& section, std::string_view key);
std::vector<base::Cidr> loopback_blocks();
bool is_reserved_field(std::string_view name);

}  // namespace s3gate::config
