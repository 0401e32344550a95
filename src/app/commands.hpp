// The commands of the program, one file each. Called by main() with the options parsed; each
// returns the exit code.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "s3gate/config/load.hpp"

namespace s3gate::app {

// What every command reads unless another file is named.
inline constexpr const char* kDefaultFile = "/etc/s3gate/s3gate.yaml";

// What keeps a command from its work, on standard error: an error where that is the journal.
void complain(const std::string& message);

// Loads `file`; on problems prints each as `file:line: key.path: message` to `out` and returns
// null. Warnings go to `out` as well, after the word "warning" or, where `out` is the journal, with
// that priority.
std::shared_ptr<const config::Config> load_or_report(const std::string& file, std::FILE* out);

// The lines of load_or_report().
void print_findings(const config::LoadResult& result, std::FILE* out);

// `s3gate --config FILE`: serves until told to stop.
int run_daemon(const std::string& file);

struct CheckOptions {
    std::string file;
    bool is_strict = false;  // warnings are failures
    bool as_json = false;
    bool with_dump = false;  // print the values in effect instead of the summary
    std::string unit;        // the unit file to look with; empty = the installed one
};

// `s3gate check [FILE]`: everything a start does except listening and serving.
int run_check(const CheckOptions& options);

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
