#include "s3gate/config/load.hpp"

#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <sstream>
#include <system_error>
#include <utility>

#include "keys.hpp"
#include "main_reader.hpp"
#include "row.hpp"
#include "rules.hpp"
#include "s3gate/base/descriptor.hpp"
#include "s3gate/base/text.hpp"
#include "s3gate/base/utf8.hpp"
#include "section.hpp"
#include "site_reader.hpp"
#include "yaml_tree.hpp"

namespace s3gate::config {

namespace {

namespace fs = std::filesystem;

// Far above any real configuration; such a file still loads without noticeable delay.
constexpr std::size_t kMaxFileBytes = kMiB;

struct FileText {
    std::string text;
    std::string error;  // empty if the file was read
};

std::string system_message(int code) {
    return std::generic_category().message(code);
}

// O_NONBLOCK and regular files only: a FIFO without a writer must not hang a reload.
FileText read_file(const std::string& path) {
    const base::Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (fd.get() < 0) {
        return {{}, system_message(errno)};
    }
    struct stat status{};
    if (::fstat(fd.get(), &status) != 0) {
        return {{}, system_message(errno)};
    }
    if (!S_ISREG(status.st_mode)) {
        return {{}, S_ISDIR(status.st_mode) ? "it is a directory" : "it is not a regular file"};
    }
    FileText out;
    std::string chunk(64 * kKiB, '\0');
    while (out.text.size() <= kMaxFileBytes) {
        const ssize_t got = ::read(fd.get(), chunk.data(), chunk.size());
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return {{}, system_message(errno)};
        }
        if (got == 0) {
            return out;
        }
        out.text.append(chunk, 0, static_cast<std::size_t>(got));
    }
    return {{}, "it is larger than " + std::to_string(kMaxFileBytes / kMiB) + " MiB"};
}

// "dir/" of "dir/file", "" of "file": the base of relative names in that file.
std::string directory_of(const std::string& file) {
    const std::size_t slash = file.rfind('/');
    return slash == std::string::npos ? std::string() : file.substr(0, slash + 1);
}

std::string joined(const std::string& directory, const std::string& name) {
    return name.starts_with('/') ? name : directory + name;
}

bool is_pattern(std::string_view text) {
    return text.find_first_of("*?[") != std::string_view::npos;
}

// Escapes the directory for use in a pattern.
std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '*' || c == '?' || c == '[' || c == '\\') {
            out += '\\';
        }
        out += c;
    }
    return out;
}

// True for leftovers of editors and package managers; such a file is never a site.
bool is_left_over(std::string_view path) {
    const std::string_view name = path.substr(path.rfind('/') + 1);
    const auto ends = [&](std::string_view suffix) { return name.ends_with(suffix); };
    constexpr auto kSuffixes = std::to_array<std::string_view>(
        {"~",         ".bak",     ".old",     ".orig",     ".rej",      ".save",      ".tmp",
         ".swp",      ".swo",     ".swx",     ".dpkg-old", ".dpkg-new", ".dpkg-dist", ".dpkg-bak",
         ".dpkg-tmp", ".ucf-old", ".ucf-new", ".ucf-dist", ".rpmsave",  ".rpmnew",    ".rpmorig"});
    return name.starts_with(".#") || (name.starts_with('#') && ends("#")) ||
           std::ranges::any_of(kSuffixes, ends);
}

// The same name with the other ending of YAML files; nullopt for a name with neither.
std::optional<std::string> with_other_ending(const std::string& name) {
    for (const auto& [mine, other] : {std::pair(".yaml", ".yml"), {".yml", ".yaml"}}) {
        if (name.ends_with(mine)) {
            return name.substr(0, name.size() - std::string_view(mine).size()) + other;
        }
    }
    return std::nullopt;
}

// glob() passes no context to its error callback. Loading uses one thread at a time, but tests may
// use several.
struct GlobError {
    std::string path;
    int code = 0;
};
thread_local GlobError glob_error;

struct GlobResult {
    std::vector<std::string> files;  // sorted bytewise
    GlobError error;                 // code 0 = none
};

GlobResult find_files(const std::string& directory, const std::string& pattern) {
    glob_error = {};
    const auto on_error = [](const char* path, int code) {
        if (code == ENOENT || code == ENOTDIR) {
            return 0;  // a missing directory matches nothing
        }
        glob_error = {path, code};
        return 1;
    };
    const std::string full = pattern.starts_with('/') ? pattern : escaped(directory) + pattern;
    glob_t found{};
    const int code = ::glob(full.c_str(), GLOB_NOSORT, on_error, &found);
    GlobResult out;
    if (code == 0) {
        out.files.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
        std::ranges::sort(out.files);  // std::string compares bytes as unsigned: no locale
    }
    ::globfree(&found);
    out.error = glob_error;
    return out;
}

// The lines of the key admin, and the others without comments. Where YAML gives up on the whole
// text, these lines alone can still be read. Each part has the line numbers of the whole.
struct SplitText {
    std::string admin;
    std::string others;
};

SplitText split_at_admin(const std::string& text) {
    SplitText out;
    std::istringstream lines(text);
    bool is_inside = false;
    for (std::string line; std::getline(lines, line);) {
        const bool begins_key = !line.empty() && line.find_first_of(" \t#}") != 0;
        is_inside = begins_key ? line.starts_with("admin:") : is_inside;
        const std::size_t first = line.find_first_not_of(" \t");
        const bool is_comment = first != std::string::npos && line[first] == '#';
        out.admin += (is_inside ? line : "") + "\n";
        out.others += (is_inside || is_comment ? "" : line) + "\n";
    }
    return out;
}

// True if these lines may hold the key admin in another form, or a key of it.
bool may_name_socket(const std::string& lines) {
    std::string lower = lines;
    std::ranges::transform(lower, lower.begin(), base::to_lower);
    return lower.find("admin") != std::string::npos || lower.find("socket") != std::string::npos;
}

class Loader {
  public:
    Loader(const Environment& environment, LoadResult& result)
        : environment_(environment), result_(result) {}

    void run(const std::string& file) {
        main_file_ = file;
        use(parse(file, {file, 0}, {}));
    }

    void run_text(const std::string& text, const std::string& name) {
        main_file_ = name;
        files_.push_back(name);
        use(parse_text(text, name));
    }

    // Reads the key admin alone. Only problems that leave its socket in doubt remain.
    void run_admin(const std::string& text, const std::string& name) {
        main_file_ = name;
        files_.push_back(name);
        result_.config.file = name;
        const std::optional<SyntaxError> mistake = parse_yaml(text).error;
        const SplitText parts = mistake ? split_at_admin(text) : SplitText{text, {}};
        const std::optional<Node> root = parse_text(parts.admin, name);
        Report report(name, result_);
        if (root && root->kind == Node::Kind::mapping) {
            read_keys(Section(*root, {}, "main", report), result_.config);
            drop_problems_elsewhere();
        } else if (root && (!mistake || root->kind != Node::Kind::null)) {
            report.problem(root->line, {}, "holds no keys with values");
        }
        if (mistake && result_.config.admin.socket == "auto" && may_name_socket(parts.others)) {
            report.problem(mistake->line, mistake->key, mistake->message);
        }
    }

    std::vector<std::string> take_files() { return std::move(files_); }

    void sort_by_place() {
        const auto rank = [&](const Problem& problem) {
            const auto file = std::ranges::find(files_, problem.where.file);
            return std::pair(file - files_.begin(), problem.where.line);
        };
        const auto before = [&](const Problem& a, const Problem& b) { return rank(a) < rank(b); };
        std::ranges::stable_sort(result_.problems, before);
        std::ranges::stable_sort(result_.warnings, before);
    }

  private:
    // A key that is unknown may be a misspelt admin. A socket that could be read is in no doubt.
    void drop_problems_elsewhere() {
        const bool is_socket_read = result_.config.admin.socket != "auto";
        std::erase_if(result_.problems, [&](const Problem& problem) {
            const std::string top = problem.key.substr(0, problem.key.find_first_of(".["));
            const bool is_known =
                std::ranges::find(known_keys(), "main." + top) != std::ranges::end(known_keys());
            const bool is_at_socket = problem.key == "admin" || problem.key == "admin.socket";
            return !is_at_socket && (is_socket_read || (top != "admin" && is_known));
        });
    }

    // Reads the main file's tree.
    void use(const std::optional<Node>& root) {
        const std::string& file = main_file_;
        result_.config.file = file;
        if (!root) {
            return;
        }
        if (root->kind != Node::Kind::mapping) {
            Report(file, result_)
                .problem(
                    root->line, {},
                    root->kind == Node::Kind::null
                        ? "is empty; it needs at least the sites, by include or sites"
                        : "holds " + std::string(kind_name(root->kind)) + ", not keys with values");
            return;
        }
        Report report(file, result_);
        const Section main(*root, {}, "main", report);
        read_keys(main, result_.config);
        if (main.has("sites")) {
            if (main.has("include")) {
                main.problem("sites",
                             "stands beside include; move these sites into files of their own");
            }
            read_inline_sites(main);
        }
        if (main.has("include")) {
            follow_includes(main);
        } else if (!main.has("sites")) {
            include(std::string(kDefaultInclude), {file, 0}, "include", report);
        }
        warn_of_passed_over();
        check();
    }

    // The tree with its variables replaced; nullopt if a problem of the file was reported. `from`
    // is the place that names the file.
    std::optional<Node> parse(const std::string& file, const Location& from,
                              const std::string& key) {
        FileText content = read_file(file);
        if (!content.error.empty()) {
            const bool is_main = from.file == file;
            result_.problems.push_back(
                {from, key, (is_main ? "" : file + " ") + "cannot be read: " + content.error});
            if (is_main) {
                files_.push_back(file);
            }
            return std::nullopt;
        }
        files_.push_back(file);
        std::error_code ignored;
        identities_.insert(fs::canonical(file, ignored).string());
        return parse_text(content.text, file);
    }

    std::optional<Node> parse_text(const std::string& text, const std::string& file) {
        ParsedYaml yaml = parse_yaml(text);
        if (yaml.error) {
            Report(file, result_)
                .problem(yaml.error->line, std::move(yaml.error->key),
                         std::move(yaml.error->message));
            return std::nullopt;
        }
        Report report(file, result_);
        prepare(yaml.root, {}, report);
        return std::move(yaml.root);
    }

    // Replaces variables; reports values that need quotes.
    void prepare(Node& node, const std::string& path, Report& report) {
        if (!node.unquoted.empty()) {
            node.unusable = true;
            report.problem(node.line, path, quote_it(node.unquoted));
            return;
        }
        if (node.kind == Node::Kind::text && node.text.find("${") != std::string::npos) {
            auto replaced = substitute(node.text, environment_);
            if (replaced.value && base::is_utf8(*replaced.value)) {
                node.text = std::move(*replaced.value);
            } else if (replaced.value) {
                node.unusable = true;
                report.problem(node.line, path, "a variable in it holds bytes that are not UTF-8");
            } else {
                node.unusable = true;
                report.problem(node.line, path, std::move(replaced.error));
            }
        }
        for (std::size_t i = 0; i < node.items.size(); ++i) {
            std::string below = path;
            if (node.kind == Node::Kind::list) {
                below += "[" + std::to_string(i) + "]";
            } else {
                below += (path.empty() ? "" : ".") + node.keys[i].text;
            }
            prepare(node.items[i], below, report);
        }
    }

    void read_inline_sites(const Section& main) {
        const auto items = main.list("sites", "a list of sites");
        for (const Item& item : items.value_or(std::vector<Item>{})) {
            if (item.node.kind != Node::Kind::mapping) {
                main.report().problem(item.node.line, item.path,
                                      "expected a site with its keys, found " +
                                          std::string(kind_name(item.node.kind)));
                continue;
            }
            add_site(Section(item.node, item.path, "site", main.report()));
        }
    }

    void follow_includes(const Section& main) {
        const auto items = main.list("include", "a list such as [sites/*.yaml]");
        for (const Item& item : items.value_or(std::vector<Item>{})) {
            if (const auto pattern = item_text(item, "a file name or a pattern", main.report())) {
                include(*pattern, main.report().at(item.node.line), item.path, main.report());
            }
        }
    }

    void include(const std::string& pattern, const Location& from, const std::string& key,
                 Report& report) {
        const std::string directory = directory_of(main_file_);
        if (pattern.empty() || pattern.find('\0') != std::string::npos) {
            report.problem(from.line, key,
                           "is no file name; write a file name or a pattern such as sites/*.yaml");
            return;
        }
        if (!is_pattern(pattern)) {
            include_file(joined(directory, pattern), from, key, report);
            return;
        }
        GlobResult found = find_files(directory, pattern);
        if (const std::string folder = directory_of(pattern); !is_pattern(folder)) {
            result_.folders.push_back(joined(directory, folder));
        }
        if (found.error.code != 0) {
            report.problem(
                from.line, key,
                "cannot search " + found.error.path + ": " + system_message(found.error.code));
            return;
        }
        if (!is_left_over(pattern)) {
            std::erase_if(found.files, is_left_over);
        }
        if (found.files.empty()) {
            report.warning(from.line, key, in_quotes(pattern) + " matches no file");
        }
        for (const std::string& file : found.files) {
            include_file(file, from, key, report);
        }
        if (const auto other = with_other_ending(pattern)) {
            passed_over_.push_back({*other, pattern, from, key});
        }
    }

    // Warns of files that a pattern misses only because of their ending.
    void warn_of_passed_over() {
        std::set<std::string> told;
        for (const PassedOver& passed : passed_over_) {
            for (const std::string& file :
                 find_files(directory_of(main_file_), passed.pattern).files) {
                std::error_code failed;
                const std::string identity = fs::canonical(file, failed).string();
                if (!failed && !is_left_over(file) && !identities_.contains(identity) &&
                    told.insert(identity).second) {
                    result_.warnings.push_back(
                        {passed.from, passed.key,
                         file + " is not read: " + in_quotes(passed.taken) +
                             " does not match it; rename the file, or include " +
                             in_quotes(passed.pattern) + " too"});
                }
            }
        }
    }

    void include_file(const std::string& file, const Location& from, const std::string& key,
                      Report& report) {
        std::error_code failed;
        const std::string identity = fs::canonical(file, failed).string();
        if (!failed && identity == fs::canonical(main_file_, failed).string() && !failed) {
            report.problem(
                from.line, key,
                file + " is this file itself; keep the sites in a directory of their own");
            return;
        }
        if (!failed && identities_.contains(identity)) {
            report.warning(from.line, key, file + " is included already and read only once");
            return;
        }
        const std::optional<Node> root = parse(file, from, key);
        if (!root) {
            return;
        }
        Report own(file, result_);
        if (root->kind == Node::Kind::null) {
            own.warning(0, {}, "holds no site");
            return;
        }
        if (root->kind != Node::Kind::mapping) {
            own.problem(root->line, {},
                        "holds " + std::string(kind_name(root->kind)) +
                            "; a site file is one site, its keys at the beginning of the line");
            return;
        }
        add_site(Section(*root, {}, "site", own));
    }

    void add_site(const Section& section) {
        Site site = read_site(section);
        ++sites_seen_;
        check_site(site, result_);
        if (site.enabled) {
            result_.config.sites.push_back(std::move(site));
        }
    }

    void check() {
        check_between_sites(result_.config, result_);
        // Another problem may be the reason for missing sites.
        if (result_.config.sites.empty() && result_.problems.empty()) {
            result_.problems.push_back(
                {{main_file_, 0},
                 {},
                 sites_seen_ == 0 ? "there is no site; add one to sites/ or under the key sites"
                                  : "every site is disabled; there is nothing to serve"});
        }
    }

    const Environment& environment_;
    LoadResult& result_;
    std::string main_file_;
    std::vector<std::string> files_;  // in the order they were read
    // A pattern with the other ending, and the place of the original pattern.
    struct PassedOver {
        std::string pattern;
        std::string taken;
        Location from;
        std::string key;
    };
    std::vector<PassedOver> passed_over_;
    std::set<std::string> identities_;  // canonical names of the same
    std::size_t sites_seen_ = 0;
};

}  // namespace

std::string Problem::to_string() const {
    std::string out = where.file;
    if (where.line > 0) {
        out += ":" + std::to_string(where.line);
    }
    if (!out.empty()) {
        out += ": ";
    }
    if (!key.empty()) {
        out += key + ": ";
    }
    return out + message;
}

Environment process_environment() {
    return [](const std::string& name) -> std::optional<std::string> {
        const char* const value = std::getenv(name.c_str());
        return value == nullptr ? std::nullopt : std::optional<std::string>(value);
    };
}

std::string control_socket(const Admin& admin, const Environment& environment) {
    if (admin.socket != "auto") {
        return admin.socket == "off" ? "" : admin.socket;
    }
    // systemd.exec(5): absolute paths, with colons between them.
    const std::string folders = environment("RUNTIME_DIRECTORY").value_or("");
    const std::string first = folders.substr(0, folders.find(':'));
    return first.starts_with('/') ? first + "/ctl.sock" : "";
}

LoadResult load(const std::string& file, const Environment& environment) {
    LoadResult result;
    Loader loader(environment, result);
    loader.run(file);
    loader.sort_by_place();
    result.files = loader.take_files();
    return result;
}

LoadResult load_admin(const std::string& file, const Environment& environment) {
    LoadResult result;
    const FileText content = read_file(file);
    if (!content.error.empty()) {
        result.problems.push_back({{file, 0}, {}, "cannot be read: " + content.error});
        return result;
    }
    Loader(environment, result).run_admin(content.text, file);
    return result;
}

LoadResult load_dump(const std::string& text, const std::string& name) {
    // A dump has no variables: what looks like one is a text of the operator's, and escaped.
    const Environment no_environment = [](const std::string&) { return std::nullopt; };
    LoadResult result;
    Loader loader(no_environment, result);
    loader.run_text(text, name);
    loader.sort_by_place();
    result.files = loader.take_files();
    return result;
}

}  // namespace s3gate::config
