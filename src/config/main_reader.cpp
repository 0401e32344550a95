#include "main_reader.hpp"

#include <algorithm>
#include <filesystem>

#include "s3gate/base/text.hpp"
#include "site_reader.hpp"

namespace s3gate::config {

namespace {

// An absolute path, or nullopt with a reported problem. A text without a slash is taken for a
// misspelt word: a file of that name next to the configuration is hardly ever meant.
std::optional<std::string> read_path(const Section& section, std::string_view key,
                                     const std::string& directory, const std::string& text,
                                     const std::string& words) {
    if (text.find('/') == std::string::npos) {
        section.problem(key, in_quotes(text) + " is neither " + words +
                                 " nor a path; for a file here write ./" +
                                 (text.empty() ? "NAME" : text));
        return std::nullopt;
    }
    if (text.ends_with('/')) {
        section.problem(key, in_quotes(text) + " is a directory; a path ends with a file name");
        return std::nullopt;
    }
    if (text.find('\0') != std::string::npos) {
        section.problem(key, in_quotes(text) + " is not a path");
        return std::nullopt;
    }
    if (text.starts_with('/')) {
        return text;
    }
    std::error_code error;
    const std::filesystem::path joined = std::filesystem::path(directory) / text;
    const auto absolute = std::filesystem::absolute(joined, error);
    return (error ? joined : absolute).lexically_normal().string();
}

void read_level(const Section& log, LogLevel& out) {
    // nginx and syslog know more levels than are written here.
    for (const std::string_view word : {"crit", "critical", "alert", "emerg", "fatal", "none"}) {
        const Node* const value = log.find("level");
        if (value != nullptr && value->kind == Node::Kind::text &&
            base::iequals(value->text, word)) {
            log.problem("level", in_quotes(value->text) +
                                     " is no level here: nothing is above error; write error");
            return;
        }
    }
    const auto level = log.choice<LogLevel>("level",
                                            {{"debug", LogLevel::debug},
                                             {"info", LogLevel::info},
                                             {"warn", LogLevel::warn},
                                             {"error", LogLevel::error}},
                                            {{"warning", "warn"},
                                             {"err", "error"},
                                             {"notice", "info"},
                                             {"trace", "debug"}});
    out = level.value_or(out);
}

void read_log(const Section& main, const std::string& directory, Log& out) {
    const auto log = main.mapping("log", "a mapping such as {level: info}");
    if (!log) {
        return;
    }
    out.where = main.report().at(main.line_of("log"));
    read_level(*log, out.level);
    const auto target = log->text("target", "stderr or a path");
    if (target && *target != "stderr") {
        out.target = read_path(*log, "target", directory, *target, "stderr").value_or(out.target);
    }
}

void read_access_log(const Section& main, const std::string& directory, AccessLog& out) {
    if (main.is_off("access_log")) {
        return;
    }
    constexpr std::string_view kOnNeedsTarget =
        "on does not say where to; write {target: /var/log/s3gate/access.log}, or {target: "
        "stdout} for the journal";
    if (main.is_on("access_log")) {
        main.problem("access_log", std::string(kOnNeedsTarget));
        return;
    }
    const auto log = main.mapping("access_log", "off, or a mapping such as {target: stdout}");
    if (!log) {
        return;
    }
    out.where = main.report().at(main.line_of("access_log"));
    if (log->is_off("target")) {
        return;
    }
    if (log->is_on("target")) {
        log->problem("target",
                     "on does not say where to; write /var/log/s3gate/access.log, or stdout for "
                     "the journal");
        return;
    }
    const auto target = log->text("target", "off, stdout or a path");
    if (target && *target == "stdout") {
        out.target = *target;
    } else if (target) {
        out.target =
            read_path(*log, "target", directory, *target, "off nor stdout").value_or(out.target);
    }
}

void read_admin(const Section& main, const std::string& directory, Admin& out) {
    if (main.is_off("admin")) {
        return;
    }
    if (main.is_on("admin")) {
        main.problem("admin",
                     "on does not say where to listen; write {listen: [\"127.0.0.1:9180\"]}");
        return;
    }
    const auto admin =
        main.mapping("admin", "off, or a mapping such as {listen: [\"127.0.0.1:9180\"]}");
    if (!admin) {
        return;
    }
    out.enabled = true;
    out.where = main.report().at(main.line_of("admin"));
    main.warning("admin", "is checked, but nothing listens yet: this version does not serve it");
    out.listen = read_listen(*admin);
    out.allow = admin->has("allow") ? read_blocks(*admin, "allow") : loopback_blocks();
    if (const auto socket = admin->text("socket", "a path")) {
        out.socket = read_path(*admin, "socket", directory, *socket, "empty").value_or("");
        // sockaddr_un.sun_path holds 108 bytes with the closing zero.
        if (out.socket.size() > 107) {
            admin->problem("socket", "the path is longer than the 107 bytes of a unix socket");
        }
    }
    if (!admin->has("listen") && !admin->has("socket")) {
        main.problem("admin",
                     "has nowhere to listen; give listen, socket or both, or write admin: off");
    }
    const Node* const allow = admin->find("allow");
    if (allow != nullptr && allow->kind == Node::Kind::list && allow->items.empty() &&
        !out.listen.empty()) {
        admin->warning("allow", "is empty: nobody may connect to admin.listen");
    }
}

void read_limits(const Section& main, Limits& out) {
    const auto limits = main.mapping("limits", "a mapping such as {replay_memory: 64MiB}");
    if (!limits) {
        return;
    }
    out.where = main.report().at(main.line_of("limits"));
    out.connections =
        limits->number("connections", {1, 10'000'000, "auto"}).value_or(out.connections);
    out.pipes = limits->number("pipes", {1, 1'000'000, "auto"}).value_or(out.pipes);
    out.replay_memory =
        limits->size("replay_memory", {0, 64 * kKiB * kMiB}).value_or(out.replay_memory);
}

void read_user(const Section& main, Config& out) {
    const auto user = main.text("user", "a user name");
    if (!user || user->empty()) {
        return;
    }
    out.user_where = main.report().at(main.line_of("user"));
    const bool is_name = user->size() <= 32 && !user->starts_with('-') && is_plain_name(*user) &&
                         user->find(':') == std::string::npos;
    if (!is_name) {
        main.problem("user", in_quotes(*user) + " is not a user name");
        return;
    }
    out.user = *user;
}

}  // namespace

void read_main(const Section& section, const std::string& directory, Config& out) {
    if (const auto workers = section.number("workers", {1, 1024, "auto"})) {
        out.workers = static_cast<unsigned>(*workers);
    }
    if (section.is_on("cpu_affinity")) {
        out.cpu_affinity = true;
    } else if (!section.is_off("cpu_affinity")) {
        out.cpu_affinity = section.choice<bool>("cpu_affinity", {{"off", false}, {"auto", true}})
                               .value_or(out.cpu_affinity);
    }
    read_log(section, directory, out.log);
    read_access_log(section, directory, out.access_log);
    read_admin(section, directory, out.admin);
    read_limits(section, out.limits);
    // Zero: cut what is open at once.
    out.shutdown_timeout = section.duration("shutdown_timeout", {Duration{0}, hours{24}})
                               .value_or(out.shutdown_timeout);
    if (const auto upgrade = section.duration("upgrade_timeout", {seconds{1}, hours{24 * 7}})) {
        out.upgrade_timeout = *upgrade;
        section.warning("upgrade_timeout",
                        "is checked, but not used yet: this version cannot upgrade in place");
    }
    read_user(section, out);
}

}  // namespace s3gate::config
