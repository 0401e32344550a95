// The commands of the program, one file each. Called by main() with the options parsed; each
// returns the exit code.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "s3gate/config/load.hpp"

namespace s3gate::app {

// Loads `file`; on problems prints each as `file:line: key.path: message` to `out` and returns
// null. Warnings go to `out` as well, after the word "warning".
std::shared_ptr<const config::Config> load_or_report(const std::string& file, std::FILE* out);

// `s3gate --config FILE`: serves until told to stop.
int run_daemon(const std::string& file);

// `s3gate check --config FILE`: everything a start does except listening and serving.
int run_check(const std::string& file);

struct RouteOptions {
    std::string site;               // empty = every site
    std::optional<std::string> ip;  // of the client; the fingerprint needs it
    std::string user_agent;
    std::string accept_language;
    std::vector<std::string> arguments;  // keys, query strings, URLs
};

// `s3gate route --config FILE …`: where requests go, and why.
int run_route(const std::string& file, const RouteOptions& options);

}  // namespace s3gate::app
