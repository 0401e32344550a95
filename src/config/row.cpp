#include "row.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

namespace s3gate::config {

namespace {

std::string in_code(std::string_view word) {
    return "`" + std::string(word) + "`";
}

bool is_control(char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
}

std::string in_double_quotes(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (is_control(c)) {
            std::array<char, 8> escaped{};
            std::snprintf(escaped.data(), escaped.size(), "\\x%02x", static_cast<unsigned>(c));
            out += escaped.data();
        } else {
            out += c == '"' || c == '\\' ? "\\" : "";
            out += c;
        }
    }
    return out + "\"";
}

std::string flow_text(const std::string& text) {
    const bool is_plain =
        !text.empty() && text.find_first_of("{}[],:#\"'") == std::string::npos &&
        std::string_view("*&!@%`|>?- ").find(text.front()) == std::string_view::npos &&
        std::ranges::none_of(text, is_control);
    return is_plain ? text : in_double_quotes(text);
}

struct InFlow {
    std::string operator()(const Word& word) const { return word.text; }
    std::string operator()(const Text& text) const { return flow_text(text.text); }
    std::string operator()(const Texts& texts) const {
        std::string out;
        for (const std::string& item : texts.items) {
            out += (out.empty() ? "" : ", ") + flow_text(item);
        }
        return "[" + out + "]";
    }
    std::string operator()(const Addresses& addresses) const {
        std::string out;
        for (const auto& [address, accept_proxy] : addresses.items) {
            const std::string text = flow_text(address);
            out += (out.empty() ? "" : ", ") +
                   (accept_proxy.items.empty()
                        ? text
                        : "{address: " + text + ", accept_proxy: " + (*this)(accept_proxy) + "}");
        }
        return "[" + out + "]";
    }
    std::string operator()(const Fields& fields) const {
        std::string out;
        for (const auto& [name, value] : fields.items) {
            out += (out.empty() ? "" : ", ") + flow_text(name) + ": " + flow_text(value);
        }
        return "{" + out + "}";
    }
};

}  // namespace

std::string in_flow(const Printed& value) {
    return std::visit(InFlow(), value);
}

Text print_text(const std::string& text) {
    return {text};
}

Addresses print_listen(const std::vector<Listen>& listen) {
    Addresses out;
    for (const Listen& one : listen) {
        out.items.push_back({one.text, print_blocks(one.accept_proxy)});
    }
    return out;
}

Texts print_blocks(const std::vector<base::Cidr>& blocks) {
    Texts out;
    for (const base::Cidr& block : blocks) {
        out.items.push_back(block.to_string());
    }
    return out;
}

namespace detail {

std::string range_of(const NumberRule& rule) {
    return (rule.word.empty() ? "" : in_code(rule.word) + ", ") + std::to_string(rule.min) + "…" +
           std::to_string(rule.max);
}

std::string range_of(const DurationRule& rule) {
    return print_duration(rule.min) + "…" + print_duration(rule.max);
}

std::string range_of(const SizeRule& rule) {
    // Section::size() accepts off for 0.
    return (rule.min == 0 ? in_code("off") + ", " : "") + print_size(rule.min) + "…" +
           print_size(rule.max);
}

std::string range_of(const std::vector<std::string_view>& words) {
    std::string out;
    for (const std::string_view word : words) {
        out += (out.empty() ? "" : ", ") + in_code(word);
    }
    return out;
}

}  // namespace detail

}  // namespace s3gate::config
