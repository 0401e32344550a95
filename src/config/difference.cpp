#include "s3gate/config/difference.hpp"

#include <algorithm>
#include <functional>
#include <set>
#include <string_view>

#include "row.hpp"

namespace s3gate::config {

namespace {

// "retry.max_tries" for "site.retry.max_tries" below the table "site".
std::string path_below(std::string_view root, std::string_view path) {
    return std::string(path.substr(root.size() + 1));
}

// The value of a section that can be off, as a file would have it: without keys that have their
// default.
template <class Model>
std::string print_section(const Row<Model>& section, const Model& model) {
    static const Model kDefaults;
    if (!section.value.is_on(model)) {
        return "off";
    }
    std::string out;
    for (const Row<Model>& row : rows<Model>()) {
        const auto key = name_below(section.path, row.path);
        if (!key || !row.value.print || row.value.print(model) == row.value.print(kDefaults)) {
            continue;
        }
        const std::string value = row.value.is_secret ? "…" : in_flow(row.value.print(model));
        out += (out.empty() ? "" : ", ") + std::string(*key) + ": " + value;
    }
    return out.empty() ? "on" : "{" + out + "}";
}

template <class Model>
KeyChange change_of(const Row<Model>& row, std::string key, std::string before, std::string after) {
    KeyChange out{.key = std::move(key),
                  .before = std::nullopt,
                  .after = std::nullopt,
                  .is_secret = row.value.is_secret,
                  .needs_restart = row.value.is_for_a_start};
    if (!out.is_secret) {
        out.before = std::move(before);
        out.after = std::move(after);
    }
    return out;
}

// Compares the keys of one model.
template <class Model>
class Comparison {
  public:
    // `root`: the table that the names of the changes are below.
    Comparison(std::string_view root, const Model& before, const Model& after)
        : root_(root), before_(before), after_(after) {
        compare_keys(root);
    }

    std::vector<KeyChange> take() { return std::move(changes_); }

  private:
    void compare_keys(std::string_view table) {
        for (const Row<Model>& row : rows<Model>()) {
            if (!name_below(table, row.path)) {
                continue;
            }
            if (row.value.form == Form::section) {
                compare_section(row);
            } else if (row.value.print) {
                compare(row, row.value.print(before_), row.value.print(after_));
            }
        }
    }
    void compare_section(const Row<Model>& row) {
        const auto is_on = [&](const Model& model) {
            return !row.value.is_on || row.value.is_on(model);
        };
        if (is_on(before_) && is_on(after_)) {
            compare_keys(row.path);
        } else if (is_on(before_) || is_on(after_)) {
            changes_.push_back(change_of(row, path_below(root_, row.path),
                                         print_section(row, before_), print_section(row, after_)));
        }
    }
    void compare(const Row<Model>& row, const Printed& before, const Printed& after) {
        if (before != after) {
            changes_.push_back(
                change_of(row, path_below(root_, row.path), in_flow(before), in_flow(after)));
        }
    }

    std::string_view root_;
    const Model& before_;
    const Model& after_;
    std::vector<KeyChange> changes_;
};

std::vector<KeyChange> site_keys(const Site& before, const Site& after) {
    return Comparison<Site>("site", before, after).take();
}

std::vector<KeyChange> server_keys(const Server& before, const Server& after) {
    return Comparison<Server>("site.backends.servers[]", before, after).take();
}

// The changes from a default, of something that is new: it has no value before, and what it is
// called by is said elsewhere.
std::vector<KeyChange> as_new(std::vector<KeyChange> keys, std::string_view title) {
    std::erase_if(keys, [&](const KeyChange& change) { return change.key == title; });
    for (KeyChange& change : keys) {
        change.before.reset();
    }
    return keys;
}

// True if the items that both have come in another order.
template <class Item>
bool is_reordered(const std::vector<std::pair<const Item*, const Item*>>& in_order_of_after) {
    return !std::ranges::is_sorted(in_order_of_after, std::less<>(),
                                   [](const auto& pair) { return pair.first; });
}

// The addresses of `items` that `others` lacks.
std::vector<std::string> missing(const std::vector<Listen>& items,
                                 const std::vector<Listen>& others) {
    std::set<std::string> known;
    for (const Listen& other : others) {
        known.insert(other.address.to_string());
    }
    std::vector<std::string> out;
    for (const Listen& item : items) {
        if (!known.contains(item.address.to_string())) {
            out.push_back(item.text);
        }
    }
    return out;
}

// True if an address that both have has other settings.
bool has_other_settings(const std::vector<Listen>& before, const std::vector<Listen>& after) {
    return std::ranges::any_of(after, [&](const Listen& listen) {
        const auto old = std::ranges::find(before, listen.address, &Listen::address);
        return old != before.end() && old->accept_proxy != listen.accept_proxy;
    });
}

void compare_listen(const std::vector<Listen>& before, const std::vector<Listen>& after,
                    SiteChange& out) {
    out.added_addresses = missing(after, before);
    out.removed_addresses = missing(before, after);
    const bool is_moved = !out.added_addresses.empty() || !out.removed_addresses.empty();
    if (is_moved && !has_other_settings(before, after)) {
        std::erase_if(out.keys, [](const KeyChange& change) { return change.key == "listen"; });
    }
}

const Server* find_server(const std::vector<Server>& servers, const std::string& text) {
    const auto found = std::ranges::find(servers, text, &Server::text);
    return found == servers.end() ? nullptr : &*found;
}

void compare_servers(const std::vector<Server>& before, const std::vector<Server>& after,
                     SiteChange& out) {
    std::vector<std::pair<const Server*, const Server*>> common;
    for (const Server& server : after) {
        const Server* const old = find_server(before, server.text);
        if (old == nullptr) {
            out.servers.push_back(
                {server.text, Change::added, as_new(server_keys(Server(), server), "address")});
            continue;
        }
        common.emplace_back(old, &server);
        if (auto keys = server_keys(*old, server); !keys.empty()) {
            out.servers.push_back({server.text, Change::changed, std::move(keys)});
        }
    }
    for (const Server& server : before) {
        if (find_server(after, server.text) == nullptr) {
            out.servers.push_back({server.text, Change::removed, {}});
        }
    }
    out.are_servers_reordered = is_reordered(common);
}

SiteChange compare_sites(const Site& before, const Site& after) {
    SiteChange out{.before = &before, .after = &after, .keys = site_keys(before, after)};
    compare_listen(before.listen, after.listen, out);
    compare_servers(before.backends.servers, after.backends.servers, out);
    return out;
}

SiteChange added_site(const Site& site) {
    SiteChange out{.after = &site, .keys = as_new(site_keys(Site(), site), "name")};
    compare_listen({}, site.listen, out);
    compare_servers({}, site.backends.servers, out);
    return out;
}

SiteChange removed_site(const Site& site) {
    SiteChange out{.before = &site};
    compare_listen(site.listen, {}, out);
    compare_servers(site.backends.servers, {}, out);
    return out;
}

const Site* find_site(const std::vector<Site>& sites, const std::string& name) {
    const auto found = std::ranges::find(sites, name, &Site::name);
    return found == sites.end() ? nullptr : &*found;
}

// The one that `site` was, under its name or another.
const Site* former_of(const Site& site, const Config& before, const Config& after) {
    if (const Site* const same = find_site(before.sites, site.name)) {
        return same;
    }
    for (const Site& other : before.sites) {
        if (other.backends.name == site.backends.name &&
            find_site(after.sites, other.name) == nullptr) {
            return &other;
        }
    }
    return nullptr;
}

}  // namespace

bool SiteChange::is_empty() const {
    return change() == Change::changed && keys.empty() && added_addresses.empty() &&
           removed_addresses.empty() && servers.empty() && !are_servers_reordered;
}

std::vector<KeyChange> changed_main_keys(const Config& before, const Config& after) {
    return Comparison<Config>("main", before, after).take();
}

std::vector<std::pair<const Site*, const Site*>> common_sites(const Config& before,
                                                              const Config& after) {
    std::vector<std::pair<const Site*, const Site*>> out;
    for (const Site& site : after.sites) {
        if (const Site* const former = former_of(site, before, after)) {
            out.emplace_back(former, &site);
        }
    }
    return out;
}

Difference difference(const Config& before, const Config& after) {
    Difference out;
    out.keys = changed_main_keys(before, after);
    const auto common = common_sites(before, after);
    out.are_sites_reordered = is_reordered(common);
    for (const Site& site : after.sites) {
        const auto pair = std::ranges::find(common, &site, &decltype(common)::value_type::second);
        SiteChange change =
            pair == common.end() ? added_site(site) : compare_sites(*pair->first, site);
        if (!change.is_empty()) {
            out.sites.push_back(std::move(change));
        }
    }
    for (const Site& site : before.sites) {
        const auto pair = std::ranges::find(common, &site, &decltype(common)::value_type::first);
        if (pair == common.end()) {
            out.sites.push_back(removed_site(site));
        }
    }
    return out;
}

}  // namespace s3gate::config
