// One mapping of a configuration file and its key path. It returns typed values, reports bad
// values, and refuses keys without a row. If a getter returns nothing, the reader keeps the
// default.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "s3gate/config/load.hpp"
#include "values.hpp"
#include "yaml_tree.hpp"

namespace s3gate::config {

// Collects the problems of one file.
class Report {
  public:
    Report(std::string file, LoadResult& result) : file_(std::move(file)), result_(result) {}

    void problem(int line, std::string key, std::string message) {
        result_.problems.push_back({at(line), std::move(key), std::move(message)});
    }
    void warning(int line, std::string key, std::string message) {
        result_.warnings.push_back({at(line), std::move(key), std::move(message)});
    }
    Location at(int line) const { return {file_, line}; }
    const std::string& file() const { return file_; }
    LoadResult& result() { return result_; }

  private:
    std::string file_;
    LoadResult& result_;
};

// A list item's text and its place.
struct Item {
    const Node& node;
    std::string path;
};

// Meaning of the word on for a key that accepts off.
enum class OnWord { refused, means_default };

// Range of a number; a `word` that is not empty means 0 ("auto", "off").
struct NumberRule {
    std::uint64_t min = 0;
    std::uint64_t max = 0;
    std::string_view word = {};
    OnWord on = OnWord::refused;
};

struct DurationRule {
    Duration min{1};
    Duration max{hours{24}};
};

struct SizeRule {
    std::uint64_t min = 0;
    std::uint64_t max = 0;
};

template <class T>
using Choices = std::vector<std::pair<std::string_view, T>>;

// Other programs' words for a choice. They are accepted but never suggested.
using Synonyms = std::vector<std::pair<std::string_view, std::string_view>>;

class Section {
  public:
    // `node` is a mapping and outlives the section. `path` appears in problems (empty at the top of
    // a file); `table` is the path in known_keys(). Reports repeated, unknown and empty keys at
    // once.
    Section(const Node& node, std::string path, std::string table, Report& report);

    // True if the key is written, valid or not.
    bool has(std::string_view key) const;
    // The value; null if it is not written, or if its problem was reported.
    const Node* find(std::string_view key) const;
    // The line of the key if written, else of the mapping.
    int line_of(std::string_view key) const;
    // The same line with the file.
    Location location_of(std::string_view key) const { return report_.at(line_of(key)); }
    std::string path_of(std::string_view key) const;
    int line() const { return node_.line; }
    const std::string& path() const { return path_; }
    const std::string& table() const { return table_; }
    Report& report() const { return report_; }

    // True if the value is off, false or no (YAML 1.1, written by other tools), in any case of
    // letters.
    bool is_off(std::string_view key) const;
    // True for on, true and yes.
    bool is_on(std::string_view key) const;

    // `what` completes "expected …".
    std::optional<std::string> text(std::string_view key, std::string_view what) const;
    std::optional<bool> boolean(std::string_view key) const;
    std::optional<std::uint64_t> number(std::string_view key, const NumberRule& rule) const;
    std::optional<Duration> duration(std::string_view key, const DurationRule& rule) const;
    std::optional<std::uint64_t> size(std::string_view key, const SizeRule& rule) const;
    std::optional<Section> mapping(std::string_view key, std::string_view what) const;
    // For sections that the word on enables with their defaults; nullopt in that case too.
    std::optional<Section> mapping_or_on(std::string_view key, std::string_view what) const;
    // The valid items of a list; nullopt if the key is missing or holds no list.
    std::optional<std::vector<Item>> list(std::string_view key, std::string_view what) const;
    // Names and texts of a mapping with free keys. Reports repeated names, in any case of letters.
    std::optional<std::vector<std::pair<Item, std::string>>> fields(std::string_view key) const;

    template <class T>
    std::optional<T> choice(std::string_view key, const Choices<T>& choices,
                            const Synonyms& synonyms = {}) const {
        std::vector<std::string_view> words;
        for (const auto& [word, value] : choices) {
            words.push_back(word);
        }
        const auto index = word_index(key, words, synonyms);
        return index ? std::optional<T>(choices[*index].second) : std::nullopt;
    }

    void problem(std::string_view key, std::string message) const;
    void warning(std::string_view key, std::string message) const;

  private:
    std::optional<std::size_t> index_of(std::string_view key) const;
    std::optional<std::size_t> word_index(std::string_view key,
                                          const std::vector<std::string_view>& words,
                                          const Synonyms& synonyms) const;
    bool is_word(std::string_view key, std::span<const std::string_view> words) const;
    void report_unknown(const Node::Key& key) const;

    const Node& node_;
    std::string path_;
    std::string table_;
    Report& report_;
};

// The text of a list item; reports a list, a mapping or an empty item and returns nullopt.
std::optional<std::string> item_text(const Item& item, std::string_view what, Report& report);

}  // namespace s3gate::config
