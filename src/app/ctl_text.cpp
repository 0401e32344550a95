#include "ctl_text.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <string_view>
#include <utility>

namespace s3gate::app {
namespace {

namespace json = boost::json;
using Row = std::vector<std::string>;

// Columns of a UTF-8 text: continuation bytes take none.
std::size_t width_of(std::string_view text) {
    return static_cast<std::size_t>(std::ranges::count_if(
        text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

// Null if the object lacks the key, as from a daemon of another version.
const json::value& at(const json::object& object, std::string_view key) {
    static const json::value kNothing;
    const json::value* const value = object.if_contains(key);
    return value == nullptr ? kNothing : *value;
}

std::string text_of(const json::value& value) {
    const json::string* const text = value.if_string();
    return text != nullptr ? std::string(*text) : json::serialize(value);
}

std::string text_at(const json::object& object, std::string_view key) {
    const json::value& value = at(object, key);
    return value.is_null() ? "?" : text_of(value);
}

bool is_true(const json::object& object, std::string_view key) {
    const json::value& value = at(object, key);
    return value.is_bool() && value.get_bool();
}

double number_at(const json::object& object, std::string_view key) {
    boost::system::error_code ignored;
    const auto number = at(object, key).to_number<double>(ignored);
    return ignored ? 0 : number;
}

std::vector<const json::object*> objects_at(const json::object& object, std::string_view key) {
    std::vector<const json::object*> out;
    if (const json::array* const list = at(object, key).if_array()) {
        for (const json::value& item : *list) {
            if (const json::object* const one = item.if_object()) {
                out.push_back(one);
            }
        }
    }
    return out;
}

std::string counted(const std::string& number, const std::string& what) {
    return number + " " + what + (number == "1" ? "" : "s");
}

std::string state_of(const json::object& server, const json::object* address) {
    if (is_true(server, "down") || is_true(server, "drained")) {
        return is_true(server, "down") ? "out (down)" : "out (drained)";
    }
    if (address == nullptr) {
        return "unresolved";
    }
    if (!is_true(*address, "up")) {
        return is_true(*address, "recovering") ? "down, recovering" : "down";
    }
    return is_true(*address, "marked") ? "up, marked" : "up";
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

std::string counters_text(const json::object& counters) {
    std::vector<Row> rows;
    for (const auto& [name, value] : counters) {
        if (number_at(counters, name) > 0) {
            rows.push_back({std::string(name), text_of(value)});
        }
    }
    return rows.empty() ? "" : "\ncounters\n" + aligned(rows, 2);
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
    out += traffic_text(status);
    out += old_processes_text(status);
    for (const json::object* const site : objects_at(status, "sites")) {
        out += site_text(*site);
    }
    if (const json::object* const counters = at(status, "counters").if_object()) {
        out += counters_text(*counters);
    }
    return out;
}

}  // namespace s3gate::app
