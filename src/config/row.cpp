#include "row.hpp"

namespace s3gate::config {

namespace {

std::string in_code(std::string_view word) {
    return "`" + std::string(word) + "`";
}

}  // namespace

Text print_text(const std::string& text) {
    return {text};
}

Texts print_listen(const std::vector<Listen>& listen) {
    Texts out;
    for (const Listen& one : listen) {
        out.items.push_back(one.text);
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
