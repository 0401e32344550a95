#include "room_elsewhere.hpp"

#include <algorithm>
#include <boost/json/object.hpp>
#include <string_view>
#include <utility>

#include "s3gate/control/findings_json.hpp"

namespace s3gate::control {
namespace {

namespace json = boost::json;

template <class Visit>
void visit_servers(const state::Snapshot& snapshot, Visit visit) {
    for (const state::Group& group : state::groups_of(snapshot)) {
        for (const state::GroupServer& server : group.servers) {
            if (server.max_connections > 0) {
                visit(group, server);
            }
        }
    }
}

}  // namespace

json::array json_of(const std::vector<HeldRoom>& room) {
    json::array out;
    for (const HeldRoom& held : room) {
        json::object item;
        item["group"] = json_text(held.group);
        item["server"] = json_text(held.server);
        item["requests"] = held.requests;
        out.push_back(std::move(item));
    }
    return out;
}

std::vector<HeldRoom> held_room_of(const json::value& list) {
    std::vector<HeldRoom> out;
    for (const json::value& item : list.as_array()) {
        out.push_back({std::string(item.at("group").as_string()),
                       std::string(item.at("server").as_string()),
                       std::max(item.at("requests").to_number<std::int32_t>(), 0)});
    }
    return out;
}

std::vector<HeldRoom> list_room(const state::Snapshot& snapshot,
                                const std::function<std::int32_t(state::CellId)>& held) {
    std::vector<HeldRoom> out;
    visit_servers(snapshot, [&](const state::Group& group, const state::GroupServer& server) {
        if (const std::int32_t requests = held(server.room); requests > 0) {
            out.push_back({group.name, server.config->text, requests});
        }
    });
    return out;
}

// One change for each cell: between two a waiting request would see room that there is not. A cell
// with another owner has lost what was counted there.
void RoomElsewhere::set(const std::vector<HeldRoom>& room) {
    std::map<std::pair<std::string_view, std::string_view>, std::int32_t> by_name;
    for (const HeldRoom& held : room) {
        by_name[{held.group, held.server}] += held.requests;
    }
    std::map<state::CellId, std::int32_t> now;
    if (!room.empty()) {
        visit_servers(*snapshot_(),
                      [&](const state::Group& group, const state::GroupServer& server) {
                          const auto found = by_name.find({group.name, server.config->text});
                          if (found != by_name.end()) {
                              now[server.room] = found->second;
                          }
                      });
    }
    std::map<state::CellId, std::int32_t> change = now;
    for (const auto& [cell, requests] : counted_) {
        if (board_.is_current(state::CellKind::backend, cell)) {
            change[cell] -= requests;
        }
    }
    for (const auto& [cell, requests] : change) {
        if (requests != 0) {
            board_.add_occupied(cell.index, requests);
        }
    }
    counted_ = std::move(now);
}

std::int32_t RoomElsewhere::at(state::CellId cell) const {
    const auto found = counted_.find(cell);
    return found == counted_.end() ? 0 : found->second;
}

}  // namespace s3gate::control
