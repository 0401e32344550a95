// From a file name to a Config: reads the main file and its includes, applies defaults and collects every problem.
// Does blocking file I/O; called at start and by `s3gate check`, never on a worker.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "s3gate/config/model.hpp"

namespace s3gate::config {

struct LoadResult {
    Config config;                  // complete only when `problems` is empty
    std::vector<Problem> problems;  // each one forbids a start
    std::vector<Problem> warnings;
    std::vector<std::string> files;  // those that were read, or should have been, in that order
    bool ok() const { return problems.empty(); }
};

// Value of an environment variable, nullopt when it is not set. A parameter so that tests need no environment.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;
Environment process_environment();

// Reads `file` and everything it includes. Never throws for what stands in the files; all problems are in the result, in the
// order of files and lines.
LoadResult load(const std::string& file, const Environment& environment);

// The rules between keys, applied by load(): duplicates, impossible values, combinations that cannot work. Public for tests.
void validate(const Config& config, LoadResult& result);

// What a good configuration amounts to, several lines, each ended by a newline: what `s3gate check` prints.
std::string summary(const Config& config);

}  // namespace s3gate::config
