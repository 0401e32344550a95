// The main file's mapping → everything of Config but its sites.
#pragma once

#include "section.hpp"

namespace s3gate::config {

// Relative paths are taken from `directory`, where the file stands.
void read_main(const Section& section, const std::string& directory, Config& out);

}  // namespace s3gate::config
