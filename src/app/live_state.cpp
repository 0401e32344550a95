#include "live_state.hpp"

#include <algorithm>
#include <vector>

#include "json_members.hpp"

namespace s3gate::app {
namespace {

namespace json = boost::json;

LiveServer::Address address_of(const json::object& address) {
    return {.is_up = is_true(address, "up"),
            .is_recovering = is_true(address, "recovering"),
            .is_marked = is_true(address, "marked"),
            .in_flight = static_cast<std::int64_t>(number_at(address, "in_flight"))};
}

// What an operator has commanded for it; empty for nothing.
std::string command_for(const json::object& server) {
    const json::value& command = at(server, "override");
    return command.is_string() ? text_of(command) : std::string();
}

std::string reason_of(const json::object& server, const LiveServer& live) {
    if (is_true(server, "down") || is_true(server, "drained")) {
        return is_true(server, "down") ? "down in the configuration" : "drained";
    }
    if (const std::string command = command_for(server); !command.empty()) {
        return command == "sessions" ? "drained by a command, its sessions stay"
                                     : command + " by a command";
    }
    if (live.addresses.empty()) {
        return "its name is not resolved";
    }
    const auto is_well = [](const auto& item) {
        return item.second.is_up && !item.second.is_marked;
    };
    if (std::ranges::none_of(live.addresses, is_well)) {
        const auto is_up = [](const auto& item) { return item.second.is_up; };
        const bool is_marked = std::ranges::any_of(live.addresses, is_up);
        return is_marked ? "passively marked" : "down by the checks";
    }
    return live.has_room ? ""
                         : "no room: " + text_at(server, "occupied") + " of " +
                               text_at(server, "max_connections") + " requests";
}

LiveServer server_of(const json::object& server) {
    LiveServer out;
    for (const json::object* const address : objects_at(server, "addresses")) {
        out.addresses.emplace(text_at(*address, "address"), address_of(*address));
    }
    const double most = number_at(server, "max_connections");
    const std::string command = command_for(server);
    out.keeps_uploads = command == "sessions";
    out.is_out = is_true(server, "down") || is_true(server, "drained") || !command.empty();
    out.has_room = most == 0 || number_at(server, "occupied") < most;
    out.reason = reason_of(server, out);
    return out;
}

}  // namespace

LiveState::LiveState(const json::object& status) {
    if (const json::object* const config = at(status, "config").if_object()) {
        generation_ = static_cast<std::int64_t>(number_at(*config, "generation"));
    }
    for (const json::object* const name : objects_at(status, "names")) {
        std::vector<base::IpAddress>& addresses = names_[text_at(*name, "name")];
        if (const json::array* const list = at(*name, "addresses").if_array()) {
            for (const json::value& item : *list) {
                if (const auto ip = base::IpAddress::parse(text_of(item))) {
                    addresses.push_back(*ip);
                }
            }
        }
    }
    for (const json::object* const site : objects_at(status, "sites")) {
        for (const json::object* const group : objects_at(*site, "groups")) {
            for (const json::object* const server : objects_at(*group, "servers")) {
                servers_.emplace(std::pair(text_at(*group, "name"), text_at(*server, "server")),
                                 server_of(*server));
            }
        }
    }
}

const LiveServer* LiveState::find(const std::string& group, const std::string& server) const {
    const auto found = servers_.find({group, server});
    return found == servers_.end() ? nullptr : &found->second;
}

}  // namespace s3gate::app
