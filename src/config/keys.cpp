#include "keys.hpp"

#include <array>
#include <vector>

#include "row.hpp"

namespace s3gate::config {

namespace {

constexpr auto kLater = std::to_array<std::string_view>({
    "main.tls",
    "main.ktls",
    "site.tls",
    "site.ktls",
    "site.listen[].tls",
    "site.balance.bound",
    "site.backends.tls",
});

template <class Model>
std::string default_of(const Row<Model>& row) {
    const Model model;
    if (!row.no_default.empty()) {
        return std::string(row.no_default);
    }
    if (row.value.print) {
        return "`" + in_flow(row.value.print(model)) + "`";
    }
    if (row.value.is_on) {
        return row.value.is_on(model) ? "`on`" : "`off`";
    }
    return {};
}

template <class Model>
void add(const Row<Model>& row, std::vector<KeyReference>& out) {
    out.push_back({row.path, default_of(row), row.value.range, row.meaning});
}

std::vector<KeyReference> make_reference() {
    std::vector<KeyReference> out;
    for (const auto& row : rows<Config>()) {
        add(row, out);
    }
    for (const auto& row : rows<Site>()) {
        add(row, out);
        if (row.path == "site.backends.servers") {
            for (const auto& server : rows<Server>()) {
                add(server, out);
            }
        }
    }
    return out;
}

std::vector<std::string_view> paths_of(std::span<const KeyReference> keys) {
    std::vector<std::string_view> out;
    for (const KeyReference& key : keys) {
        out.push_back(key.path);
    }
    return out;
}

}  // namespace

std::optional<std::string_view> name_below(std::string_view table, std::string_view path) {
    if (path.size() <= table.size() + 1 || !path.starts_with(table) || path[table.size()] != '.' ||
        path.find('.', table.size() + 1) != std::string_view::npos) {
        return std::nullopt;
    }
    return path.substr(table.size() + 1);
}

std::span<const KeyReference> key_reference() {
    static const std::vector<KeyReference> kReference = make_reference();
    return kReference;
}

std::span<const std::string_view> known_keys() {
    static const std::vector<std::string_view> kKnown = paths_of(key_reference());
    return kKnown;
}

std::span<const std::string_view> later_keys() {
    return kLater;
}

}  // namespace s3gate::config
