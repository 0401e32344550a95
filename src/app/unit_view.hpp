// The rights that a systemd unit gives s3gate, read from the unit's file and its drop-ins without
// asking systemd. Judges a configuration with the rights of the unit's user.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "s3gate/config/load.hpp"

namespace s3gate::app {

// The user whose rights count. A user that systemd makes up while the service runs owns no files.
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

// The reason why `path` cannot be opened with these rights, and the command that helps. Judges
// every folder of the path from `from` on. Empty if the path can be opened, or if that is unknown.
// A file to be written may be missing if its folder is writable.
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
    std::vector<std::string> own_folders;  // LogsDirectory= and the like; systemd makes them
    std::vector<std::string> writable;     // ReadWritePaths=
    std::vector<std::string> bound;        // BindPaths= with the same source and destination
    bool may_bind_low_ports = false;
    std::uint64_t kept_sockets = 0;  // FileDescriptorStoreMax=

    Identity identity() const;
};

// The unit in `file`, with the drop-ins in "FILE.d"; nullopt when it cannot be read.
std::optional<UnitView> read_unit(const std::string& file);

// The unit s3gate.service of this host, with all its drop-ins; nullopt when there is none.
std::optional<UnitView> installed_unit();

// The settings of [Service] of that unit and its drop-ins, as one text that differs where they do;
// empty when there is none.
std::string installed_settings();

// Adds a warning for each thing that the unit would refuse.
void check_unit(const UnitView& unit, config::LoadResult& result);

}  // namespace s3gate::app
