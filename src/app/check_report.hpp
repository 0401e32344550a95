// The outcome of `s3gate check` as one JSON object.
#pragma once

#include <string>

#include "s3gate/config/load.hpp"

namespace s3gate::app {

// One line with its newline; valid JSON for any file content. docs/operations.md lists the keys.
std::string to_json(const config::LoadResult& result, const std::string& file, int exit_code);

}  // namespace s3gate::app
