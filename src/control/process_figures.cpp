#include "process_figures.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <span>
#include <string_view>
#include <utility>

#include "s3gate/control/findings_json.hpp"

namespace s3gate::control {
namespace {

namespace json = boost::json;

template <class Key>
void note(std::map<Key, std::int64_t>& gauges, Key key, std::int64_t value) {
    if (value > 0) {
        gauges[std::move(key)] += value;
    }
}

template <class Map>
void add_values(Map& sum, const Map& more) {
    for (const auto& [key, value] : more) {
        sum[key] += value;
    }
}

template <class Map>
void add_totals(Map& sum, const Map& more) {
    for (const auto& [key, totals] : more) {
        state::add(sum[key], totals);
    }
}

void add_lists(std::vector<std::uint64_t>& sum, const std::vector<std::uint64_t>& more) {
    sum.resize(std::max(sum.size(), more.size()));
    for (std::size_t i = 0; i < more.size(); ++i) {
        sum[i] += more[i];
    }
}

template <class Map>
Map changed_entries(const Map& before, const Map& now) {
    Map out;
    for (const auto& [key, totals] : now) {
        const auto known = before.find(key);
        if (known == before.end() || known->second != totals) {
            out.emplace(key, totals);
        }
    }
    return out;
}

// ---- JSON: only what is not 0; where a list has words, by its words, as another version may have
// other ones.

template <class Totals>
void write(json::object& out, const Totals& totals) {
    Totals::visit(
        totals, [&](const char* name, std::span<const std::uint64_t> cells, state::PlaceWord word) {
            json::object list;
            for (std::size_t i = 0; i < cells.size(); ++i) {
                if (cells[i] != 0) {
                    list[word == nullptr ? std::to_string(i) : word(i)] = cells[i];
                }
            }
            if (!list.empty()) {
                out[name] = std::move(list);
            }
        });
}

template <class Totals>
Totals read(const json::object& in) {
    Totals out;
    Totals::visit(
        out, [&](const char* name, std::span<std::uint64_t> cells, state::PlaceWord word) {
            const json::value* const found = in.if_contains(name);
            const json::object* const list = found == nullptr ? nullptr : found->if_object();
            if (list == nullptr) {
                return;
            }
            for (std::size_t i = 0; i < cells.size(); ++i) {
                const auto* const cell =
                    list->if_contains(word == nullptr ? std::to_string(i) : word(i));
                cells[i] = cell == nullptr ? 0 : cell->to_number<std::uint64_t>();
            }
        });
    return out;
}

json::object named(const ServerName& name) {
    json::object out;
    out["group"] = json_text(name.group);
    out["server"] = json_text(name.server);
    return out;
}
json::object named(const BucketName& name) {
    json::object out;
    out["site"] = json_text(name.site);
    out["bucket"] = json_text(name.bucket);
    return out;
}
json::object named(const std::string& name) {
    json::object out;
    out["name"] = json_text(name);
    return out;
}
std::string text_at(const json::value& object, std::string_view key) {
    return std::string(object.at(key).as_string());
}
void read_name(const json::value& object, ServerName& name) {
    name = {text_at(object, "group"), text_at(object, "server")};
}
void read_name(const json::value& object, BucketName& name) {
    name = {text_at(object, "site"), text_at(object, "bucket")};
}
void read_name(const json::value& object, std::string& name) {
    name = text_at(object, "name");
}

template <class Map>
json::array list_of(const Map& map) {
    json::array out;
    for (const auto& [name, value] : map) {
        json::object item = named(name);
        if constexpr (std::is_integral_v<typename Map::mapped_type>) {
            item["value"] = value;
        } else {
            write(item, value);
        }
        out.push_back(std::move(item));
    }
    return out;
}

template <class Map>
void read_list(const json::object& in, std::string_view key, Map& out) {
    const json::value* const list = in.if_contains(key);
    if (list == nullptr) {
        return;
    }
    for (const json::value& item : list->as_array()) {
        typename Map::key_type name;
        read_name(item, name);
        if constexpr (std::is_integral_v<typename Map::mapped_type>) {
            out[std::move(name)] = item.at("value").to_number<typename Map::mapped_type>();
        } else {
            out[std::move(name)] = read<typename Map::mapped_type>(item.as_object());
        }
    }
}

json::array list_of(const std::vector<std::uint64_t>& numbers) {
    return json::array(numbers.begin(), numbers.end());
}

void read_numbers(const json::object& in, std::string_view key, std::vector<std::uint64_t>& out) {
    const json::value* const list = in.if_contains(key);
    if (list == nullptr) {
        return;
    }
    for (const json::value& item : list->as_array()) {
        out.push_back(item.to_number<std::uint64_t>());
    }
}

}  // namespace

ProcessGauges gauges_of(const state::Snapshot& snapshot, const state::Board& board) {
    ProcessGauges out;
    for (const state::Site& site : snapshot.sites) {
        note(out.connections, site.config->name, board.site_connections(site.cell.index));
    }
    for (const state::Group& group : state::groups_of(snapshot)) {
        note(out.requests, group.name, board.group_requests(group.cell));
        note(out.waiting, group.name, board.waiting(group.cell));
        note(out.retries, group.name, board.group_retries(group.cell));
        for (const state::Peer& peer : group.peers) {
            note(out.in_flight, ServerName{group.name, group.servers[peer.server].config->text},
                 board.in_flight(peer.slot));
        }
    }
    for (std::size_t i = 0; i < board.worker_count(); ++i) {
        out.parked += board.counters(i).parked.load(std::memory_order_relaxed);
    }
    return out;
}

ProcessFigures figures_of(const state::Snapshot& snapshot, const state::Board& board) {
    ProcessFigures out;
    for (const state::Site& site : snapshot.sites) {
        state::add(out.sites[site.config->name], state::site_totals(board, site.cell.index));
    }
    for (const state::Group& group : state::groups_of(snapshot)) {
        for (const state::GroupServer& server : group.servers) {
            out.servers.emplace(ServerName{group.name, server.config->text},
                                state::server_totals(board, server.figures.index));
        }
    }
    if (board.buckets() != nullptr) {
        for (state::BucketFigures::Bucket& bucket : board.buckets()->totals()) {
            out.buckets.emplace(BucketName{std::move(bucket.site), std::move(bucket.bucket)},
                                bucket.totals);
        }
    }
    for (std::size_t i = 0; i < board.worker_count(); ++i) {
        const state::WorkerCounters& counters = board.counters(i);
        out.worker_requests.push_back(counters.requests.load(std::memory_order_relaxed));
        out.worker_connections.push_back(counters.accepted.load(std::memory_order_relaxed));
    }
    for (const state::WorkerCounterRow& row : state::kWorkerCounters) {
        out.counters[row.text.name] = board.total(row.cell);
    }
    for (const state::ControlCounterRow& row : state::kControlCounters) {
        out.counters[row.text.name] = (board.control().*row.cell).load(std::memory_order_relaxed);
    }
    for (std::size_t i = 0; i < state::kLookupOutcomes; ++i) {
        out.counters[kLookups + std::string(state::lookup_outcome(i))] =
            board.control().lookups[i].load(std::memory_order_relaxed);
    }
    out.gauges = gauges_of(snapshot, board);
    return out;
}

FigureNames names_absent(const ProcessFigures& figures, const state::Snapshot& snapshot) {
    FigureNames out;
    for (const auto& [name, totals] : figures.servers) {
        out.servers.insert(name);
    }
    for (const auto& [name, totals] : figures.sites) {
        out.sites.insert(name);
    }
    for (const state::Site& site : snapshot.sites) {
        out.sites.erase(site.config->name);
    }
    for (const state::Group& group : state::groups_of(snapshot)) {
        for (const state::GroupServer& server : group.servers) {
            out.servers.erase({group.name, server.config->text});
        }
    }
    return out;
}

void erase(ProcessFigures& figures, const FigureNames& names) {
    std::erase_if(figures.servers,
                  [&](const auto& entry) { return names.servers.contains(entry.first); });
    std::erase_if(figures.sites,
                  [&](const auto& entry) { return names.sites.contains(entry.first); });
}

void add(ProcessFigures& sum, const ProcessFigures& more) {
    add_totals(sum.servers, more.servers);
    add_totals(sum.sites, more.sites);
    add_totals(sum.buckets, more.buckets);
    add_lists(sum.worker_requests, more.worker_requests);
    add_lists(sum.worker_connections, more.worker_connections);
    add_values(sum.counters, more.counters);
    add(sum.gauges, more.gauges);
}

void add(ProcessGauges& sum, const ProcessGauges& more) {
    add_values(sum.in_flight, more.in_flight);
    add_values(sum.connections, more.connections);
    add_values(sum.requests, more.requests);
    add_values(sum.waiting, more.waiting);
    add_values(sum.retries, more.retries);
    sum.parked += more.parked;
}

ProcessFigures changes(const ProcessFigures& before, const ProcessFigures& now) {
    ProcessFigures out;
    out.servers = changed_entries(before.servers, now.servers);
    out.sites = changed_entries(before.sites, now.sites);
    out.buckets = changed_entries(before.buckets, now.buckets);
    out.worker_requests = now.worker_requests;
    out.worker_connections = now.worker_connections;
    out.counters = now.counters;
    out.gauges = now.gauges;
    return out;
}

void take_changes(ProcessFigures& figures, ProcessFigures changes) {
    changes.servers.merge(figures.servers);  // what is there already stays
    changes.sites.merge(figures.sites);
    changes.buckets.merge(figures.buckets);
    figures = std::move(changes);
}

json::object json_of(const ProcessFigures& figures) {
    json::object out;
    out["servers"] = list_of(figures.servers);
    out["sites"] = list_of(figures.sites);
    out["buckets"] = list_of(figures.buckets);
    out["worker_requests"] = list_of(figures.worker_requests);
    out["worker_connections"] = list_of(figures.worker_connections);
    out["counters"] = list_of(figures.counters);
    out["in_flight"] = list_of(figures.gauges.in_flight);
    out["connections"] = list_of(figures.gauges.connections);
    out["requests"] = list_of(figures.gauges.requests);
    out["waiting"] = list_of(figures.gauges.waiting);
    out["retries"] = list_of(figures.gauges.retries);
    out["parked"] = figures.gauges.parked;
    return out;
}

ProcessFigures process_figures_of(const json::value& value) {
    const json::object& in = value.as_object();
    ProcessFigures out;
    read_list(in, "servers", out.servers);
    read_list(in, "sites", out.sites);
    read_list(in, "buckets", out.buckets);
    read_numbers(in, "worker_requests", out.worker_requests);
    read_numbers(in, "worker_connections", out.worker_connections);
    read_list(in, "counters", out.counters);
    read_list(in, "in_flight", out.gauges.in_flight);
    read_list(in, "connections", out.gauges.connections);
    read_list(in, "requests", out.gauges.requests);
    read_list(in, "waiting", out.gauges.waiting);
    read_list(in, "retries", out.gauges.retries);
    const json::value* const parked = in.if_contains("parked");
    out.gauges.parked = parked == nullptr ? 0 : parked->to_number<std::int64_t>();
    return out;
}

}  // namespace s3gate::control
