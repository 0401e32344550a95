#include "main_reader.hpp"

#include <filesystem>

#include "addresses.hpp"
#include "row.hpp"
#include "s3gate/base/text.hpp"

namespace s3gate::config {

namespace {

// An absolute path, or nullopt with a reported problem. A relative path is based on the folder of
// `file`, the main file. A text without a slash is taken for a misspelt word: a log file beside the
// configuration is hardly ever intended.
std::optional<std::string> read_path(const Section& section, std::string_view key,
                                     const std::string& file, const std::string& text,
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
    const std::filesystem::path joined = std::filesystem::path(file).parent_path() / text;
    const auto absolute = std::filesystem::absolute(joined, error);
    return (error ? joined : absolute).lexically_normal().string();
}

bool is_user_name(const std::string& text) {
    return text.size() <= 32 && !text.starts_with('-') && is_plain_name(text) &&
           text.find(':') == std::string::npos;
}

}  // namespace

bool is_above_error(const Section& log, std::string_view key) {
    // Levels of nginx and syslog above error.
    for (const std::string_view word : {"crit", "critical", "alert", "emerg", "fatal", "none"}) {
        const Node* const value = log.find(key);
        if (value != nullptr && value->kind == Node::Kind::text &&
            base::iequals(value->text, word)) {
            log.problem(key, in_quotes(value->text) +
                                 " is no level here: nothing is above error; write error");
            return true;
        }
    }
    return false;
}

void read_log_target(const Section& log, std::string_view key, Config& out) {
    const auto target = log.text(key, "stderr or a path");
    if (target && *target != "stderr") {
        out.log.target = read_path(log, key, out.file, *target, "stderr").value_or(out.log.target);
    }
}

void read_access_log(const Section& main, std::string_view key, Config& out) {
    if (main.is_off(key)) {
        return;
    }
    constexpr std::string_view kOnNeedsTarget =
        "on does not say where to; write {target: /var/log/s3gate/access.log}, or {target: "
        "stdout} for the journal";
    if (main.is_on(key)) {
        main.problem(key, std::string(kOnNeedsTarget));
        return;
    }
    if (const auto log = main.mapping(key, "off, or a mapping such as {target: stdout}")) {
        out.access_log.where = main.location_of(key);
        read_keys(*log, out);
    }
}

void read_access_log_target(const Section& log, std::string_view key, Config& out) {
    if (log.is_off(key)) {
        return;
    }
    if (log.is_on(key)) {
        log.problem(key,
                    "on does not say where to; write /var/log/s3gate/access.log, or stdout for "
                    "the journal");
        return;
    }
    const auto target = log.text(key, "off, stdout or a path");
    if (target && *target == "stdout") {
        out.access_log.target = *target;
    } else if (target) {
        out.access_log.target = read_path(log, key, out.file, *target, "off nor stdout")
                                    .value_or(out.access_log.target);
    }
}

void read_admin(const Section& main, std::string_view key, Config& out) {
    if (main.is_off(key)) {
        return;
    }
    if (main.is_on(key)) {
        main.problem(key, "on does not say where to listen; write {listen: [\"127.0.0.1:9180\"]}");
        return;
    }
    const auto admin =
        main.mapping(key, "off, or a mapping such as {listen: [\"127.0.0.1:9180\"]}");
    if (!admin) {
        return;
    }
    out.admin.enabled = true;
    out.admin.where = main.location_of(key);
    read_keys(*admin, out);
    if (!admin->has("listen") && !admin->has("socket") && !admin->has("operators")) {
        main.problem(key,
                     "has nowhere to listen; give listen, socket or both, or write admin: off");
    }
    if (is_empty_list(*admin, "allow") && !out.admin.listen.empty()) {
        admin->warning("allow", "is empty: nobody may connect to admin.listen");
    }
}

void read_admin_listen(const Section& admin, std::string_view key, Config& out) {
    out.admin.listen = read_listen(admin, key);
    for (const Listen& listen : out.admin.listen) {
        if (!listen.accept_proxy.empty()) {
            admin.report().problem(listen.where.line, admin.path_of(key),
                                   "accept_proxy is for the addresses of sites");
        }
    }
}

void read_admin_allow(const Section& admin, std::string_view key, Config& out) {
    if (admin.has(key)) {
        out.admin.allow = read_blocks(admin, key);
    }
}

void read_admin_socket(const Section& admin, std::string_view key, Config& out) {
    if (admin.is_off(key)) {
        out.admin.socket = "off";
        return;
    }
    const auto socket = admin.text(key, "auto, off or a path");
    if (!socket || *socket == "auto" || admin.is_on(key)) {
        return;
    }
    out.admin.socket = read_path(admin, key, out.file, *socket, "auto nor off").value_or("off");
    // sockaddr_un.sun_path holds 108 bytes with the closing zero.
    if (out.admin.socket.size() > 107) {
        admin.problem(key, "the path is longer than the 107 bytes of a unix socket");
    }
}

void read_admin_operators(const Section& admin, std::string_view key, Config& out) {
    const auto items = admin.list(key, "a list of users");
    if (!items) {
        return;
    }
    for (const Item& item : *items) {
        const auto user = item_text(item, "the name or the number of a user", admin.report());
        if (user && !is_user_name(*user)) {
            admin.report().problem(item.node.line, item.path,
                                   in_quotes(*user) + " is no user: neither a name nor a number");
        } else if (user) {
            out.admin.operators.push_back(*user);
        }
    }
}

void read_user(const Section& main, std::string_view key, Config& out) {
    const auto user = main.text(key, "a user name");
    if (!user || user->empty()) {
        return;
    }
    out.user_where = main.location_of(key);
    if (!is_user_name(*user)) {
        main.problem(key, in_quotes(*user) + " is not a user name");
        return;
    }
    out.user = *user;
}

}  // namespace s3gate::config
