// Host names as configuration and requests have them. Pure, any thread.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace s3gate::base {

// The name in a valid Host field (RFC 9110 section 7.2), without its port and the dot at its end. A
// view into `host`; of an IPv6 address, which no configured name equals, only its beginning.
std::string_view host_name_of(std::string_view host);

// The host of a valid Host field in the form that host patterns are compared in: lower case,
// without port and the dot at its end; an IPv6 address in its canonical form, without brackets. No
// memory is allocated. Longer than any host name: empty.
class CanonicalHost {
  public:
    explicit CanonicalHost(std::string_view host);
    std::string_view view() const { return {text_.data(), length_}; }

  private:
    std::array<char, 253> text_;  // valid up to length_
    std::size_t length_ = 0;
};

// A pattern of hosts as an operator writes it, in the one form that is compared: a host name, an IP
// address, or "*." and a host name, which fits every host with further labels before that name.
// Empty if the text is none of them.
std::string canonical_host_pattern(std::string_view text);

// A name as an operator writes it, in the one form that is compared: lower case, without the dot at
// its end. Empty if the text is no host name (RFC 1123 section 2.1): labels of one to 63 letters,
// digits, '-' and '_', 253 bytes in all. An IPv4 address is none.
std::string canonical_host_name(std::string_view text);

}  // namespace s3gate::base
