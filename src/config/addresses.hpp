// Addresses to listen on and address blocks, for the main file and for sites.
#pragma once

#include "section.hpp"

namespace s3gate::config {

// Both report what is wrong with an item and leave it out. An empty list of addresses to listen on
// is a problem, an empty list of blocks is not.
std::vector<Listen> read_listen(const Section& section, std::string_view key);
std::vector<base::Cidr> read_blocks(const Section& section, std::string_view key);

// True if the key holds a list that has no item at all.
bool is_empty_list(const Section& section, std::string_view key);

}  // namespace s3gate::config
