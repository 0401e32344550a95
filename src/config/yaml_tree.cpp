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

#include "s3gate/base/utf8.hpp"

namespace s3gate::config {

namespace {

// Nested aliases can grow exponentially ("billion laughs"); no real configuration comes near this.
constexpr std::size_t kMaxTreeBytes = std::size_t{128} * 1024 * 1024;

int line_of(const YAML::Mark& mark) {
    return mark.is_null() ? 0 : mark.line + 1;
}

// The lines of a file, and words in them by line and column.
class Lines {
  public:
    explicit Lines(std::string_view text) : text_(text) {
        for (std::size_t at = 0; at != std::string_view::npos;) {
            begins_.push_back(at);
            const std::size_t end = text.find('\n', at);
            at = end == std::string_view::npos ? end : end + 1;
        }
    }

    // The line without its end; 1-based, empty if there is no such line.
    std::string_view at(int line) const {
        if (line < 1 || static_cast<std::size_t>(line) > begins_.size()) {
            return {};
        }
        std::string_view out = text_.substr(begins_[static_cast<std::size_t>(line) - 1]);
        out = out.substr(0, out.find('\n'));
        return out.ends_with('\r') ? out.substr(0, out.size() - 1) : out;
    }

    // The word around the 0-based column, with balanced brackets; empty if there is none.
    std::string_view word_at(int line, int column) const;
    // The same, from that column on.
    std::string_view word_from(int line, int column) const;

  private:
    std::string_view text_;
    std::vector<std::size_t> begins_;
};

// A longer word is no unquoted address.
constexpr std::size_t kLongestWord = 256;

std::string_view Lines::word_at(int line, int column) const {
    const std::string_view all = at(line);
    auto first = static_cast<std::size_t>(column);
    if (column < 0 || first >= all.size()) {
        return {};
    }
    const std::size_t lowest = first < kLongestWord ? 0 : first - kLongestWord;
    std::size_t depth = 0;
    for (; first > lowest; --first) {
        const char before = all[first - 1];
        if (before == ' ' || before == '\t' || (depth == 0 && before == ',')) {
            break;
        }
        if (before == ']' || before == '}') {
            ++depth;
        } else if (before == '[' || before == '{') {
            if (depth == 0) {
                break;
            }
            --depth;
        }
    }
    return depth == 0 ? word_from(line, static_cast<int>(first)) : std::string_view();
}

std::string_view Lines::word_from(int line, int column) const {
    const std::string_view all = at(line);
    const auto first = static_cast<std::size_t>(column);
    if (column < 0 || first >= all.size()) {
        return {};
    }
    std::size_t depth = 0;
    std::size_t end = first;
    for (; end < all.size() && end - first < kLongestWord; ++end) {
        const char c = all[end];
        if (c == ' ' || c == '\t' || (depth == 0 && c == ',')) {
            break;
        }
        if (c == '[' || c == '{') {
            ++depth;
        } else if (c == ']' || c == '}') {
            if (depth == 0 && end > first) {
                break;
            }
            depth -= depth > 0 ? 1 : 0;
        }
    }
    std::string_view out = all.substr(first, end - first);
    // "key:" without a value is no text.
    return depth == 0 && !out.ends_with(':') ? out : std::string_view();
}

class TreeBuilder final : public YAML::EventHandler {
  public:
    explicit TreeBuilder(const Lines& lines) : lines_(lines) {}

    Node take_root() { return std::move(root_); }

    // The path of the innermost key whose value is incomplete or ends in `line`.
    std::string open_key(int line) const;
    // The line where the innermost incomplete value began.
    int open_line() const { return stack_.empty() ? 0 : stack_.back().node.line; }

    void OnDocumentStart(const YAML::Mark& /*mark*/) override {}
    void OnDocumentEnd() override {}

    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        open(mark, anchor, Node::Kind::null);
        if (anchor != YAML::NullAnchor) {
            mark_unquoted(mark);  // "&name" without a value
        }
        close();
    }
    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  const std::string& value) override {
        open(mark, anchor, Node::Kind::text);
        stack_.back().node.text = value;
        if (tag.size() > 1 && tag.starts_with('!')) {
            mark_unquoted(mark);  // "!word" is a tag; YAML's own begin with "tag:"
        }
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
                    YAML::EmitterStyle::value style) override {
        open(mark, anchor, Node::Kind::mapping);
        stack_.back().is_flow = style == YAML::EmitterStyle::Flow;
    }
    void OnMapEnd() override {
        // "[::1]:9000" in a list: YAML reads a mapping without braces whose key is a list.
        const Open& done = stack_.back();
        if (done.is_flow && !done.node.keys.empty() && is_without_braces(done) &&
            (!done.node.keys.front().is_text || done.node.keys.front().text.starts_with(':'))) {
            mark_unquoted(done.mark);
        }
        close();
    }

  private:
    struct Open {
        Node node;
        YAML::anchor_t anchor = YAML::NullAnchor;
        std::size_t bytes = sizeof(Node);
        YAML::Mark mark;
        bool is_flow = false;  // in [ ] or { }
    };
    struct Anchored {
        Node node;
        std::size_t bytes = 0;
    };

    bool is_without_braces(const Open& mapping) const {
        const std::string_view line = lines_.at(line_of(mapping.mark));
        const auto column = static_cast<std::size_t>(mapping.mark.column);
        return column < line.size() && line[column] != '{';
    }

    void mark_unquoted(const YAML::Mark& mark) {
        stack_.back().node.unquoted = lines_.word_from(line_of(mark), mark.column);
    }

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

    const Lines& lines_;
    Node root_;
    std::vector<Open> stack_;
    std::map<YAML::anchor_t, Anchored> anchors_;
    std::size_t spent_ = 0;
};

std::string TreeBuilder::open_key(int line) const {
    std::string out;
    std::string index;  // of a list; shown only before a key
    for (const Open& open : stack_) {
        const Node& node = open.node;
        if (node.kind == Node::Kind::list) {
            index += "[" + std::to_string(node.items.size()) + "]";
            continue;
        }
        if (node.kind != Node::Kind::mapping || node.keys.empty() || !node.keys.back().is_text ||
            (open.is_flow && is_without_braces(open))) {
            break;
        }
        if (node.keys.size() == node.items.size() && node.keys.back().line != line) {
            break;
        }
        out += std::exchange(index, {}) + (out.empty() ? "" : ".") + node.keys.back().text;
    }
    return out;
}

// yaml-cpp silently replaces or keeps such bytes. A value must equal the text that the operator
// sees in the editor.
std::optional<SyntaxError> find_odd_byte(std::string_view text) {
    int line = 1;
    for (std::size_t i = 0; i < text.size();) {
        const auto c = static_cast<unsigned char>(text[i]);
        if (c == '\n') {
            ++line;
        } else if ((c < 0x20 && c != '\t' && c != '\r') || c == 0x7F) {
            return SyntaxError{line, "holds a control character; is this a text file?"};
        }
        const std::size_t length = base::utf8_length(text.substr(i));
        if (length == 0) {
            return SyntaxError{line, "holds bytes that are not UTF-8"};
        }
        i += length;
    }
    return std::nullopt;
}

// The text at an error of yaml-cpp if it lacks quotes; else empty.
std::string_view unquoted_at(const Lines& lines, int line, int column) {
    const std::string_view word = lines.word_at(line, column);
    const bool has_text = word.find_first_not_of("[]{},") != std::string_view::npos;
    const bool has_brackets = word.find_first_of("[]{}") != std::string_view::npos;
    constexpr std::string_view kReserved = "*@`%&!|>";
    const bool is_reserved =
        !word.empty() && word.size() > 1 && kReserved.find(word.front()) != std::string_view::npos;
    // A word that has quotes contains a different mistake.
    const bool has_quotes = word.find_first_of("\"'") != std::string_view::npos;
    return has_text && !has_quotes && (has_brackets || is_reserved) ? word : std::string_view();
}

constexpr std::string_view kBehindQuote = "something stands behind the closing quote";

// The likely cause of a yaml-cpp message; empty if unknown.
std::string_view usual_cause(const std::string& message, std::string_view line, int column) {
    const std::string_view indent = line.substr(0, line.find_first_not_of(" \t"));
    const auto at = static_cast<std::size_t>(std::max(column, 0));
    if (indent.find('\t') != std::string_view::npos) {
        return "a tab in the indentation; indent with spaces";
    }
    if (at > 0 && at < line.size() && (line[at - 1] == '"' || line[at - 1] == '\'') &&
        line[at] != ' ') {
        return kBehindQuote;
    }
    if (message == "illegal map value") {
        return "a ':' where no key can stand; a text with ': ' in it needs quotes";
    }
    return {};
}

SyntaxError explain(const YAML::Exception& error, const Lines& lines, const TreeBuilder& tree) {
    SyntaxError out{line_of(error.mark), "YAML syntax: " + error.msg,
                    tree.open_key(line_of(error.mark))};
    const std::string_view line = lines.at(out.line);
    if (error.msg.ends_with("flow not found") && error.mark.pos == 0) {
        // yaml-cpp reports the first line for errors at the end of the file.
        out.line = tree.open_line();
        out.message = "YAML syntax: a [ or { that is opened here is never closed";
        return out;
    }
    const std::string_view cause = usual_cause(error.msg, line, error.mark.column);
    std::string_view word;
    if (cause.empty()) {
        word = unquoted_at(lines, out.line, error.mark.column);
    }
    // Other mistakes with aliases are not caused by missing quotes.
    if (word.starts_with('*') && !error.msg.starts_with(YAML::ErrorMsg::UNKNOWN_ANCHOR)) {
        word = {};
    }
    if (!word.empty()) {
        out.message = quote_it(word);
    } else if (cause == kBehindQuote) {
        // yaml-cpp's text depends on its version.
        out.message = "YAML syntax: " + std::string(cause);
    } else if (!cause.empty()) {
        out.message += " (" + std::string(cause) + ")";
    } else if (error.msg.ends_with("flow not found")) {
        out.message += tree.open_line() == out.line
                           ? " (a comma or the closing bracket is missing)"
                           : " (the bracket opened in line " + std::to_string(tree.open_line()) +
                                 " is not closed)";
    }
    return out;
}

}  // namespace

std::string quote_it(std::string_view unquoted) {
    std::string_view why = "YAML takes it for something else";
    if (unquoted.starts_with('[')) {
        why = "YAML takes [ ] for a list";
    } else if (unquoted.find('{') != std::string_view::npos) {
        why = "YAML takes { } for a mapping";
    } else if (unquoted.starts_with('*')) {
        why = "YAML takes it for an alias, and there is no anchor of that name";
    } else if (unquoted.starts_with('&')) {
        why = "YAML takes an & at the beginning for an anchor";
    } else if (unquoted.starts_with('!')) {
        why = "YAML takes a ! at the beginning for a tag";
    } else if (unquoted.find_first_of("@`%|>") == 0) {
        why = "YAML keeps this first character for itself";
    }
    return "quote it: \"" + std::string(unquoted) + "\" (without quotes " + std::string(why) + ")";
}

ParsedYaml parse_yaml(const std::string& text) {
    ParsedYaml out;
    out.error = find_odd_byte(text);
    if (out.error) {
        return out;
    }
    const Lines lines(text);
    TreeBuilder builder(lines);
    try {
        std::istringstream input(text);
        YAML::Parser parser(input);
        parser.HandleNextDocument(builder);
        TreeBuilder rest(lines);
        if (parser.HandleNextDocument(rest)) {
            out.error = {rest.take_root().line,
                         "holds a second document; one file is one document"};
            return out;
        }
        out.root = builder.take_root();
    } catch (const YAML::DeepRecursion& error) {
        out.error = {line_of(error.mark), "is nested too deeply"};
    } catch (const YAML::Exception& error) {
        out.error = explain(error, lines, builder);
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
