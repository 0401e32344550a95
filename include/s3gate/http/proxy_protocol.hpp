// The PROXY protocol: a header that a balancer puts before the first byte of a connection and that
// names the connection's ends as the balancer saw them. "PROXY protocol §N" is a section of
// HAProxy's doc/proxy-protocol.txt. Versions 1 and 2 are read, version 2 is written. Pure,
// allocates nothing; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "s3gate/base/address.hpp"

namespace s3gate::http {

// Why a header was refused.
enum class ProxyHeaderError : std::uint8_t {
    none,
    not_a_header,  // the connection begins with other bytes
    // Version 1
    bad_protocol,  // not TCP4, TCP6 or UNKNOWN
    bad_source,    // not one address of the protocol's family
    bad_destination,
    bad_source_port,
    bad_destination_port,
    bad_line_end,   // CR without LF, LF without CR
    line_too_long,  // no CRLF within 107 bytes
    // Version 2
    bad_version,
    bad_command,
    bad_family,
    bad_transport,
    too_short,  // the length has no room for the addresses of the family
};

// Short text for logs and error messages.
std::string_view to_string(ProxyHeaderError error);

// Both ends of a connection.
struct ProxyAddresses {
    base::SocketAddress source;
    base::SocketAddress destination;
    bool operator==(const ProxyAddresses&) const = default;
};

// Reads one header as its bytes arrive, in any segments. Refuses it at the first byte that no
// header can have. Vectors (TLV) are passed over unread and need no memory; PP2_TYPE_CRC32C among
// them, whose support §2.2.3 leaves to the receiver: TCP has a checksum of its own.
class ProxyHeaderReader {
  public:
    enum class State : std::uint8_t { incomplete, complete, malformed };

    // Takes the next bytes. Returns how many of them belong to the header: all while it is
    // incomplete, none if it is malformed. The caller keeps the others. Do not call it again after
    // the end.
    std::size_t take(std::string_view bytes);
    State state() const { return state_; }
    // For `malformed`.
    ProxyHeaderError error() const { return error_; }
    // For `complete`. nullopt if the header names no TCP addresses, so the ends of the connection
    // itself count: LOCAL, UNKNOWN, UNSPEC, UNIX, UDP. IPv4-mapped addresses become IPv4.
    const std::optional<ProxyAddresses>& addresses() const { return addresses_; }
    // For `not_a_header`: the bytes that earlier calls took. They belong to something else.
    std::string_view received() const { return {kept_.data(), fill_}; }

  private:
    // Longest line of version 1, with CRLF (§2.1, "worst case"). The longest address block of
    // version 2 that is read is shorter.
    static constexpr std::size_t kMost = 107;

    void refuse(ProxyHeaderError error);
    void step();
    void step_line();
    void step_block();
    void take_line();
    void take_fixed_part();
    void take_block();

    std::array<char, kMost> kept_;  // the bytes so far, up to the end of the address block
    std::size_t fill_ = 0;
    std::size_t block_end_ = SIZE_MAX;  // of the kept part of version 2; known with the length
    std::size_t left_ = 0;              // bytes behind that part which belong to the header
    State state_ = State::incomplete;
    ProxyHeaderError error_ = ProxyHeaderError::none;
    bool is_local_ = false;
    std::optional<ProxyAddresses> addresses_;
};

// True if the bytes are, or begin like, a header of either version and of no HTTP request.
bool begins_like_proxy_header(std::string_view bytes);

// A header of version 2 (§2.2).
class ProxyHeader {
  public:
    // PROXY, TCP. If only one address is IPv6, both are sent as IPv6, the other one mapped: a
    // header has one family.
    explicit ProxyHeader(const ProxyAddresses& addresses);
    std::string_view bytes() const { return {bytes_.data(), size_}; }

  private:
    std::array<char, 52> bytes_;  // 16, and 36 for two IPv6 addresses with ports
    std::uint8_t size_;
};

// The header of a connection of the proxy's own, such as a health check: LOCAL, family UNSPEC, no
// addresses (§2.2).
inline constexpr std::string_view kLocalProxyHeader("\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", 16);

}  // namespace s3gate::http
