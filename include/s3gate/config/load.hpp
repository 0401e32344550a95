// Loads a Config from a file: reads the main file and its includes, applies defaults and collects
// every problem. Blocking file I/O; called at the start and by `s3gate check`, never by a worker.
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
    std::vector<std::string> files;  // all files that were read or should have been, in that order
    std::vector<std::string> folders;  // those that an include pattern searched
    bool ok() const { return problems.empty(); }
};

// Value of an environment variable; nullopt if it is not set. A parameter for tests.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;
Environment process_environment();

// Where the control socket of this configuration is; empty when it has none. `auto` is ctl.sock in
// the first folder of RUNTIME_DIRECTORY, as systemd sets it, and without that there is none.
std::string control_socket(const Admin& admin, const Environment& environment);

// Reads `file` and its includes. Never throws because of the files' content; the result has all
// problems, in the order of files and lines.
LoadResult load(const std::string& file, const Environment& environment);

// Reads the key `admin` of a file that may have problems everywhere else. `config.admin` is
// complete as far as `admin.socket`, and says where the daemon's socket is, only when `problems` is
// empty: they are those that leave this socket in doubt, also a file that cannot be read.
LoadResult load_admin(const std::string& file, const Environment& environment);

// Reads a text that dump() made, of this or another version. Problems call it `name`.
LoadResult load_dump(const std::string& text, const std::string& name);

// Checks the rules between keys for load(): duplicates, impossible values, combinations that cannot
// work. Public for tests.
void validate(const Config& config, LoadResult& result);

// Summary of a good configuration for `s3gate check`: several lines, each with a newline.
std::string summary(const Config& config);

// Every key with its value in effect, as one main file that contains its sites. load() reads it to
// the same configuration: variables and ranges are replaced, relative paths absolute, disabled
// sites left out. Holds the salts, and says so in its first line.
std::string dump(const Config& config);

// The path of a site's key in problems; prefixed with "sites[2]." if the site is in the main file.
std::string key_of(const Site& site, std::string_view key);

// A server that is one of our own listeners. It is a loop if requests return to the site they came
// from, possibly through other sites.
struct OwnServer {
    const Site* site = nullptr;
    const Server* server = nullptr;
    const Site* target = nullptr;
    const Listen* listen = nullptr;
    bool is_loop = false;
};
using AddressesOf = std::function<std::vector<base::IpAddress>(const Server& server)>;
using IsLocal = std::function<bool(const base::IpAddress& ip)>;
// `is_local` decides which addresses a wildcard listener has. load() uses written addresses and
// refuses loops; the checks of a host also use its own addresses.
std::vector<OwnServer> find_own_servers(const Config& config, const AddressesOf& addresses_of,
                                        const IsLocal& is_local);
// The problem for an own server.
Problem explain(const OwnServer& own);
// The server's address if numeric or localhost; else none.
std::vector<base::IpAddress> written_addresses(const Server& server);
bool is_loopback(const base::IpAddress& ip);

}  // namespace s3gate::config
