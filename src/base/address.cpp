#include "s3gate/base/address.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "s3gate/base/text.hpp"

namespace s3gate::base {

namespace {

constexpr std::array<std::uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr unsigned kMappedBits = 96;
constexpr std::size_t kMaxHostName = 253;  // RFC 1035 §2.3.4: 255 octets on the wire

// Only one spelling per number is valid (no leading zeros), so two texts never mean the same
// address.
std::optional<std::uint64_t> parse_canonical(std::string_view digits, std::uint64_t max) {
    if (digits.size() > 1 && digits.front() == '0') {
        return std::nullopt;
    }
    const auto value = parse_decimal(digits);
    return value && *value <= max ? value : std::nullopt;
}

// The host without brackets, and the port's digits without the colon.
struct Split {
    std::string_view host;
    bool bracketed = false;
    std::optional<std::string_view> port;
};

// Splits only; does not validate. A text without brackets is split at its first colon, so "::1"
// leaves no valid host.
std::optional<Split> split_host_port(std::string_view text) {
    Split out;
    std::string_view rest;
    if (text.starts_with('[')) {
        const std::size_t close = text.find(']');
        if (close == std::string_view::npos) {
            return std::nullopt;
        }
        out.host = text.substr(1, close - 1);
        out.bracketed = true;
        rest = text.substr(close + 1);
    } else {
        out.host = text.substr(0, text.find(':'));
        rest = text.substr(out.host.size());
    }
    if (rest.empty()) {
        return out;
    }
    if (rest.front() != ':') {
        return std::nullopt;
    }
    out.port = rest.substr(1);
    return out;
}

bool is_v6_text(std::string_view text) {
    return text.find(':') != std::string_view::npos && IpAddress::parse(text).has_value();
}

bool is_host_name(std::string_view text) {
    return !text.empty() && text.size() <= kMaxHostName && std::ranges::all_of(text, [](char c) {
        const char lower = to_lower(c);
        return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
               c == '.';
    });
}

// True if the first `bits` bits of both are equal.
bool same_prefix(const std::array<std::uint8_t, 16>& a, const std::array<std::uint8_t, 16>& b,
                 unsigned bits) {
    const unsigned whole = bits / 8;
    if (!std::equal(a.begin(), a.begin() + whole, b.begin())) {
        return false;
    }
    const unsigned rest = bits % 8;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

// True if every bit from `bits` on is zero.
bool is_zero_after(const std::array<std::uint8_t, 16>& bytes, unsigned bits) {
    const unsigned whole = bits / 8;
    if (whole == bytes.size()) {
        return true;
    }
    return (bytes[whole] & (0xffu >> (bits % 8))) == 0 &&
           std::all_of(bytes.begin() + whole + 1, bytes.end(), [](auto b) { return b == 0; });
}

}  // namespace

std::optional<std::uint16_t> parse_port(std::string_view digits) {
    const auto value = parse_canonical(digits, 65535);
    if (!value) {
        return std::nullopt;
    }
    return static_cast<std::uint16_t>(*value);
}

IpAddress::IpAddress(const in_addr& v4) {
    std::memcpy(bytes_.data(), &v4, sizeof v4);
}

IpAddress::IpAddress(const in6_addr& v6) {
    const std::uint8_t* const bytes = v6.s6_addr;
    if (std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes)) {
        std::copy(bytes + kMappedPrefix.size(), bytes + sizeof v6, bytes_.begin());
        return;
    }
    std::copy(bytes, bytes + sizeof v6, bytes_.begin());
    v6_ = true;
}

std::array<std::uint8_t, 16> IpAddress::v6_bytes() const {
    if (v6_) {
        return bytes_;
    }
    std::array<std::uint8_t, 16> mapped{};
    std::ranges::copy(kMappedPrefix, mapped.begin());
    std::copy_n(bytes_.begin(), sizeof(in_addr), mapped.begin() + kMappedPrefix.size());
    return mapped;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
    std::array<char, INET6_ADDRSTRLEN> buffer{};
    // inet_pton needs a terminated text; a NUL inside would hide the rest.
    if (text.size() >= buffer.size() || text.find('\0') != std::string_view::npos) {
        return std::nullopt;
    }
    std::copy(text.begin(), text.end(), buffer.begin());
    in_addr v4{};
    if (inet_pton(AF_INET, buffer.data(), &v4) == 1) {
        return IpAddress(v4);
    }
    in6_addr v6{};
    if (inet_pton(AF_INET6, buffer.data(), &v6) == 1) {
        return IpAddress(v6);
    }
    return std::nullopt;
}

std::optional<IpAddress> IpAddress::parse_with_port(std::string_view text) {
    if (const auto ip = parse(text)) {
        return ip;
    }
    const auto split = split_host_port(text);
    if (!split || (split->port && !parse_port(*split->port)) ||
        split->bracketed != is_v6_text(split->host)) {
        return std::nullopt;
    }
    return parse(split->host);
}

bool IpAddress::is_wildcard() const {
    return std::ranges::all_of(bytes_, [](std::uint8_t byte) { return byte == 0; });
}

std::string IpAddress::to_string() const {
    return std::string(IpText(*this).view());
}

IpText::IpText(const IpAddress& ip) {
    if (ip.is_v6()) {
        inet_ntop(AF_INET6, ip.bytes().data(), text_.data(), INET6_ADDRSTRLEN);
        length_ = static_cast<std::uint8_t>(std::strlen(text_.data()));
        return;
    }
    // Every connection formats two of these, and inet_ntop uses printf.
    char* end = text_.data();
    for (std::size_t i = 0; i < 4; ++i) {
        if (i > 0) {
            *end++ = '.';
        }
        end = std::to_chars(end, text_.data() + text_.size(), ip.bytes()[i]).ptr;
    }
    length_ = static_cast<std::uint8_t>(end - text_.data());
}

std::optional<SocketAddress> SocketAddress::from_sockaddr(const sockaddr* address,
                                                          socklen_t length) {
    if (address == nullptr || length < sizeof(sa_family_t)) {
        return std::nullopt;
    }
    // Copied: the caller's storage need not be aligned for the family's type.
    if (address->sa_family == AF_INET && length >= sizeof(sockaddr_in)) {
        sockaddr_in v4{};
        std::memcpy(&v4, address, sizeof v4);
        return SocketAddress(IpAddress(v4.sin_addr), ntohs(v4.sin_port));
    }
    if (address->sa_family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
        sockaddr_in6 v6{};
        std::memcpy(&v6, address, sizeof v6);
        return SocketAddress(IpAddress(v6.sin6_addr), ntohs(v6.sin6_port));
    }
    return std::nullopt;
}

std::optional<SocketAddress> SocketAddress::parse(std::string_view text) {
    const auto split = split_host_port(text);
    if (!split || !split->port) {
        return std::nullopt;
    }
    const auto ip = IpAddress::parse(split->host);
    const auto port = parse_port(*split->port);
    if (!ip || !port || split->bracketed != is_v6_text(split->host)) {
        return std::nullopt;
    }
    return SocketAddress(*ip, *port);
}

socklen_t SocketAddress::to_sockaddr(sockaddr_storage& out) const {
    if (ip_.is_v6()) {
        sockaddr_in6 v6{};
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(port_);
        std::memcpy(&v6.sin6_addr, ip_.bytes().data(), sizeof v6.sin6_addr);
        std::memcpy(&out, &v6, sizeof v6);
        return sizeof v6;
    }
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port_);
    std::memcpy(&v4.sin_addr, ip_.bytes().data(), sizeof v4.sin_addr);
    std::memcpy(&out, &v4, sizeof v4);
    return sizeof v4;
}

std::string SocketAddress::to_string() const {
    const std::string ip = ip_.to_string();
    return (ip_.is_v6() ? "[" + ip + "]" : ip) + ":" + std::to_string(port_);
}

bool overlaps(const SocketAddress& a, const SocketAddress& b) {
    return a.port() == b.port() && a.ip().is_v6() == b.ip().is_v6() &&
           (a.ip() == b.ip() || a.ip().is_wildcard() || b.ip().is_wildcard());
}

std::optional<Cidr> Cidr::parse(std::string_view text) {
    const std::size_t slash = text.find('/');
    const std::string_view address = text.substr(0, slash);
    const auto ip = IpAddress::parse(address);
    if (!ip) {
        return std::nullopt;
    }
    // The prefix length is in the family of the written text: "::ffff:10.0.0.0/104" is 10.0.0.0/8.
    const bool mapped = !ip->is_v6() && address.find(':') != std::string_view::npos;
    const unsigned written_bits = ip->is_v6() || mapped ? 128 : 32;
    unsigned prefix = written_bits;
    if (slash != std::string_view::npos) {
        const auto length = parse_canonical(text.substr(slash + 1), written_bits);
        if (!length) {
            return std::nullopt;
        }
        prefix = static_cast<unsigned>(*length);
    }
    if (mapped) {
        if (prefix < kMappedBits) {
            return std::nullopt;  // the ffff of the mapped prefix would be a host bit
        }
        prefix -= kMappedBits;
    }
    if (!is_zero_after(ip->bytes(), prefix)) {
        return std::nullopt;
    }
    Cidr out;
    out.base_ = *ip;
    out.prefix_ = prefix;
    return out;
}

bool Cidr::contains(const IpAddress& ip) const {
    return ip.is_v6() == base_.is_v6() && same_prefix(ip.bytes(), base_.bytes(), prefix_);
}

std::string Cidr::to_string() const {
    return base_.to_string() + "/" + std::to_string(prefix_);
}

std::optional<HostPort> parse_host_port(std::string_view text) {
    const auto split = split_host_port(text);
    if (!split || !(split->bracketed ? is_v6_text(split->host) : is_host_name(split->host))) {
        return std::nullopt;
    }
    HostPort out{std::string(split->host), std::nullopt};
    if (split->port) {
        out.port = parse_port(*split->port);
        if (!out.port || *out.port == 0) {
            return std::nullopt;
        }
    }
    return out;
}

bool contains(const std::vector<Cidr>& blocks, const IpAddress& ip) {
    return std::any_of(blocks.begin(), blocks.end(),
                       [&](const Cidr& block) { return block.contains(ip); });
}

}  // namespace s3gate::base
