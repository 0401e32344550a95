#include "config_page.hpp"

#include <sstream>
#include <string_view>
#include <vector>

#include "keys.hpp"

namespace s3gate::config {

namespace {

constexpr std::string_view kMarkBegin = "<!-- keys of ";
constexpr std::string_view kMarkEnd = " -->";

std::string row_of(const KeyReference& key) {
    const std::string name(key.path.substr(key.path.find('.') + 1));
    const std::string space = key.default_value.empty() ? "" : " ";
    return "| `" + name + "` |" + space + key.default_value + " | " + key.range + " | " +
           std::string(key.meaning) + " |\n";
}

// The rows of a key and of the keys in it: "site.balance" includes "site.balance.key".
std::string rows_of(const std::string& path) {
    std::string out;
    for (const KeyReference& key : key_reference()) {
        if (key.path == path || key.path.starts_with(path + ".") ||
            key.path.starts_with(path + "[")) {
            out += row_of(key);
        }
    }
    return out;
}

// `keys` is the content of a mark: "main", or "site: retry limits".
std::string table_of(const std::string& keys) {
    std::string out = "| key | default | range | meaning |\n|---|---|---|---|\n";
    const std::size_t colon = keys.find(':');
    const std::string file = keys.substr(0, colon);
    if (colon == std::string::npos) {
        return out + rows_of(file);
    }
    std::istringstream words(keys.substr(colon + 1));
    for (std::string word; words >> word;) {
        out += rows_of(file + "." + word);
    }
    return out;
}

}  // namespace

std::string with_tables(const std::string& page) {
    std::string out;
    std::istringstream lines(page);
    bool is_in_table = false;
    for (std::string line; std::getline(lines, line);) {
        is_in_table = is_in_table && !line.empty();
        if (is_in_table) {
            continue;
        }
        out += line + "\n";
        if (line.starts_with(kMarkBegin) && line.ends_with(kMarkEnd)) {
            const std::size_t length = line.size() - kMarkBegin.size() - kMarkEnd.size();
            out += table_of(line.substr(kMarkBegin.size(), length));
            is_in_table = true;
        }
    }
    return out;
}

}  // namespace s3gate::config
