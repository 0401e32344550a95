// From a file name to a Config: reads the main file and its includes, applies defaults and collects
// every problem. Does blocking file I/O; called at start and by `s3gate check`, never on a worker.
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
    std::vector<std::string> files;    // those that were read, or should have been, in that order
    std::vector<std::string> folders;  // those that a pattern of include searched
    bool ok() const { return problems.empty(); }
};

// Value of an environment variable, nullopt when it is not set. A parameter so that tests need no
// environment.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;
Environment process_environment();

// Reads `file` and everything it includes. Never throws for what stands in the files; all problems
// are in the result, in the order of files and lines.
LoadResult load(const std::string& file, const Environment& environment);

// The rules between keys, applied by load(): duplicates, impossible values, combinations that
// cannot work. Public for tests.
void validate(const Config& config, LoadResult& result);

// What a good configuration amounts to, several lines, each ended by a newline: what `s3gate check`
// prints.
std::string summary(const Config& config);

// Every key with the value in effect as one main file with its sites in it, which load() reads to
// the same configuration: variables and ranges are replaced, relative paths absolute, disabled
// sites left out. Holds the salts.
std::string dump(const Config& config);

// How problems call a key of a site: with "sites[2]." before it when the site stands in the main
// file.
std::string key_of(const Site& site, std::string_view key);

// A server that is one of our own listeners. A loop if requests come back to the site they came
// from, be it through others.
struct OwnServer {
    const Site* site = nullptr;
    const Server* server = nullptr;
    const Site* target = nullptr;
    const Listen* listen = nullptr;
    bool is_loop = false;
};
using AddressesOf = std::function<std::vector<base::IpAddress>(const Server& server)>;
using IsLocal = std::function<bool(const base::IpAddress& ip)>;
// `is_local` decides what arrives at a wildcard. load() knows what is written and refuses loops; a
// host knows its addresses.
std::vector<OwnServer> find_own_servers(const Config& config, const AddressesOf& addresses_of,
                                        const IsLocal& is_local);
// What to say of one.
Problem explain(const OwnServer& own);
// The server's address if it is numeric or localhost; else none.
std::vector<base::IpAddress> written_addresses(const Server& server);
bool is_loopback(const base::IpAddress& ip);
bool is_wildcard(const base::IpAddress& ip);

}  // namespace s3gate::config
