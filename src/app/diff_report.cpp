#include "diff_report.hpp"

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>
#include <optional>
#include <utility>

#include "s3gate/control/findings_json.hpp"

namespace s3gate::app {
namespace {

namespace json = boost::json;
using control::json_text;
using policy::KeyMoves;

const char* word_of(config::Change change) {
    switch (change) {
        case config::Change::added:
            return "added";
        case config::Change::removed:
            return "removed";
        default:
            return "changed";
    }
}

const char* word_of(KeyMoves::Ties ties) {
    switch (ties) {
        case KeyMoves::Ties::begin:
            return "begin";
        case KeyMoves::Ties::end:
            return "end";
        default:
            return "stay";
    }
}

json::value text_or_null(const std::optional<std::string>& text) {
    return text ? json::value(json_text(*text)) : json::value();
}

json::array list_of(const std::vector<std::string>& texts) {
    json::array out;
    for (const std::string& text : texts) {
        out.push_back(json_text(text));
    }
    return out;
}

json::array list_of(const std::vector<config::KeyChange>& changes) {
    json::array out;
    for (const config::KeyChange& change : changes) {
        json::object one;
        one["key"] = json_text(change.key);
        one["old"] = text_or_null(change.before);
        one["new"] = text_or_null(change.after);
        one["secret"] = change.is_secret;
        one["needs_restart"] = change.needs_restart;
        out.push_back(std::move(one));
    }
    return out;
}

json::array list_of(const std::vector<config::ServerChange>& servers) {
    json::array out;
    for (const config::ServerChange& server : servers) {
        json::object one;
        one["server"] = json_text(server.text);
        one["change"] = word_of(server.change);
        one["keys"] = list_of(server.keys);
        out.push_back(std::move(one));
    }
    return out;
}

json::object object_of(const config::SiteChange& site) {
    json::object out;
    out["name"] = json_text((site.after == nullptr ? site.before : site.after)->name);
    out["change"] = word_of(site.change());
    out["keys"] = list_of(site.keys);
    out["listen_added"] = list_of(site.added_addresses);
    out["listen_removed"] = list_of(site.removed_addresses);
    out["servers"] = list_of(site.servers);
    out["servers_reordered"] = site.are_servers_reordered;
    return out;
}

json::object object_of(const GroupMoves& group) {
    const KeyMoves& moves = group.moves;
    const bool stays = moves.ties == KeyMoves::Ties::stay;
    json::object out;
    out["group"] = json_text(group.site->backends.name);
    out["site"] = json_text(group.site->name);
    out["ties"] = word_of(moves.ties);
    out["moved_share"] = stays ? json::value(static_cast<double>(moves.moved) /
                                             static_cast<double>(policy::kAllHashes))
                               : json::value();
    out["other_keys"] = moves.has_other_sources;
    out["other_fingerprints"] = moves.has_other_fingerprints;
    out["moved_fingerprints_share"] =
        moves.has_other_fingerprints ? json::value(moves.moved_fingerprints) : json::value();
    return out;
}

template <class Items>
json::array objects_of(const Items& items) {
    json::array out;
    for (const auto& item : items) {
        out.push_back(object_of(item));
    }
    return out;
}

}  // namespace

DiffReport compare(const config::Config& before, const config::Config& after) {
    DiffReport out{.difference = config::difference(before, after), .groups = {}};
    for (const auto& [old, present] : config::common_sites(before, after)) {
        const KeyMoves moves = policy::key_moves(*old, *present);
        if (moves.ties != KeyMoves::Ties::none) {
            out.groups.push_back({present, moves});
        }
    }
    return out;
}

json::object diff_json(const DiffReport& report) {
    json::object out;
    out["differs"] = !report.difference.is_empty();
    out["keys"] = list_of(report.difference.keys);
    out["sites"] = objects_of(report.difference.sites);
    out["sites_reordered"] = report.difference.are_sites_reordered;
    out["groups"] = objects_of(report.groups);
    return out;
}

}  // namespace s3gate::app
