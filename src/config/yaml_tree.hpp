// A YAML text as a plain tree with line numbers. Unlike yaml-cpp's nodes it keeps repeated keys,
// which must be reported, holds aliases as copies, and is bounded in size. Only this module reads
// YAML.
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
    bool unusable = false;  // its problem was reported; readers skip it
    std::string text;
    // The original words if they need quotes to be a text in YAML; else empty.
    std::string unquoted;
    std::vector<Key> keys;    // mapping: one per item
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

// Parses one document. Refuses invalid UTF-8, control characters, a second document, and documents
// that aliases make too large.
ParsedYaml parse_yaml(const std::string& text);

// Advice for a text that YAML misreads without quotes.
std::string quote_it(std::string_view unquoted);

// The word for a node in problems: "text", "a list" …
std::string_view kind_name(Node::Kind kind);

}  // namespace s3gate::config
