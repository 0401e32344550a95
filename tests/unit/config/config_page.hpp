// The tables of docs/config.md, made from the rows of the keys.
#pragma once

#include <string>

namespace s3gate::config {

// The page with a new table below every mark. A mark is a line that names the keys of its table in
// order: "<!-- keys of main -->" has all keys of the main file, "<!-- keys of site: retry limits
// -->" has these two of a site file with everything below them. A table ends at the next empty
// line.
std::string with_tables(const std::string& page);

}  // namespace s3gate::config
