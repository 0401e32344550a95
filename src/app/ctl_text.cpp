#include "ctl_text.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <cstdio>
#include <string_view>
#include <utility>

#include "json_members.hpp"

namespace s3gate::app {
namespace {

namespace json = boost::json;
using Row = std::vector<std::string>;

// Columns of a UTF-8 text: continuation bytes take none.
std::size_t width_of(std::string_view text) {
    return static_cast<std::size_t>(std::ranges::count_if(
        text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string counted(const std::string& number, const std::string& what) {
    return number + " " + what + (number == "1" ? "" : "s");
}

// What an operator has commanded, behind the verdict of the checks.
std::string text_of_command(const json::object& server) {
    const json::string* const command = at(server, "override").if_string();
    if (command == nullptr) {
        return {};
    }
    return *command == "sessions" ? ", drained (sessions stay)"
           : *command == "down"   ? ", taken down"
                                  : ", " + std::string(*command);
}

std::string state_of(const json::object& server, const json::object* address) {
    if (is_true(server, "down") || is_true(server, "drained")) {
        return is_true(server, "down") ? "out (down)" : "out (drained)";
    }
    if (address == nullptr) {
        return "unresolved";
    }
    const std::string command = text_of_command(server);
    if (!is_true(*address, "up")) {
        return (is_true(*address, "recovering") ? "down, recovering" : "down") + command;
    }
    return (is_true(*address, "marked") ? "up, marked" : "up") + command;
}

void add_rows(std::vector<Row>& rows, const json::object& server) {
    const std::string name =
        text_at(server, "server") + (is_true(server, "backup") ? " (backup)" : "");
    const auto addresses = objects_at(server, "addresses");
    if (addresses.empty()) {
        rows.push_back({name, "-", state_of(server, nullptr), "-"});
    }
    for (const json::object* const address : addresses) {
        rows.push_back({name, text_at(*address, "address"), state_of(server, address),
                        text_at(*address, "in_flight")});
    }
}

std::string group_text(const json::object& group) {
    std::string out = "  group " + text_at(group, "name") + ": " +
                      counted(text_at(group, "requests"), "request") + " in progress";
    if (number_at(group, "waiting") > 0) {
        out += ", " + text_at(group, "waiting") + " of them waiting for room";
    }
    if (!is_true(group, "checks")) {
        out += ", no checks";
    }
    std::vector<Row> rows = {{"SERVER", "ADDRESS", "STATE", "IN FLIGHT"}};
    for (const json::object* const server : objects_at(group, "servers")) {
        add_rows(rows, *server);
    }
    return out + "\n" + aligned(rows, 4);
}

std::string site_text(const json::object& site) {
    std::string out = "\nsite " + text_at(site, "name") + ": " +
                      counted(text_at(site, "connections"), "connection") + "\n";
    for (const json::object* const group : objects_at(site, "groups")) {
        out += group_text(*group);
    }
    return out;
}

// A list of texts, with commas between them; empty for anything else.
std::string joined(const json::value& list) {
    std::string out;
    if (const json::array* const texts = list.if_array()) {
        for (const json::value& text : *texts) {
            out += (out.empty() ? "" : ", ") + text_of(text);
        }
    }
    return out;
}

std::string config_text(const json::object& config) {
    std::string out = "configuration " + text_at(config, "file") + ", generation " +
                      text_at(config, "generation") + ", loaded " +
                      print_age(number_at(config, "age_seconds")) + " ago (" +
                      text_at(config, "loaded_at") + ")\n";
    if (const json::string* const digest = at(config, "ring_digest").if_string()) {
        out += "ring digest " + std::string(*digest) + "\n";
    }
    if (number_at(config, "old_generations") > 0) {
        out += counted(text_at(config, "old_generations"), "old generation") + " still in use";
        if (config.contains("old_generation_users")) {
            out += " (" + counted(text_at(config, "old_generation_users"), "user") + ")";
        }
        out += "\n";
    }
    if (!at(config, "confirm_within_seconds").is_null()) {
        out += "to be confirmed within " + print_age(number_at(config, "confirm_within_seconds")) +
               ": s3gate ctl confirm\n";
    }
    if (is_true(config, "differs_from_disk")) {
        out += "running differs from disk\n";
    }
    if (is_true(config, "reload_running")) {
        out += "a reload is running\n";
    }
    if (is_true(config, "upgrade_running")) {
        out += "an upgrade is running\n";
    }
    if (const std::string keys = joined(at(config, "pending_restart")); !keys.empty()) {
        out += "a restart is pending: " + keys + "\n";
    }
    if (const json::string* const problem = at(config, "addresses_problem").if_string();
        problem != nullptr && !problem->empty()) {
        out += "new addresses of names are not used: " + std::string(*problem) + "\n";
    }
    return out;
}

std::string traffic_text(const json::object& status) {
    std::string loads;
    for (const json::object* const worker : objects_at(status, "workers")) {
        loads += (loads.empty() ? "" : " ") + text_at(*worker, "connections");
    }
    return counted(text_at(status, "requests"), "request") + " in progress, " +
           counted(text_at(status, "connections"), "connection") + " (by worker: " + loads + ")\n";
}

std::string old_processes_text(const json::object& status) {
    std::string out;
    for (const json::object* const process : objects_at(status, "old_processes")) {
        out += "old process " + text_at(*process, "pid") + " (" + text_at(*process, "version") +
               "): " + counted(text_at(*process, "requests"), "request") + " in progress, " +
               counted(text_at(*process, "connections"), "connection") + "\n";
    }
    return out;
}

std::string overrides_text(const json::object& status) {
    std::string out;
    for (const json::object* const one : objects_at(status, "overrides")) {
        const double old = number_at(*one, "requests_in_old_processes");
        out += "by command: " + text_at(*one, "group") + ": " + text_at(*one, "server") + ": " +
               text_at(*one, "state") + " since " + text_at(*one, "since") + " by " +
               text_at(*one, "by") + ", " + counted(text_at(*one, "requests"), "request") +
               " in progress" +
               (old > 0 ? " and " + text_at(*one, "requests_in_old_processes") + " in old processes"
                        : "") +
               "\n";
    }
    return out;
}

std::string counters_text(const json::object& counters) {
    std::vector<Row> rows;
    for (const auto& [name, value] : counters) {
        if (number_at(counters, name) > 0) {
            rows.push_back({std::string(name), text_of(value)});
        }
    }
    return rows.empty() ? "" : "\ncounters\n" + aligned(rows, 2);
}

// Short times matter here: "120 ms".
std::string print_time(const json::object& object) {
    const double milliseconds = number_at(object, "age_ms");
    return milliseconds < 1000 ? std::to_string(static_cast<int>(milliseconds)) + " ms"
                               : print_age(milliseconds / 1000);
}

// A text that clients chose, or "-".
std::string word_at(const json::object& object, std::string_view key) {
    const std::string text = printable(text_at(object, key));
    return text.empty() ? "-" : text;
}

Row row_of(const json::object& connection) {
    Row row = {word_at(connection, "client"),   word_at(connection, "peer"),
               word_at(connection, "site"),     word_at(connection, "listener"),
               word_at(connection, "worker"),   print_time(connection),
               word_at(connection, "requests"), word_at(connection, "state")};
    const json::object* const request = at(connection, "request").if_object();
    if (request == nullptr) {
        row.insert(row.end(), 6, "-");
        return row;
    }
    const std::string target = printable(text_at(*request, "target"));
    row.insert(row.end(),
               {print_time(*request), word_at(*request, "bytes_in"), word_at(*request, "bytes_out"),
                word_at(*request, "server"), word_at(*request, "op"),
                word_at(*request, "method") + (target.empty() ? "" : " " + target)});
    return row;
}

}  // namespace

std::string aligned(const std::vector<std::vector<std::string>>& rows, std::size_t indent) {
    std::vector<std::size_t> widths;
    for (const Row& row : rows) {
        widths.resize(std::max(widths.size(), row.size()));
        for (std::size_t i = 0; i < row.size(); ++i) {
            widths[i] = std::max(widths[i], width_of(row[i]));
        }
    }
    std::string out;
    for (const Row& row : rows) {
        out += std::string(indent, ' ');
        for (std::size_t i = 0; i < row.size(); ++i) {
            const bool is_last = i + 1 == row.size();
            out += row[i] + (is_last ? "" : std::string(widths[i] - width_of(row[i]) + 2, ' '));
        }
        out += '\n';
    }
    return out;
}

std::string printable(std::string_view text) {
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7f) {
            char escaped[8];
            std::snprintf(escaped, sizeof escaped, "\\x%02x", byte);
            out += escaped;
        } else {
            out += c;
        }
    }
    return out;
}

std::string print_age(double seconds) {
    const auto whole = static_cast<std::uint64_t>(std::max(seconds, 0.0));
    const auto of = [](std::uint64_t large, const char* large_unit, std::uint64_t small,
                       const char* small_unit) {
        return std::to_string(large) + large_unit +
               (small == 0 ? "" : " " + std::to_string(small) + small_unit);
    };
    if (whole < 60) {
        return std::to_string(whole) + " s";
    }
    if (whole < 3600) {
        return std::to_string(whole / 60) + " m";
    }
    return whole < 86'400 ? of(whole / 3600, " h", whole % 3600 / 60, " m")
                          : of(whole / 86'400, " d", whole % 86'400 / 3600, " h");
}

std::string status_text(const json::object& status) {
    std::string out = "s3gate " + text_at(status, "version") + ", pid " + text_at(status, "pid") +
                      ", up " + print_age(number_at(status, "uptime_seconds")) + ": " +
                      text_at(status, "phase") + "\n";
    if (const json::object* const health = at(status, "health").if_object();
        health != nullptr && !is_true(*health, "healthy")) {
        out += "/healthz answers 503: " + text_at(*health, "reason") + "\n";
    }
    if (const json::object* const config = at(status, "config").if_object()) {
        out += config_text(*config);
    }
    if (const json::object* const level = at(status, "log_level").if_object();
        level != nullptr && is_true(*level, "changed")) {
        out += log_level_text(*level);
    }
    for (const json::object* const alarm : objects_at(status, "alarms")) {
        out += "alarm for " + print_age(number_at(*alarm, "age_seconds")) + ": " +
               printable(text_at(*alarm, "text")) + "\n";
    }
    out += traffic_text(status);
    out += old_processes_text(status);
    out += overrides_text(status);
    for (const json::object* const site : objects_at(status, "sites")) {
        out += site_text(*site);
    }
    if (const json::object* const counters = at(status, "counters").if_object()) {
        out += counters_text(*counters);
    }
    return out;
}

std::string connections_text(const json::object& answer) {
    std::vector<Row> rows = {{"CLIENT", "PEER", "SITE", "LISTENER", "WORKER", "AGE", "REQUESTS",
                              "STATE", "FOR", "IN", "OUT", "SERVER", "OPERATION", "REQUEST"}};
    for (const json::object* const connection : objects_at(answer, "connections")) {
        rows.push_back(row_of(*connection));
    }
    std::string out = rows.size() == 1 ? "no connection\n" : aligned(rows, 0);
    if (number_at(answer, "more") > 0) {
        out += text_at(answer, "more") + " more; --limit shows more of them\n";
    }
    for (const json::object* const process : objects_at(answer, "old_processes")) {
        out += text_at(*process, "connections") + " more in the old process " +
               text_at(*process, "pid") + "\n";
    }
    if (const std::string silent = joined(at(answer, "silent_workers")); !silent.empty()) {
        out += "without an answer of worker " + silent + ", which does not move\n";
    }
    return out;
}

std::string log_level_text(const json::object& answer) {
    std::string out = "log level " + text_at(answer, "level");
    if (is_true(answer, "changed")) {
        out += " by command; log.level says " + text_at(answer, "configured");
        if (!at(answer, "ends_in_seconds").is_null()) {
            out += ", again in " + print_age(number_at(answer, "ends_in_seconds"));
        }
    }
    return out + "\n";
}

}  // namespace s3gate::app
