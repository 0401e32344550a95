// Addresses: one IP with a port, CIDR blocks, host:port texts. Value types without I/O; name
// resolution is elsewhere.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace s3gate::base {

// An IPv4 or IPv6 address. IPv4-mapped IPv6 addresses are folded to IPv4 on construction.
class IpAddress {
  public:
    IpAddress() = default;  // 0.0.0.0
    explicit IpAddress(const in_addr& v4);
    explicit IpAddress(const in6_addr& v6);

    // Accepts dotted IPv4 and IPv6 texts without brackets or zone; otherwise nullopt.
    static std::optional<IpAddress> parse(std::string_view text);
    // Accepts the same, and an address with a port or in brackets as X-Forwarded-For has it:
    // "1.2.3.4:80", "[::1]", "[::1]:80". The port is checked and left out.
    static std::optional<IpAddress> parse_with_port(std::string_view text);

    bool is_v6() const { return v6_; }
    // True for 0.0.0.0 and [::].
    bool is_wildcard() const;
    // 4 or 16 bytes in network order; the rest of the array is zero.
    const std::array<std::uint8_t, 16>& bytes() const { return bytes_; }
    // 16 bytes in network order; an IPv4 address is mapped (::ffff:10.0.0.1, RFC 4291 §2.5.5.2).
    std::array<std::uint8_t, 16> v6_bytes() const;
    // Without brackets: "10.0.0.1", "2001:db8::1".
    std::string to_string() const;
    bool operator==(const IpAddress&) const = default;

  private:
    std::array<std::uint8_t, 16> bytes_{};
    bool v6_ = false;
};

// The text of an address (IpAddress::to_string()), without an allocation.
class IpText {
  public:
    explicit IpText(const IpAddress& ip);
    std::string_view view() const { return {text_.data(), length_}; }

  private:
    std::array<char, INET6_ADDRSTRLEN> text_;  // valid up to length_
    std::uint8_t length_;
};

// An IP address and a port, convertible to the types of the socket calls.
class SocketAddress {
  public:
    SocketAddress() = default;
    SocketAddress(const IpAddress& ip, std::uint16_t port) : ip_(ip), port_(port) {}
    // From the result of accept or getsockname; nullopt for families other than AF_INET and
    // AF_INET6.
    static std::optional<SocketAddress> from_sockaddr(const sockaddr* address, socklen_t length);
    // Accepts "1.2.3.4:80" and "[::1]:80" (numeric only); otherwise nullopt.
    static std::optional<SocketAddress> parse(std::string_view text);

    const IpAddress& ip() const { return ip_; }
    std::uint16_t port() const { return port_; }
    // Fills `out` and returns its length for the socket call.
    socklen_t to_sockaddr(sockaddr_storage& out) const;
    // "1.2.3.4:80", "[::1]:80".
    std::string to_string() const;
    bool operator==(const SocketAddress&) const = default;

  private:
    IpAddress ip_;
    std::uint16_t port_ = 0;
};

// True if a socket that listens on `a` and one on `b` would get some of the same connections: the
// port is the same, and so is the address, or one of them is the wildcard of the other's family.
// Every listening socket of ours is IPV6_V6ONLY, so [::] and 0.0.0.0 never meet.
bool overlaps(const SocketAddress& a, const SocketAddress& b);

// A block of addresses: "10.0.0.0/8", "::1/128", or one address without a slash. Host bits must be
// zero.
class Cidr {
  public:
    // nullopt if the text is not a block, the length is out of range, or bits beyond the prefix are
    // set.
    static std::optional<Cidr> parse(std::string_view text);
    // True if `ip` is in the block. A block contains only addresses of its own family.
    bool contains(const IpAddress& ip) const;
    // True if an address is in both.
    bool overlaps(const Cidr& other) const {
        return contains(other.base_) || other.contains(base_);
    }
    // True for 0.0.0.0/0 and ::/0.
    bool is_whole_family() const { return prefix_ == 0; }
    std::string to_string() const;
    bool operator==(const Cidr&) const = default;

  private:
    IpAddress base_;
    unsigned prefix_ = 0;
};

// True if one of the blocks contains `ip`.
bool contains(const std::vector<Cidr>& blocks, const IpAddress& ip);

// A port of 0 to 65535 in decimal digits without leading zeros; nullopt for any other text.
std::optional<std::uint16_t> parse_port(std::string_view digits);

// A host with an optional port as operators write it.
struct HostPort {
    std::string host;                   // without brackets
    std::optional<std::uint16_t> port;  // absent if the text has none
};

// Accepts "name", "name:80", "1.2.3.4", "1.2.3.4:80", "[::1]", "[::1]:80". Host names: letters,
// digits, '-', '_', '.', not empty, at most 253 bytes. Otherwise nullopt (also for port 0 or above
// 65535).
std::optional<HostPort> parse_host_port(std::string_view text);

}  // namespace s3gate::base
