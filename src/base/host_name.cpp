#include "s3gate/base/host_name.hpp"

#include <algorithm>
#include <cstddef>

#include "s3gate/base/address.hpp"
#include "s3gate/base/text.hpp"

namespace s3gate::base {
namespace {

constexpr std::size_t kMostOfName = 253;
constexpr std::size_t kMostOfLabel = 63;

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool is_label(std::string_view text) {
    return !text.empty() && text.size() <= kMostOfLabel && text.front() != '-' &&
           text.back() != '-' && std::ranges::all_of(text, [](char c) {
               const char lower = to_lower(c);
               return (lower >= 'a' && lower <= 'z') || is_digit(c) || c == '-' || c == '_';
           });
}

std::string_view without_final_dot(std::string_view name) {
    if (name.ends_with('.')) {
        name.remove_suffix(1);
    }
    return name;
}

}  // namespace

std::string_view host_name_of(std::string_view host) {
    return without_final_dot(host.substr(0, host.find(':')));
}

CanonicalHost::CanonicalHost(std::string_view host) {
    if (host.starts_with('[')) {
        const std::size_t end = std::min(host.find(']'), host.size());
        if (const auto ip = IpAddress::parse(host.substr(1, end - 1)); ip && end < host.size()) {
            const IpText text(*ip);
            std::ranges::copy(text.view(), text_.begin());
            length_ = text.view().size();
        }
        return;
    }
    const std::string_view name = host_name_of(host);
    if (name.size() <= text_.size()) {
        std::ranges::transform(name, text_.begin(), to_lower);
        length_ = name.size();
    }
}

std::string canonical_host_pattern(std::string_view text) {
    if (text.starts_with("*.")) {
        const std::string name = canonical_host_name(text.substr(2));
        return name.empty() ? name : "*." + name;
    }
    const bool has_brackets = text.starts_with('[') && text.ends_with(']');
    const auto ip = IpAddress::parse(has_brackets ? text.substr(1, text.size() - 2) : text);
    return ip ? ip->to_string() : canonical_host_name(text);
}

std::string canonical_host_name(std::string_view text) {
    text = without_final_dot(text);
    if (text.size() > kMostOfName) {
        return {};
    }
    std::string_view label;
    for (std::size_t begin = 0; begin <= text.size(); begin += label.size() + 1) {
        label = text.substr(begin, text.find('.', begin) - begin);
        if (!is_label(label)) {
            return {};
        }
    }
    // The last label of an IPv4 address is a number; that of a name never is (RFC 3696 section 2).
    if (std::ranges::all_of(label, is_digit)) {
        return {};
    }
    std::string name(text);
    std::ranges::transform(name, name.begin(), to_lower);
    return name;
}

}  // namespace s3gate::base
