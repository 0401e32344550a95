// The tables of docs/config.md, made from the rows of the keys.
#pragma once

#include <string>

namespace s3gate::config {

// The page with the table below every mark made anew. A mark is a line of its own that says which
// keys the table has, in this order: "<!-- keys of main -->" has all of the main file, "<!-- keys
// of site: retry limits -->" has those two of a site file with everything below them. A table ends
// at the next empty line.
std::string with_tables(const std::string& page);

}  // namespace s3gate::config
