// Addresses to listen on and address blocks, for the main file and for sites.
#pragma once

#include "section.hpp"

namespace s3gate::config {

// Both report a bad item and leave it out. An empty list of listen addresses is a problem; an empty
// list of blocks is not.
std::vector<Listen> read_listen(const Section& section, std::string_view key);
std::vector<base::Cidr> read_blocks(const Section& section, std::string_view key);

// True if the key holds an empty list.
bool is_empty_list(const Section& section, std::string_view key);

}  // namespace s3gate::config
