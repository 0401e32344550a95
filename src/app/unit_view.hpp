// What a systemd unit lets s3gate do: read from the unit's file and its drop-ins, without asking
// systemd. Judges a configuration with the eyes of the user whom the unit starts.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "s3gate/config/load.hpp"

namespace s3gate::app {

// Whose rights count. A user whom systemd makes up for the time of the service owns nothing.
struct Identity {
    std::string user = "root";
    std::string group = "root";
    bool is_root = true;
    bool is_made_up = false;
    uid_t uid = 0;
    std::vector<gid_t> groups = {0};
};

// nullopt when there is no such user.
std::optional<Identity> identity_of(const std::string& user);

// Why `path` cannot be opened for reading or writing with these rights, and the command that helps:
// every folder on the way is looked at. Empty when it can, or when nobody can tell. A file to be
// written may be missing if its folder may be written. `from` is the first folder looked at.
enum class Access { read, write, list };
std::string find_obstacle(const std::string& path, const Identity& who, Access access,
                          const std::string& from = "/");

struct UnitView {
    enum class System { writable, partly, full, strict };
    enum class Home { visible, read_only, empty, hidden };

    std::string file;
    std::string config_file;  // of ExecStart
    std::string user;         // User=; empty = root
    std::string group;
    std::vector<std::string> more_groups;
    bool has_dynamic_user = false;
    bool has_private_tmp = false;
    System system = System::writable;
    Home home = Home::visible;
    std::vector<std::string> own_folders;  // LogsDirectory= and its like: systemd makes them
    std::vector<std::string> writable;     // ReadWritePaths=
    std::vector<std::string> bound;        // BindPaths= that lead to where they come from
    bool may_bind_low_ports = false;

    Identity identity() const;
};

// The unit in `file`, with the drop-ins in "FILE.d"; nullopt when it cannot be read.
std::optional<UnitView> read_unit(const std::string& file);

// The unit s3gate.service of this host, with all its drop-ins; nullopt when there is none.
std::optional<UnitView> installed_unit();

// Warnings of all that the unit would refuse.
void check_unit(const UnitView& unit, config::LoadResult& result);

}  // namespace s3gate::app
