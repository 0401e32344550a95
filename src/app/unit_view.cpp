#include "unit_view.hpp"

#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <grp.h>
#include <pwd.h>
#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iomanip>
#include <map>
#include <set>
#include <sstream>
#include <string_view>
#include <thread>
#include <utility>

#include "s3gate/base/text.hpp"

namespace s3gate::app {
namespace {

namespace fs = std::filesystem;

// FileDescriptorStoreMax= of systemd/s3gate.service.
constexpr std::uint64_t kShippedBound = 4096;
constexpr std::string_view kLowPorts = "CAP_NET_BIND_SERVICE";

// The user ids that systemd reserves for DynamicUser= (its UIDS-GIDS document).
bool is_made_up_number(uid_t uid) {
    return uid >= 61184 && uid <= 65519;
}

// systemd.syntax(7).
bool is_true(std::string_view value) {
    return std::ranges::any_of(std::array{"1", "yes", "y", "true", "t", "on"},
                               [&](const char* word) { return base::iequals(value, word); });
}

std::string with_all(std::string text, std::string_view from, std::string_view to) {
    for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
        text.replace(at, from.size(), to);
    }
    return text;
}

std::vector<std::string> words_of(const std::string& text) {
    std::istringstream in(text);
    std::vector<std::string> out;
    for (std::string word; in >> std::quoted(word);) {
        out.push_back(with_all(word, "%%", "%"));  // '%' begins a specifier
    }
    return out;
}

// NAME=PATH in the syntax that words_of() and systemd read.
std::string setting_of(std::string_view name, const std::string& path) {
    std::ostringstream out;
    out << name << '=';
    const std::string value = with_all(path, "%", "%%");
    if (value.find_first_of(" \t\"'\\") == std::string::npos) {
        out << value;
    } else {
        out << std::quoted(value);
    }
    return out.str();
}

// Quotes one word of a command for a shell.
std::string shell_word(const std::string& path) {
    const bool is_plain = std::ranges::all_of(path, [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
               std::string_view("/._-+:@%,=").find(c) != std::string_view::npos;
    });
    return is_plain ? path : "'" + with_all(path, "'", "'\\''") + "'";
}

struct Setting {
    std::string name;
    std::string value;
};

// The settings of [Service], in their order. A backslash at the end of a line continues it.
void read_settings(const std::string& file, std::vector<Setting>& out) {
    std::ifstream in(file);
    bool is_service = false;
    std::string line;
    for (std::string part; std::getline(in, part);) {
        const std::string_view bare = base::trim_ows(part);
        if (bare.empty() || bare.front() == '#' || bare.front() == ';') {
            continue;
        }
        line += bare;
        if (line.ends_with('\\')) {
            line.back() = ' ';
            continue;
        }
        const std::string whole = std::exchange(line, {});
        const std::size_t equals = whole.find('=');
        if (whole.starts_with('[')) {
            is_service = whole == "[Service]";
        } else if (is_service && equals != std::string::npos) {
            out.push_back({std::string(base::trim_ows(whole.substr(0, equals))),
                           std::string(base::trim_ows(whole.substr(equals + 1)))});
        }
    }
}

// Each line adds to the list; an empty value clears it.
void add_to(std::vector<std::string>& list, const std::string& value,
            const std::function<std::string(std::string)>& item_of) {
    if (value.empty()) {
        list.clear();
    }
    for (std::string& word : words_of(value)) {
        if (std::string item = item_of(std::move(word)); !item.empty()) {
            list.push_back(std::move(item));
        }
    }
}

// The path without the prefixes "-" (may be missing) and "+" (below RootDirectory=).
std::string path_of(std::string word) {
    return word.substr(std::min(word.find_first_not_of("-+"), word.size()));
}

// SOURCE[:DESTINATION[:OPTIONS]]: the path if source and destination are the same, else empty.
std::string bound_path_of(std::string word) {
    const std::string whole = path_of(std::move(word));
    const std::size_t colon = whole.find(':');
    std::string source = whole.substr(0, colon);
    if (colon == std::string::npos) {
        return source;
    }
    const std::size_t end = whole.find(':', colon + 1);
    const bool stays = whole.substr(colon + 1, end - colon - 1) == source;
    return stays ? source : std::string();
}

// Applies a line to a set of capabilities: it adds to the set, or removes from it with "~". `has`
// tells whether the set has kLowPorts.
void change_set(bool& has, const std::string& value) {
    const bool takes_away = value.starts_with('~');
    const auto names = words_of(takes_away ? value.substr(1) : value);
    const bool is_named = std::ranges::any_of(
        names, [](const std::string& name) { return base::iequals(name, kLowPorts); });
    if (value.empty()) {
        has = false;
    } else if (is_named) {
        has = !takes_away;
    } else if (takes_away) {
        has = true;
    }
}

// "program --config FILE …": the file, or the default if the command names none.
std::string config_of(const std::string& command) {
    const auto words = words_of(command);
    for (std::size_t i = 0; i + 1 < words.size(); ++i) {
        if (words[i] == "--config" || words[i] == "-c" || words[i] == "-f") {
            return words[i + 1];
        }
    }
    for (const std::string& word : words) {
        if (word.starts_with("--config=")) {
            return word.substr(9);
        }
    }
    return "/etc/s3gate/s3gate.yaml";
}

UnitView::System system_of(const std::string& value) {
    if (value == "strict") {
        return UnitView::System::strict;
    }
    if (value == "full") {
        return UnitView::System::full;
    }
    return is_true(value) ? UnitView::System::partly : UnitView::System::writable;
}

UnitView::Home home_of(const std::string& value) {
    if (value == "read-only") {
        return UnitView::Home::read_only;
    }
    if (value == "tmpfs") {
        return UnitView::Home::empty;
    }
    return is_true(value) ? UnitView::Home::hidden : UnitView::Home::visible;
}

std::string print(UnitView::System system) {
    switch (system) {
        case UnitView::System::strict:
            return "strict";
        case UnitView::System::full:
            return "full";
        case UnitView::System::partly:
            return "yes";
        case UnitView::System::writable:
            return "no";
    }
    return {};
}

std::string print(UnitView::Home home) {
    switch (home) {
        case UnitView::Home::visible:
            return "no";
        case UnitView::Home::read_only:
            return "read-only";
        case UnitView::Home::empty:
            return "tmpfs";
        case UnitView::Home::hidden:
            return "yes";
    }
    return {};
}

// The folders that systemd creates for a unit and gives to its user.
constexpr auto kOwnFolders =
    std::to_array<std::pair<std::string_view, std::string_view>>({{"LogsDirectory", "/var/log/"},
                                                                  {"StateDirectory", "/var/lib/"},
                                                                  {"CacheDirectory", "/var/cache/"},
                                                                  {"RuntimeDirectory", "/run/"}});

struct Capabilities {
    bool ambient = false;
    bool bounding = true;
    bool bounding_is_set = false;
};

void apply(UnitView& unit, Capabilities& capabilities, const Setting& setting) {
    const auto& [name, value] = setting;
    const auto folder =
        std::ranges::find(kOwnFolders, name, [](const auto& row) { return row.first; });
    if (folder != kOwnFolders.end()) {
        add_to(unit.own_folders, value, [&](const std::string& word) {
            return std::string(folder->second) + word.substr(0, word.find(':'));
        });
    } else if (name == "ReadWritePaths" || name == "ReadWriteDirectories") {
        add_to(unit.writable, value, path_of);
    } else if (name == "BindPaths") {
        add_to(unit.bound, value, bound_path_of);
    } else if (name == "User") {
        unit.user = value;
    } else if (name == "Group") {
        unit.group = value;
    } else if (name == "SupplementaryGroups") {
        add_to(unit.more_groups, value, [](std::string word) { return word; });
    } else if (name == "DynamicUser") {
        unit.has_dynamic_user = is_true(value);
    } else if (name == "PrivateTmp") {
        unit.has_private_tmp = is_true(value) || value == "disconnected";
    } else if (name == "ProtectSystem") {
        unit.system = system_of(value);
    } else if (name == "ProtectHome") {
        unit.home = home_of(value);
    } else if (name == "ExecStart" && !value.empty()) {
        unit.config_file = config_of(value);
    } else if (name == "FileDescriptorStoreMax") {
        unit.kept_sockets = base::parse_decimal(value).value_or(unit.kept_sockets);
    } else if (name == "AmbientCapabilities") {
        change_set(capabilities.ambient, value);
    } else if (name == "CapabilityBoundingSet") {
        // The first line replaces the full set, which applies without any line.
        const bool is_first = !std::exchange(capabilities.bounding_is_set, true);
        if (is_first && !value.starts_with('~')) {
            capabilities.bounding = false;
        }
        change_set(capabilities.bounding, value);
    }
}

UnitView view_of(const std::string& file, const std::vector<std::string>& drop_ins) {
    UnitView unit;
    unit.file = file;
    std::vector<Setting> settings;
    read_settings(file, settings);
    for (const std::string& drop_in : drop_ins) {
        read_settings(drop_in, settings);
    }
    Capabilities capabilities;
    for (const Setting& setting : settings) {
        apply(unit, capabilities, setting);
    }
    if (unit.has_dynamic_user) {  // systemd.exec(5): implied
        unit.system = UnitView::System::strict;
        unit.home = std::max(unit.home, UnitView::Home::read_only);
        unit.has_private_tmp = true;
    }
    const bool is_root = unit.user.empty() || unit.user == "root" || unit.user == "0";
    unit.may_bind_low_ports =
        capabilities.bounding && (capabilities.ambient || (is_root && !unit.has_dynamic_user));
    return unit;
}

// In the order of names, as in systemd. Of files with the same name the first folder's counts.
std::vector<std::string> drop_ins_of(const std::vector<std::string>& folders) {
    std::map<std::string, std::string> by_name;
    for (const std::string& folder : folders) {
        std::error_code ignored;
        for (const auto& entry : fs::directory_iterator(folder, ignored)) {
            if (entry.path().extension() == ".conf") {
                by_name.emplace(entry.path().filename().string(), entry.path().string());
            }
        }
    }
    std::vector<std::string> out;
    for (const auto& [name, path] : by_name) {
        out.push_back(path);
    }
    return out;
}

struct UnitFiles {
    std::string file;  // empty: there is none
    std::vector<std::string> drop_ins;
};

// Those of s3gate.service on this host, as systemd finds them.
UnitFiles installed_files() {
    constexpr std::string_view kName = "s3gate.service";
    UnitFiles out;
    std::vector<std::string> folders;
    for (const std::string root :
         {"/etc/systemd/system/", "/run/systemd/system/", "/usr/local/lib/systemd/system/",
          "/usr/lib/systemd/system/", "/lib/systemd/system/"}) {
        const std::string path = root + std::string(kName);
        if (out.file.empty() && std::ifstream(path)) {
            out.file = path;
        }
        folders.push_back(path + ".d");
    }
    out.drop_ins = drop_ins_of(folders);
    return out;
}

bool is_below(const std::string& path, const std::string& folder) {
    return path == folder || path.starts_with(folder.ends_with('/') ? folder : folder + "/");
}

template <class Folders>
bool is_below_any(const std::string& path, const Folders& folders) {
    return std::ranges::any_of(folders, [&](const auto& f) { return is_below(path, f); });
}

std::string folder_of(const std::string& path) {
    return path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
}

// ---- who may do what

enum class Class { owner, member, other };

Class class_of(const struct stat& status, const Identity& who) {
    if (!who.is_made_up && status.st_uid == who.uid) {
        return Class::owner;
    }
    return std::ranges::find(who.groups, status.st_gid) != who.groups.end() ? Class::member
                                                                            : Class::other;
}

bool may(const struct stat& status, const Identity& who, unsigned wanted) {
    if (who.is_root) {
        return true;
    }
    const Class mine = class_of(status, who);
    const unsigned shift = mine == Class::owner ? 6 : mine == Class::member ? 3 : 0;
    return (status.st_mode >> shift & wanted) == wanted;
}

// An access list can grant rights that the mode does not show.
bool has_access_list(const std::string& path) {
    return ::getxattr(path.c_str(), "system.posix_acl_access", nullptr, 0) > 0;
}

std::string name_of_user(uid_t uid) {
    const passwd* const entry = ::getpwuid(uid);
    return entry == nullptr ? std::to_string(uid) : entry->pw_name;
}

std::string name_of_group(gid_t gid) {
    const group* const entry = ::getgrgid(gid);
    return entry == nullptr ? std::to_string(gid) : entry->gr_name;
}

// The message about a closed file or folder.
std::string describe(const std::string& path, const struct stat& status) {
    std::array<char, 16> mode{};
    std::snprintf(mode.data(), mode.size(), "%04o", static_cast<unsigned>(status.st_mode) & 07777);
    return path + " belongs to " + name_of_user(status.st_uid) + ":" +
           name_of_group(status.st_gid) + " with mode " + mode.data();
}

// A command that names this user. A user of DynamicUser= has a name only while the service runs,
// and a temporary number, so a user of the host must take the name first.
std::string run_as(const Identity& who, const std::string& command) {
    if (!who.is_made_up) {
        return "run: " + command;
    }
    return "while the service is stopped, run: useradd --system " + who.user +
           (command.empty() ? "" : " && " + command);
}

// The command that grants the rights in `letters`, if possible to this user alone.
std::string give(const std::string& path, const struct stat& status, const Identity& who,
                 const std::string& letters) {
    const std::string shown = shell_word(path);
    const std::string by_group =
        run_as(who, "chgrp " + who.group + " " + shown + " && chmod g+" + letters + " " + shown);
    if (who.is_made_up) {
        return "; " + by_group + "; or, if everybody may, run: chmod o+" + letters + " " + shown;
    }
    switch (class_of(status, who)) {
        case Class::owner:
            return "; run: chmod u+" + letters + " " + shown;
        case Class::member:
            return "; run: chmod g+" + letters + " " + shown;
        case Class::other:
            break;
    }
    return "; " + by_group;
}

// The command that makes a folder for logs: a shared folder such as /var/log keeps its owner.
std::string make_folder(const std::string& folder, const Identity& who) {
    return run_as(
        who, "install -d -m 0750 -o " + who.user + " -g " + who.group + " " + shell_word(folder));
}

// Empty if every folder from `from` to `path` lets this user through, or if that is unknown.
std::string find_closed_folder(const std::string& path, const Identity& who,
                               const std::string& from) {
    std::size_t slash = from == "/" ? 0 : from.size();
    for (; slash < path.size(); slash = path.find('/', slash + 1)) {
        const std::string folder = slash == 0 ? "/" : path.substr(0, slash);
        struct stat status{};
        if (::stat(folder.c_str(), &status) != 0) {
            return {};
        }
        if (!may(status, who, 1) && !has_access_list(folder)) {
            return describe(folder, status) + give(folder, status, who, "x");
        }
    }
    return {};
}

std::string find_closed(const std::string& path, const Identity& who, unsigned wanted,
                        const std::string& letters) {
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0 || may(status, who, wanted) || has_access_list(path)) {
        return {};
    }
    return describe(path, status) + give(path, status, who, letters);
}

bool is_missing(const std::string& folder) {
    struct stat status{};
    return ::stat(folder.c_str(), &status) != 0 && errno == ENOENT;
}

std::string own_folder_in(const std::string& folder) {
    return (folder == "/" ? "" : folder) + "/s3gate";
}

// Empty if this user can make a file there.
std::string find_closed_to_files(const std::string& folder, const Identity& who) {
    struct stat status{};
    if (::stat(folder.c_str(), &status) != 0) {
        return errno == ENOENT ? "there is no folder " + folder + "; " + make_folder(folder, who)
                               : std::string();
    }
    if (may(status, who, 3) || has_access_list(folder)) {
        return {};
    }
    return describe(folder, status) + "; " + make_folder(own_folder_in(folder), who) +
           ", and log there";
}

// ---- what the unit refuses

enum class Purpose { log, socket };

constexpr std::array kHomes = {"/home", "/root", "/run/user"};
constexpr std::array kTemporary = {"/tmp", "/var/tmp"};
constexpr const char* kStaticUser = "DynamicUser=no";

class Judge {
  public:
    Judge(const UnitView& unit, config::LoadResult& result)
        : unit_(unit), who_(unit.identity()), result_(result) {}

    void check_user() const;
    void check_ports() const;
    void check_files() const;
    void check_targets() const;
    void check_kept_sockets() const;

  private:
    void warn(const config::Location& where, std::string key, std::string message) const {
        result_.warnings.push_back({where, std::move(key), std::move(message)});
    }
    void check_port(const config::Listen& listen, const std::string& key) const;
    void check_target(const std::string& target, const config::Location& where,
                      const std::string& key, Purpose purpose) const;
    bool may_be_bound(const std::string& path) const;
    bool is_hidden(const std::string& path) const;
    bool is_private(const std::string& path) const;
    std::string find_protection(const std::string& path) const;
    std::string choose_below(Purpose purpose) const;
    std::string way_to(const std::string& path, std::vector<std::string> lines,
                       std::string_view setting) const;
    std::string refusal_of(const std::string& path, Purpose purpose) const;
    std::string first_folder_of(const std::string& path) const;
    std::string find_write_obstacle(const std::string& path) const;
    std::string drop_in(const std::vector<std::string>& lines) const;
    std::string whose_user() const { return who_.user + ", as whom the unit runs"; }

    const UnitView& unit_;
    Identity who_;
    config::LoadResult& result_;
};

// The advice: lines for a drop-in of the unit.
std::string Judge::drop_in(const std::vector<std::string>& lines) const {
    std::string shown;
    for (const std::string& line : lines) {
        shown += (shown.empty() ? "" : " and ") + line;
    }
    return "with systemctl edit " + fs::path(unit_.file).stem().string() +
           " add below [Service] the line" + (lines.size() > 1 ? "s " : " ") + shown;
}

void Judge::check_user() const {
    const config::Config& config = result_.config;
    if (config.user.empty() || who_.is_root) {
        return;
    }
    const std::string started =
        "has no effect: the unit starts s3gate as " + who_.user + " already; remove it";
    warn(config.user_where, "user",
         config.user == who_.user
             ? started
             : started + ", and for another user " + drop_in({"User=" + config.user, kStaticUser}));
}

void Judge::check_port(const config::Listen& listen, const std::string& key) const {
    const std::uint16_t port = listen.address.port();
    std::uint16_t lowest = 1024;
    std::ifstream("/proc/sys/net/ipv4/ip_unprivileged_port_start") >> lowest;
    if (port == 0 || port >= lowest || unit_.may_bind_low_ports) {
        return;
    }
    warn(listen.where, key,
         listen.text + " will be refused: a port below " + std::to_string(lowest) + " needs " +
             std::string(kLowPorts) + ", which the unit does not give; " +
             drop_in({"AmbientCapabilities=" + std::string(kLowPorts),
                      "CapabilityBoundingSet=" + std::string(kLowPorts)}));
}

void Judge::check_ports() const {
    for (const config::Site& site : result_.config.sites) {
        for (const config::Listen& listen : site.listen) {
            check_port(listen, config::key_of(site, "listen"));
        }
    }
    for (const config::Listen& listen : result_.config.admin.listen) {
        check_port(listen, "admin.listen");
    }
}

// Judges only the configuration that the unit reads. Other files, such as a draft, need not be
// readable for its user.
void Judge::check_files() const {
    std::error_code ignored;
    if (!fs::equivalent(unit_.config_file, result_.config.file, ignored)) {
        return;
    }
    const auto check = [&](const std::string& path, Access access, const std::string& verb) {
        const std::string absolute = fs::absolute(path).lexically_normal().string();
        if (is_hidden(absolute) || is_private(absolute)) {
            warn({path, 0}, {},
                 "cannot be " + verb + " by the unit: " +
                     (is_hidden(absolute) ? "ProtectHome=" + print(unit_.home) : "PrivateTmp=yes") +
                     " hides it; move it below /etc/s3gate");
            return;
        }
        const std::string obstacle =
            find_obstacle(absolute, who_, access, first_folder_of(absolute));
        if (!obstacle.empty()) {
            warn({path, 0}, {}, "cannot be " + verb + " by " + whose_user() + ": " + obstacle);
        }
    };
    for (const std::string& folder : result_.folders) {
        check(folder, Access::list, "searched");
    }
    for (const std::string& file : result_.files) {
        check(file, Access::read, "read");
    }
}

// Since a systemd version between 252 and 257 an empty /root admits only root.
bool Judge::may_be_bound(const std::string& path) const {
    return who_.is_root || !is_below(path, "/root");
}

bool Judge::is_hidden(const std::string& path) const {
    const bool is_reached = unit_.home == UnitView::Home::empty && may_be_bound(path) &&
                            is_below_any(path, unit_.bound);
    return unit_.home >= UnitView::Home::empty && is_below_any(path, kHomes) && !is_reached;
}

bool Judge::is_private(const std::string& path) const {
    return unit_.has_private_tmp && is_below_any(path, kTemporary) &&
           !is_below_any(path, unit_.bound);
}

// The setting that makes a path read-only; empty if it is writable.
std::string Judge::find_protection(const std::string& path) const {
    if (is_below_any(path, unit_.writable) || is_below_any(path, unit_.bound)) {
        return {};
    }
    if (unit_.home == UnitView::Home::read_only && is_below_any(path, kHomes)) {
        return "ProtectHome=" + print(unit_.home);
    }
    const bool is_system = is_below_any(path, std::array{"/usr", "/boot", "/efi"});
    const bool is_read_only = unit_.system == UnitView::System::strict ||
                              (unit_.system == UnitView::System::full && is_below(path, "/etc")) ||
                              (unit_.system >= UnitView::System::partly && is_system);
    return is_read_only ? "ProtectSystem=" + print(unit_.system) : std::string();
}

// Advises a file below the unit's own folder for this purpose, with the line that makes such a
// folder where there is none.
std::string Judge::choose_below(Purpose purpose) const {
    const auto& [name, base] = purpose == Purpose::log ? kOwnFolders.front() : kOwnFolders.back();
    for (const std::string& own : unit_.own_folders) {
        if (own.starts_with(base)) {
            return "choose a file below " + own;
        }
    }
    const std::string own = fs::path(unit_.file).stem().string();
    return drop_in({setting_of(name, own)}) + " and choose a file below " + std::string(base) + own;
}

// Advises how the unit's user can write beside `path`: `lines` for the unit, and a line that sets
// `setting` to a folder. Empty if only the unit's own folder is possible.
std::string Judge::way_to(const std::string& path, std::vector<std::string> lines,
                          std::string_view setting) const {
    std::string folder = folder_of(path);
    std::string elsewhere;
    if (!is_missing(folder) && !find_closed_to_files(folder, who_).empty()) {
        folder = own_folder_in(folder);
        elsewhere = "one below " + folder + ": ";
    }
    if (is_below_any(folder, unit_.own_folders)) {
        return {};
    }
    const auto own = std::ranges::find_if(
        kOwnFolders, [&](const auto& row) { return folder.starts_with(row.second); });
    if (is_missing(folder) && setting == "ReadWritePaths" && own != kOwnFolders.end()) {
        return elsewhere + drop_in({setting_of(own->first, folder.substr(own->second.size()))});
    }
    if (!setting.empty()) {
        lines.push_back(setting_of(setting, folder));
    }
    // systemd refuses to start a unit whose lines name a missing folder.
    std::string first;
    if (!find_closed_to_files(folder, who_).empty()) {
        first = make_folder(folder, who_) + ", and ";
    } else if (who_.is_made_up && std::ranges::find(lines, kStaticUser) != lines.end()) {
        first = run_as(who_, {}) + ", and ";
    }
    return elsewhere + first + drop_in(lines);
}

// The reason why the unit's mounts forbid writing there, with advice; empty if they do not.
std::string Judge::refusal_of(const std::string& path, Purpose purpose) const {
    std::string reason;
    std::string way;
    if (is_below(path, "/dev")) {
        return {};
    }
    if (is_hidden(path)) {
        reason = "cannot be written: ProtectHome=" + print(unit_.home) + " of the unit hides it";
        std::vector<std::string> lines;
        if (unit_.home != UnitView::Home::empty) {
            lines.emplace_back("ProtectHome=tmpfs");
        }
        way = may_be_bound(path) ? way_to(path, std::move(lines), "BindPaths") : std::string();
    } else if (is_private(path)) {
        reason =
            "goes to a /tmp of the unit's own (PrivateTmp=yes): nobody else sees it, and it "
            "is gone when the service stops";
        std::vector<std::string> lines = {"PrivateTmp=no"};
        if (unit_.has_dynamic_user) {  // implies PrivateTmp=yes, also against another line
            lines.insert(lines.begin(), kStaticUser);
        }
        const bool is_strict = unit_.system == UnitView::System::strict;
        way = way_to(path, std::move(lines), is_strict ? "ReadWritePaths" : "");
    } else if (const std::string protection = find_protection(path); !protection.empty()) {
        reason = "cannot be written: " + protection + " of the unit makes it read-only";
        way = way_to(path, {}, "ReadWritePaths");
    } else {
        return {};
    }
    return reason + "; " + choose_below(purpose) + (way.empty() ? way : ", or " + way);
}

// The first folder of the path to judge. Folders above a bind mount in an empty home are systemd's
// and admit every user.
std::string Judge::first_folder_of(const std::string& path) const {
    const auto bound = std::ranges::find_if(
        unit_.bound, [&](const std::string& folder) { return is_below(path, folder); });
    const bool is_in_empty_home = unit_.home == UnitView::Home::empty && is_below_any(path, kHomes);
    return is_in_empty_home && bound != unit_.bound.end() ? *bound : "/";
}

// systemd makes the unit's own folders and gives them to its user, but not the files in them.
std::string Judge::find_write_obstacle(const std::string& path) const {
    if (!is_below_any(path, unit_.own_folders)) {
        return find_obstacle(path, who_, Access::write, first_folder_of(path));
    }
    const std::string folder = folder_of(path);
    if (std::ranges::find(unit_.own_folders, folder) == unit_.own_folders.end() &&
        is_missing(folder)) {
        return "there is no folder " + folder + "; " + make_folder(folder, who_);
    }
    // Files of a user of DynamicUser= pass to the next such user.
    return who_.is_made_up ? std::string() : find_closed(path, who_, 2, "w");
}

void Judge::check_target(const std::string& target, const config::Location& where,
                         const std::string& key, Purpose purpose) const {
    if (!target.starts_with('/')) {
        return;
    }
    // The unit's own folders may be links to the place of folders for DynamicUser=.
    std::string path = fs::path(target).lexically_normal().string();
    if (std::error_code failed; !is_below_any(path, unit_.own_folders)) {
        const fs::path real = fs::weakly_canonical(path, failed);
        path = failed ? path : real.string();
    }
    if (const std::string refusal =
            is_below_any(path, unit_.own_folders) ? std::string() : refusal_of(path, purpose);
        !refusal.empty()) {
        warn(where, key, path + " " + refusal);
        return;
    }
    if (const std::string obstacle = find_write_obstacle(path); !obstacle.empty()) {
        warn(where, key, path + " cannot be written by " + whose_user() + ": " + obstacle);
    }
}

void Judge::check_targets() const {
    const config::Config& config = result_.config;
    check_target(config.log.target, config.log.where, "log.target", Purpose::log);
    check_target(config.access_log.target, config.access_log.where, "access_log.target",
                 Purpose::log);
    check_target(config.admin.socket, config.admin.where, "admin.socket", Purpose::socket);
}

// A socket for each address and worker, and one for each of admin.listen. Beyond the bound a crash
// closes them.
void Judge::check_kept_sockets() const {
    const config::Config& config = result_.config;
    std::set<std::string> addresses;
    for (const config::Site& site : config.sites) {
        for (const config::Listen& listen : site.listen) {
            addresses.insert(listen.text);
        }
    }
    const std::uint64_t workers =
        config.workers != 0 ? config.workers : std::thread::hardware_concurrency();
    const std::uint64_t sockets = addresses.size() * workers + config.admin.listen.size();
    if (unit_.kept_sockets < sockets) {
        warn({unit_.file, 0}, "FileDescriptorStoreMax",
             "is " + std::to_string(unit_.kept_sockets) + " for " + std::to_string(sockets) +
                 " listening sockets: after a crash clients of the others are refused until the "
                 "next process listens; " +
                 drop_in({"FileDescriptorStoreMax=" +
                          std::to_string(std::max<std::uint64_t>(sockets, kShippedBound))}));
    }
}

}  // namespace

std::optional<Identity> identity_of(const std::string& user) {
    const passwd* const entry = ::getpwnam(user.c_str());
    if (entry == nullptr) {
        return std::nullopt;
    }
    Identity out;
    out.user = user;
    out.uid = entry->pw_uid;
    out.is_root = out.uid == 0;
    const gid_t main_group = entry->pw_gid;
    out.groups.assign(64, 0);
    int count = static_cast<int>(out.groups.size());
    if (::getgrouplist(user.c_str(), main_group, out.groups.data(), &count) < 0) {
        out.groups.assign(static_cast<std::size_t>(count), 0);
        ::getgrouplist(user.c_str(), main_group, out.groups.data(), &count);
    }
    out.groups.resize(static_cast<std::size_t>(std::max(count, 0)));
    out.group = name_of_group(main_group);
    return out;
}

std::string find_obstacle(const std::string& path, const Identity& who, Access access,
                          const std::string& from) {
    std::error_code failed;
    const fs::path real = fs::weakly_canonical(path, failed);
    const std::string target = failed ? path : real.string();
    const std::string closed = find_closed_folder(target, who, from);
    if (!closed.empty()) {
        return closed;
    }
    switch (access) {
        case Access::read:
            return find_closed(target, who, 4, "r");
        case Access::list:
            return find_closed(target, who, 5, "rx");
        case Access::write:
            break;
    }
    struct stat status{};
    if (::stat(target.c_str(), &status) == 0) {
        return find_closed(target, who, 2, "w");
    }
    return find_closed_to_files(folder_of(target), who);
}

Identity UnitView::identity() const {
    Identity out;
    if (!user.empty() || has_dynamic_user) {
        const std::string name = user.empty() ? fs::path(file).stem().string() : user;
        auto found = identity_of(name);
        // While the service runs, a user of DynamicUser= has a number, which is invalid afterwards.
        if (found && !(has_dynamic_user && is_made_up_number(found->uid))) {
            out = std::move(*found);
        } else {
            out = {name, name, false, true, 0, {}};
        }
    }
    const auto add_group = [&](const std::string& name) {
        if (const struct group* const entry = ::getgrnam(name.c_str())) {
            out.groups.push_back(entry->gr_gid);
        }
    };
    if (!group.empty()) {
        out.group = group;
        add_group(group);
    }
    std::ranges::for_each(more_groups, add_group);
    return out;
}

std::optional<UnitView> read_unit(const std::string& file) {
    if (!std::ifstream(file)) {
        return std::nullopt;
    }
    return view_of(file, drop_ins_of({file + ".d"}));
}

std::optional<UnitView> installed_unit() {
    const UnitFiles files = installed_files();
    return files.file.empty() ? std::nullopt : std::optional(view_of(files.file, files.drop_ins));
}

std::string installed_settings() {
    const UnitFiles files = installed_files();
    std::vector<Setting> settings;
    read_settings(files.file, settings);
    for (const std::string& drop_in : files.drop_ins) {
        read_settings(drop_in, settings);
    }
    std::string text;
    for (const Setting& setting : settings) {
        text += setting.name + "=" + setting.value + "\n";
    }
    return text;
}

void check_unit(const UnitView& unit, config::LoadResult& result) {
    const Judge judge(unit, result);
    judge.check_user();
    judge.check_ports();
    judge.check_files();
    judge.check_targets();
    judge.check_kept_sockets();
}

}  // namespace s3gate::app
