// A YAML text as a plain tree that remembers its lines. Unlike yaml-cpp's own nodes it keeps
// repeated keys (which are a problem to report, not to swallow), holds aliases as copies, and is
// bounded in size. Nothing else reads YAML.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace s3gate::config {

struct Node {
    enum class Kind { null, text, list, mapping };
    struct Key {
        std::string text;
        int line = 0;
        bool is_text = true;  // false for null, list and mapping keys
    };

    Kind kind = Kind::null;
    int line = 0;
    bool unusable = false;  // its problem was reported already: readers skip it silently
    std::string text;
    std::string unquoted;     // the words of the file, where only quotes would make them a text for
                              // YAML; else empty
    std::vector<Key> keys;    // mapping: as many as items
    std::vector<Node> items;  // list and mapping
};

struct SyntaxError {
    int line = 0;  // 0 = unknown
    std::string message;
    std::string key = {};  // path of the key whose value was being read; may be empty
};

struct ParsedYaml {
    Node root;                         // null for an empty document
    std::optional<SyntaxError> error;  // root is meaningless when set
};

// Parses one document. Refuses what is not UTF-8, holds control characters or more than one
// document, and what grows beyond any sensible configuration through aliases.
ParsedYaml parse_yaml(const std::string& text);

// What to do about a text without quotes that YAML reads as something else.
std::string quote_it(std::string_view unquoted);

// "text", "a list" …: how problems call a node.
std::string_view kind_name(Node::Kind kind);

}  // namespace s3gate::config
