#include "s3gate/http/proxy_protocol.hpp"

#include <algorithm>
#include <cstring>
#include <span>

namespace s3gate::http {
namespace {

using base::IpAddress;

// Version 1, PROXY protocol §2.1.
constexpr std::string_view kLineBegin = "PROXY ";
constexpr std::string_view kUnknown = "UNKNOWN";
constexpr std::string_view kTcp4 = "TCP4";
constexpr std::string_view kTcp6 = "TCP6";

// Version 2, PROXY protocol §2.2.
constexpr std::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr std::size_t kVersionAt = 12;
constexpr std::size_t kFamilyAt = 13;
constexpr std::size_t kLengthAt = 14;
constexpr std::size_t kFixedPart = 16;
constexpr unsigned kVersion2 = 0x2;
enum Command : unsigned { kLocal = 0x0, kProxy = 0x1 };
enum Family : unsigned { kUnspec = 0x0, kInet = 0x1, kInet6 = 0x2, kUnix = 0x3 };
enum Transport : unsigned { kStream = 0x1, kDatagram = 0x2 };

// Bytes of two addresses of the family, with the ports where it has some.
constexpr std::size_t block_size(unsigned family) {
    switch (family) {
        case kInet:
            return 2 * 4 + 2 * 2;
        case kInet6:
            return 2 * 16 + 2 * 2;
        case kUnix:
            return 2 * 108;
        default:
            return 0;
    }
}

unsigned byte_at(std::string_view bytes, std::size_t at) {
    return static_cast<unsigned char>(bytes[at]);
}

std::uint16_t port_at(std::string_view bytes, std::size_t at) {
    return static_cast<std::uint16_t>(byte_at(bytes, at) << 8 | byte_at(bytes, at + 1));
}

// The addresses of a block: both addresses, then both ports.
template <class Address>
ProxyAddresses addresses_of(std::string_view block) {
    Address source;
    Address destination;
    std::memcpy(&source, block.data(), sizeof source);
    std::memcpy(&destination, block.data() + sizeof source, sizeof destination);
    const std::size_t ports = 2 * sizeof(Address);
    return {{IpAddress(source), port_at(block, ports)},
            {IpAddress(destination), port_at(block, ports + 2)}};
}

// The text up to the next space, which is removed with it; the rest if there is no space.
std::string_view take_word(std::string_view& text) {
    const std::size_t space = text.find(' ');
    const std::string_view word = text.substr(0, space);
    text.remove_prefix(space == std::string_view::npos ? text.size() : space + 1);
    return word;
}

// HAProxy prints a mapped IPv4 address as ::ffff:192.0.2.1 and calls it TCP6.
std::optional<IpAddress> read_address(std::string_view text, bool is_v6) {
    const bool has_colon = text.find(':') != std::string_view::npos;
    return has_colon == is_v6 ? IpAddress::parse(text) : std::nullopt;
}

char* put_port(char* at, std::uint16_t port) {
    *at++ = static_cast<char>(port >> 8);
    *at++ = static_cast<char>(port & 0xff);
    return at;
}

}  // namespace

std::string_view to_string(ProxyHeaderError error) {
    switch (error) {
        case ProxyHeaderError::none:
            return "";
        case ProxyHeaderError::not_a_header:
            return "no PROXY protocol header";
        case ProxyHeaderError::bad_protocol:
            return "PROXY protocol header: neither TCP4, TCP6 nor UNKNOWN";
        case ProxyHeaderError::bad_source:
            return "PROXY protocol header: bad source address";
        case ProxyHeaderError::bad_destination:
            return "PROXY protocol header: bad destination address";
        case ProxyHeaderError::bad_source_port:
            return "PROXY protocol header: bad source port";
        case ProxyHeaderError::bad_destination_port:
            return "PROXY protocol header: bad destination port";
        case ProxyHeaderError::bad_line_end:
            return "PROXY protocol header: bad line end";
        case ProxyHeaderError::line_too_long:
            return "PROXY protocol header: line too long";
        case ProxyHeaderError::bad_version:
            return "PROXY protocol header: unknown version";
        case ProxyHeaderError::bad_command:
            return "PROXY protocol header: unknown command";
        case ProxyHeaderError::bad_family:
            return "PROXY protocol header: unknown address family";
        case ProxyHeaderError::bad_transport:
            return "PROXY protocol header: unknown transport protocol";
        case ProxyHeaderError::too_short:
            return "PROXY protocol header: too short for its addresses";
    }
    return "";
}

std::size_t ProxyHeaderReader::take(std::string_view bytes) {
    const std::size_t had = fill_;
    std::size_t taken = 0;
    while (state_ == State::incomplete && fill_ < block_end_ && taken < bytes.size()) {
        kept_[fill_++] = bytes[taken++];
        step();
    }
    if (state_ == State::malformed) {
        fill_ = had;
        return 0;
    }
    const std::size_t skipped = fill_ == block_end_ ? std::min(left_, bytes.size() - taken) : 0;
    left_ -= skipped;
    if (fill_ == block_end_ && left_ == 0) {
        take_block();
    }
    return taken + skipped;
}

void ProxyHeaderReader::refuse(ProxyHeaderError error) {
    state_ = State::malformed;
    error_ = error;
}

// Looks at the byte that was just kept. The first byte decides between the versions.
void ProxyHeaderReader::step() {
    const bool is_line = kept_[0] == kLineBegin[0];
    const std::string_view begin = is_line ? kLineBegin : kSignature;
    if (fill_ <= begin.size()) {
        if (kept_[fill_ - 1] != begin[fill_ - 1]) {
            refuse(ProxyHeaderError::not_a_header);
        }
    } else if (is_line) {
        step_line();
    } else {
        step_block();
    }
}

// §2.1: a single CR or LF must not end the line. After UNKNOWN anything is ignored; a line break
// there is refused all the same, because a reader that took it for the end would read on elsewhere.
void ProxyHeaderReader::step_line() {
    const bool was_cr = kept_[fill_ - 2] == '\r';
    const bool is_lf = kept_[fill_ - 1] == '\n';
    if (was_cr != is_lf) {
        refuse(ProxyHeaderError::bad_line_end);
    } else if (is_lf) {
        take_line();
    } else if (fill_ == kMost) {
        refuse(ProxyHeaderError::line_too_long);
    }
}

void ProxyHeaderReader::take_line() {
    std::string_view rest(kept_.data(), fill_ - 2);
    rest.remove_prefix(kLineBegin.size());
    const std::string_view protocol = take_word(rest);
    if (protocol == kUnknown) {
        state_ = State::complete;
        return;
    }
    const bool is_v6 = protocol == kTcp6;
    if (!is_v6 && protocol != kTcp4) {
        return refuse(ProxyHeaderError::bad_protocol);
    }
    const auto source = read_address(take_word(rest), is_v6);
    const auto destination = read_address(take_word(rest), is_v6);
    const auto source_port = base::parse_port(take_word(rest));
    const auto destination_port = base::parse_port(rest);
    if (!source) {
        return refuse(ProxyHeaderError::bad_source);
    }
    if (!destination) {
        return refuse(ProxyHeaderError::bad_destination);
    }
    if (!source_port) {
        return refuse(ProxyHeaderError::bad_source_port);
    }
    if (!destination_port) {
        return refuse(ProxyHeaderError::bad_destination_port);
    }
    addresses_ = {{*source, *source_port}, {*destination, *destination_port}};
    state_ = State::complete;
}

void ProxyHeaderReader::step_block() {
    const std::string_view kept(kept_.data(), fill_);
    const unsigned byte = byte_at(kept, fill_ - 1);
    if (fill_ - 1 == kVersionAt) {
        is_local_ = (byte & 0x0f) == kLocal;
        if (byte >> 4 != kVersion2) {
            refuse(ProxyHeaderError::bad_version);
        } else if ((byte & 0x0f) > kProxy) {
            refuse(ProxyHeaderError::bad_command);
        }
    } else if (fill_ - 1 == kFamilyAt && !is_local_) {  // §2.2: LOCAL has no family
        if (byte >> 4 > kUnix) {
            refuse(ProxyHeaderError::bad_family);
        } else if ((byte & 0x0f) > kDatagram) {
            refuse(ProxyHeaderError::bad_transport);
        }
    } else if (fill_ == kFixedPart) {
        take_fixed_part();
    }
}

// The family is known, and the length. Only TCP addresses are read: §2.2 lets a receiver fall back
// to UNSPEC for the rest.
void ProxyHeaderReader::take_fixed_part() {
    const std::string_view kept(kept_.data(), fill_);
    const std::size_t length = port_at(kept, kLengthAt);
    const unsigned family = is_local_ ? kUnspec : byte_at(kept, kFamilyAt) >> 4;
    if (length < block_size(family)) {
        return refuse(ProxyHeaderError::too_short);
    }
    const bool is_tcp =
        (byte_at(kept, kFamilyAt) & 0x0f) == kStream && (family == kInet || family == kInet6);
    block_end_ = kFixedPart + (is_tcp ? block_size(family) : 0);
    left_ = kFixedPart + length - block_end_;
}

// §2.2: no address is parsed before the whole header is there.
void ProxyHeaderReader::take_block() {
    const std::string_view kept(kept_.data(), fill_);
    const std::string_view block = kept.substr(kFixedPart);
    if (!block.empty()) {
        addresses_ = byte_at(kept, kFamilyAt) >> 4 == kInet ? addresses_of<in_addr>(block)
                                                            : addresses_of<in6_addr>(block);
    }
    state_ = State::complete;
}

bool begins_like_proxy_header(std::string_view bytes) {
    // A request may begin with two empty lines, never with the NUL behind them.
    constexpr std::size_t kTelling = 5;
    if (bytes.starts_with(kSignature.substr(0, kTelling))) {
        return true;
    }
    if (!bytes.starts_with(kLineBegin)) {
        return false;
    }
    bytes.remove_prefix(kLineBegin.size());
    return bytes.starts_with(kTcp4) || bytes.starts_with(kTcp6) || bytes.starts_with(kUnknown);
}

ProxyHeader::ProxyHeader(const ProxyAddresses& addresses) {
    const auto& [source, destination] = addresses;
    const bool is_v6 = source.ip().is_v6() || destination.ip().is_v6();
    const unsigned family = is_v6 ? kInet6 : kInet;
    const auto put_address = [is_v6](char* at, const IpAddress& ip) {
        const auto bytes = is_v6 ? ip.v6_bytes() : ip.bytes();
        return std::copy_n(bytes.begin(), is_v6 ? sizeof(in6_addr) : sizeof(in_addr), at);
    };
    char* at = std::ranges::copy(kSignature, bytes_.data()).out;
    *at++ = static_cast<char>(kVersion2 << 4 | kProxy);
    *at++ = static_cast<char>(family << 4 | kStream);
    at = put_port(at, static_cast<std::uint16_t>(block_size(family)));
    at = put_address(at, source.ip());
    at = put_address(at, destination.ip());
    at = put_port(at, source.port());
    at = put_port(at, destination.port());
    size_ = static_cast<std::uint8_t>(at - bytes_.data());
}

}  // namespace s3gate::http
