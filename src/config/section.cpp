#include "section.hpp"

#include <algorithm>
#include <array>

#include "keys.hpp"
#include "row.hpp"
#include "s3gate/base/text.hpp"

namespace s3gate::config {

namespace {

constexpr auto kOnWords = std::to_array<std::string_view>({"true", "yes", "on"});
constexpr auto kOffWords = std::to_array<std::string_view>({"false", "no", "off"});

constexpr std::string_view kNoValue =
    "has no value; give it one, or remove the key to get the default";

// The keys directly below `table` in one of the key lists.
std::vector<std::string_view> children_of(std::string_view table,
                                          std::span<const std::string_view> keys) {
    std::vector<std::string_view> out;
    for (const std::string_view key : keys) {
        if (const auto name = name_below(table, key)) {
            out.push_back(*name);
        }
    }
    return out;
}

bool contains(const std::vector<std::string_view>& words, std::string_view word) {
    return std::ranges::find(words, word) != words.end();
}

// Other sections that have a key of this name, as an operator would write them.
std::vector<std::string_view> homes_of(std::string_view key, std::string_view kind) {
    std::vector<std::string_view> out;
    for (const std::string_view known : known_keys()) {
        if (known.starts_with(kind) && known.ends_with(key) && known.size() > key.size() &&
            known[known.size() - key.size() - 1] == '.') {
            out.push_back(known.substr(5));
        }
    }
    return out;
}

// The likely place of a key that is unknown near `table`; empty if there is none.
std::string other_place(std::string_view key, std::string_view table) {
    constexpr std::size_t kFewEnough = 3;
    if (table == "site" && contains(children_of("main", known_keys()), key)) {
        return "it belongs in the main file";
    }
    if (table == "main" && contains(children_of("site", known_keys()), key)) {
        return "it belongs to a site";
    }
    // A list item (a server, an address) shares no keys with the sections around it.
    if (table.find('[') == std::string_view::npos) {
        const auto homes = homes_of(key, table.substr(0, 4));  // "main" or "site"
        if (!homes.empty() && homes.size() <= kFewEnough) {
            return "did you mean " + alternatives(homes) + "?";
        }
    }
    return {};
}

std::string expected(std::string_view what, const Node& found) {
    return "expected " + std::string(what) + ", found " + std::string(kind_name(found.kind));
}

}  // namespace

Section::Section(const Node& node, std::string path, std::string table, Report& report)
    : node_(node), path_(std::move(path)), table_(std::move(table)), report_(report) {
    const auto known = children_of(table_, known_keys());
    for (std::size_t i = 0; i < node_.keys.size(); ++i) {
        const Node::Key& key = node_.keys[i];
        if (!key.is_text) {
            report_.problem(key.line, path_, "a key must be a word");
            continue;
        }
        const auto first = std::ranges::find_if(node_.keys, [&](const Node::Key& other) {
            return other.is_text && other.text == key.text;
        });
        if (&*first != &key) {
            report_.problem(
                key.line, path_of(key.text),
                "is written a second time; the first is in line " + std::to_string(first->line));
            continue;
        }
        if (!contains(known, key.text)) {
            report_unknown(key);
        } else if (node_.items[i].kind == Node::Kind::null && !node_.items[i].unusable) {
            report_.problem(key.line, path_of(key.text), std::string(kNoValue));
        }
    }
}

void Section::report_unknown(const Node::Key& key) const {
    if (contains(children_of(table_, later_keys()), key.text)) {
        report_.problem(key.line, path_of(key.text),
                        "is not supported by this version of s3gate; remove it");
        return;
    }
    const auto known = children_of(table_, known_keys());
    std::string message = "unknown key; ";
    if (const auto near = nearest(key.text, known)) {
        message += "did you mean " + std::string(*near) + "?";
    } else if (const std::string place = other_place(key.text, table_); !place.empty()) {
        message += place;
    } else {
        message += "known here: " + alternatives(known);
    }
    const bool is_short = key.text.size() <= 64 && is_field_value(key.text);
    report_.problem(key.line, path_of(is_short ? key.text : in_quotes(key.text)),
                    std::move(message));
}

std::optional<std::size_t> Section::index_of(std::string_view key) const {
    for (std::size_t i = 0; i < node_.keys.size(); ++i) {
        if (node_.keys[i].is_text && node_.keys[i].text == key) {
            return i;
        }
    }
    return std::nullopt;
}

bool Section::has(std::string_view key) const {
    return index_of(key).has_value();
}

const Node* Section::find(std::string_view key) const {
    const auto index = index_of(key);
    if (!index) {
        return nullptr;
    }
    const Node& value = node_.items[*index];
    return value.unusable || value.kind == Node::Kind::null ? nullptr : &value;
}

int Section::line_of(std::string_view key) const {
    const auto index = index_of(key);
    return index ? node_.keys[*index].line : node_.line;
}

std::string Section::path_of(std::string_view key) const {
    return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
}

void Section::problem(std::string_view key, std::string message) const {
    report_.problem(line_of(key), path_of(key), std::move(message));
}

void Section::warning(std::string_view key, std::string message) const {
    report_.warning(line_of(key), path_of(key), std::move(message));
}

bool Section::is_word(std::string_view key, std::span<const std::string_view> words) const {
    const Node* const value = find(key);
    return value != nullptr && value->kind == Node::Kind::text &&
           std::ranges::any_of(words, [&](auto word) { return base::iequals(value->text, word); });
}

bool Section::is_off(std::string_view key) const {
    return is_word(key, kOffWords);
}

bool Section::is_on(std::string_view key) const {
    return is_word(key, kOnWords);
}

std::optional<std::string> Section::text(std::string_view key, std::string_view what) const {
    const Node* const value = find(key);
    if (value == nullptr) {
        return std::nullopt;
    }
    if (value->kind != Node::Kind::text) {
        problem(key, expected(what, *value));
        return std::nullopt;
    }
    return value->text;
}

std::optional<bool> Section::boolean(std::string_view key) const {
    const auto value = text(key, "true or false");
    if (!value) {
        return std::nullopt;
    }
    if (is_on(key) || is_off(key)) {
        return is_on(key);
    }
    problem(key, in_quotes(*value) + " is neither true nor false");
    return std::nullopt;
}

std::optional<std::uint64_t> Section::number(std::string_view key, const NumberRule& rule) const {
    const std::string range = "a number from " + std::to_string(rule.min) + " to " +
                              std::to_string(rule.max) +
                              (rule.word.empty() ? "" : " or " + std::string(rule.word));
    const auto value = text(key, range);
    if (!value) {
        return std::nullopt;
    }
    if (!rule.word.empty() && (*value == rule.word || (rule.word == "off" && is_off(key)))) {
        return 0;
    }
    if (rule.on == OnWord::means_default && is_on(key)) {
        return std::nullopt;
    }
    const auto number = base::parse_decimal(*value);
    if (!number || *number < rule.min || *number > rule.max) {
        problem(key, is_on(key) && rule.word == "off" ? "on does not say how many; write " + range
                                                      : in_quotes(*value) + " is not " + range);
        return std::nullopt;
    }
    return number;
}

std::optional<Duration> Section::duration(std::string_view key, const DurationRule& rule) const {
    const auto value = text(key, "a duration such as 3s");
    if (!value) {
        return std::nullopt;
    }
    auto parsed = parse_duration(*value);
    if (!parsed.value) {
        problem(key, std::move(parsed.error));
        return std::nullopt;
    }
    if (*parsed.value < rule.min || *parsed.value > rule.max) {
        problem(key, *value + " is out of range; from " + print_duration(rule.min) + " to " +
                         print_duration(rule.max));
        return std::nullopt;
    }
    return parsed.value;
}

std::optional<std::uint64_t> Section::size(std::string_view key, const SizeRule& rule) const {
    const auto value = text(key, "a size such as 64KiB");
    if (!value) {
        return std::nullopt;
    }
    if (rule.min == 0 && is_off(key)) {
        return 0;
    }
    if (rule.min == 0 && is_on(key)) {
        return std::nullopt;  // on, like off, means the default
    }
    auto parsed = parse_size(*value);
    if (!parsed.value) {
        problem(key, std::move(parsed.error));
        return std::nullopt;
    }
    if (*parsed.value < rule.min || *parsed.value > rule.max) {
        problem(key, *value + " is out of range; from " + print_size(rule.min) + " to " +
                         print_size(rule.max));
        return std::nullopt;
    }
    return parsed.value;
}

std::optional<Section> Section::mapping(std::string_view key, std::string_view what) const {
    const Node* const value = find(key);
    if (value == nullptr) {
        return std::nullopt;
    }
    if (value->kind != Node::Kind::mapping) {
        problem(key, value->kind == Node::Kind::text
                         ? "expected " + std::string(what) + ", found " + in_quotes(value->text)
                         : expected(what, *value));
        return std::nullopt;
    }
    return Section(*value, path_of(key), table_ + "." + std::string(key), report_);
}

std::optional<Section> Section::mapping_or_on(std::string_view key, std::string_view what) const {
    return is_on(key) ? std::nullopt : mapping(key, what);
}

std::optional<std::vector<Item>> Section::list(std::string_view key, std::string_view what) const {
    const Node* const value = find(key);
    if (value == nullptr) {
        return std::nullopt;
    }
    if (value->kind != Node::Kind::list) {
        problem(key, expected(what, *value));
        return std::nullopt;
    }
    std::vector<Item> out;
    for (std::size_t i = 0; i < value->items.size(); ++i) {
        const Node& item = value->items[i];
        std::string path = path_of(key) + "[" + std::to_string(i) + "]";
        if (item.kind == Node::Kind::null) {
            report_.problem(item.line, std::move(path), "is empty");
        } else if (!item.unusable) {
            out.push_back({item, std::move(path)});
        }
    }
    return out;
}

std::optional<std::vector<std::pair<Item, std::string>>> Section::fields(
    std::string_view key) const {
    const Node* const value = find(key);
    if (value == nullptr) {
        return std::nullopt;
    }
    if (value->kind != Node::Kind::mapping) {
        problem(key, expected("a mapping of header names to texts", *value));
        return std::nullopt;
    }
    std::vector<std::pair<Item, std::string>> out;
    std::vector<std::string_view> seen;
    for (std::size_t i = 0; i < value->items.size(); ++i) {
        const Node::Key& name = value->keys[i];
        const Node& item = value->items[i];
        std::string path =
            path_of(key) + "." + (base::is_token(name.text) ? name.text : in_quotes(name.text));
        if (!name.is_text || !base::is_token(name.text)) {
            report_.problem(name.line, std::move(path), "is not a header name");
        } else if (std::ranges::any_of(
                       seen, [&](auto other) { return base::iequals(other, name.text); })) {
            report_.problem(name.line, std::move(path),
                            "is written a second time; header names do not know case");
        } else if (item.kind == Node::Kind::text) {
            seen.push_back(name.text);
            if (!item.unusable) {
                out.emplace_back(Item{item, std::move(path)}, name.text);
            }
        } else {
            seen.push_back(name.text);
            report_.problem(name.line, std::move(path), expected("a text", item));
        }
    }
    return out;
}

std::optional<std::size_t> Section::word_index(std::string_view key,
                                               const std::vector<std::string_view>& words,
                                               const Synonyms& synonyms) const {
    const auto value = text(key, alternatives(words));
    if (!value) {
        return std::nullopt;
    }
    const auto synonym =
        std::ranges::find_if(synonyms, [&](const auto& pair) { return pair.first == *value; });
    const auto found = std::ranges::find(
        words, synonym == synonyms.end() ? std::string_view(*value) : synonym->second);
    if (found == words.end()) {
        problem(key, in_quotes(*value) + " is not known; one of " + alternatives(words));
        return std::nullopt;
    }
    return static_cast<std::size_t>(found - words.begin());
}

std::optional<std::string> item_text(const Item& item, std::string_view what, Report& report) {
    if (item.node.kind != Node::Kind::text) {
        report.problem(item.node.line, item.path, expected(what, item.node));
        return std::nullopt;
    }
    return item.node.text;
}

}  // namespace s3gate::config
