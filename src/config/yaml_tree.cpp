#include "yaml_tree.hpp"

#include <yaml-cpp/depthguard.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <sstream>
#include <utility>

namespace s3gate::config {

namespace {

// Aliases of aliases grow without bound ("billion laughs"); no real configuration comes near this.
constexpr std::size_t kMaxTreeBytes = std::size_t{128} * 1024 * 1024;

int line_of(const YAML::Mark& mark) {
    return mark.is_null() ? 0 : mark.line + 1;
}

class TreeBuilder final : public YAML::EventHandler {
  public:
    Node take_root() { return std::move(root_); }

    void OnDocumentStart(const YAML::Mark& /*mark*/) override {}
    void OnDocumentEnd() override {}

    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        open(mark, anchor, Node::Kind::null);
        close();
    }
    void OnScalar(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t anchor,
                  const std::string& value) override {
        open(mark, anchor, Node::Kind::text);
        stack_.back().node.text = value;
        stack_.back().bytes += value.size();
        close();
    }
    void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        const auto found = anchors_.find(anchor);
        if (found == anchors_.end()) {
            throw YAML::ParserException(mark, "an alias stands inside of what it stands for");
        }
        spend(mark, found->second.bytes);
        add(found->second.node, found->second.bytes);
    }
    void OnSequenceStart(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t anchor,
                         YAML::EmitterStyle::value /*style*/) override {
        open(mark, anchor, Node::Kind::list);
    }
    void OnSequenceEnd() override { close(); }
    void OnMapStart(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t anchor,
                    YAML::EmitterStyle::value /*style*/) override {
        open(mark, anchor, Node::Kind::mapping);
    }
    void OnMapEnd() override { close(); }

  private:
    struct Open {
        Node node;
        YAML::anchor_t anchor = YAML::NullAnchor;
        std::size_t bytes = sizeof(Node);
        YAML::Mark mark;
    };
    struct Anchored {
        Node node;
        std::size_t bytes = 0;
    };

    void spend(const YAML::Mark& mark, std::size_t bytes) {
        spent_ += bytes;
        if (spent_ > kMaxTreeBytes) {
            throw YAML::ParserException(mark, "the document grows too large through its aliases");
        }
    }

    void open(const YAML::Mark& mark, YAML::anchor_t anchor, Node::Kind kind) {
        spend(mark, sizeof(Node));
        Open frame;
        frame.node.kind = kind;
        frame.node.line = line_of(mark);
        frame.anchor = anchor;
        frame.mark = mark;
        stack_.push_back(std::move(frame));
    }

    void close() {
        Open done = std::move(stack_.back());
        stack_.pop_back();
        if (done.anchor != YAML::NullAnchor) {
            spend(done.mark, done.bytes);
            anchors_[done.anchor] = {done.node, done.bytes};
        }
        add(std::move(done.node), done.bytes);
    }

    void add(Node node, std::size_t bytes) {
        if (stack_.empty()) {
            root_ = std::move(node);
            return;
        }
        Open& parent = stack_.back();
        parent.bytes += bytes;
        if (parent.node.kind == Node::Kind::mapping &&
            parent.node.keys.size() == parent.node.items.size()) {
            const bool is_text = node.kind == Node::Kind::text;
            parent.node.keys.push_back({std::move(node.text), node.line, is_text});
            return;
        }
        parent.node.items.push_back(std::move(node));
    }

    Node root_;
    std::vector<Open> stack_;
    std::map<YAML::anchor_t, Anchored> anchors_;
    std::size_t spent_ = 0;
};

// Bytes of the well-formed UTF-8 sequence at the beginning of `text` (Unicode 15, table 3-7), 0
// when there is none.
std::size_t utf8_length(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char first = byte(0);
    if (first < 0x80) {
        return 1;
    }
    const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || text.size() < length) {
        return 0;
    }
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xC0) != 0x80) {
            return 0;
        }
    }
    const unsigned char second = byte(1);
    const bool overlong = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
    const bool surrogate = first == 0xED && second > 0x9F;
    const bool too_high = first == 0xF4 && second > 0x8F;
    return overlong || surrogate || too_high ? 0 : length;
}

// yaml-cpp replaces or passes on such bytes without a word; a value must be what the operator sees
// in the editor.
std::optional<SyntaxError> find_odd_byte(std::string_view text) {
    int line = 1;
    for (std::size_t i = 0; i < text.size();) {
        const auto c = static_cast<unsigned char>(text[i]);
        if (c == '\n') {
            ++line;
        } else if ((c < 0x20 && c != '\t' && c != '\r') || c == 0x7F) {
            return SyntaxError{line, "holds a control character; is this a text file?"};
        }
        const std::size_t length = utf8_length(text.substr(i));
        if (length == 0) {
            return SyntaxError{line, "holds bytes that are not UTF-8"};
        }
        i += length;
    }
    return std::nullopt;
}

std::string_view line_at(std::string_view text, int line) {
    for (int i = 1; i < line && !text.empty(); ++i) {
        const std::size_t end = text.find('\n');
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    return text.substr(0, text.find('\n'));
}

// yaml-cpp's words, and what most often stands behind them.
std::string explain(const std::string& message, std::string_view line) {
    const std::string_view indent = line.substr(0, line.find_first_not_of(" \t"));
    std::string out = "YAML syntax: " + message;
    if (indent.find('\t') != std::string_view::npos) {
        out += " (a tab in the indentation; indent with spaces)";
    } else if (line.find("${") != std::string_view::npos) {
        out += " (inside { } and [ ] a ${NAME} needs quotes)";
    } else if (line.find("]:") != std::string_view::npos) {
        out += " (an address in brackets needs quotes: \"[::]:9000\")";
    } else if (message == "illegal map value") {
        out += " (a ':' where no key can stand; a text with ': ' in it needs quotes)";
    }
    return out;
}

}  // namespace

ParsedYaml parse_yaml(const std::string& text) {
    ParsedYaml out;
    out.error = find_odd_byte(text);
    if (out.error) {
        return out;
    }
    try {
        std::istringstream input(text);
        YAML::Parser parser(input);
        TreeBuilder builder;
        parser.HandleNextDocument(builder);
        TreeBuilder rest;
        if (parser.HandleNextDocument(rest)) {
            out.error = {rest.take_root().line,
                         "holds a second document; one file is one document"};
            return out;
        }
        out.root = builder.take_root();
    } catch (const YAML::DeepRecursion& error) {
        out.error = {line_of(error.mark), "is nested too deeply"};
    } catch (const YAML::Exception& error) {
        const int line = line_of(error.mark);
        out.error = {line, explain(error.msg, line_at(text, line))};
    }
    return out;
}

std::string_view kind_name(Node::Kind kind) {
    switch (kind) {
        case Node::Kind::null:
            return "nothing";
        case Node::Kind::text:
            return "a single value";
        case Node::Kind::list:
            return "a list";
        case Node::Kind::mapping:
            return "a mapping";
    }
    return "nothing";
}

}  // namespace s3gate::config
