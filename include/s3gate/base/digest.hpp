// CRC-32 and MD5 over bytes, by zlib and OpenSSL. Not for security: they reproduce nginx's ring and
// the fingerprint of nginx with Lua (docs/migration.md).
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace s3gate::base {

// CRC-32 (IEEE 802.3, as zlib's crc32). `seed` is the CRC of the preceding bytes, 0 at the
// beginning.
std::uint32_t crc32(std::string_view bytes, std::uint32_t seed = 0);

// The 32 lower-case hexadecimal digits of the MD5 over the concatenated parts. A thread's first
// call allocates.
using Md5Digits = std::array<char, 32>;
Md5Digits md5_digits(std::initializer_list<std::string_view> parts);
std::string md5_hex(std::initializer_list<std::string_view> parts);

}  // namespace s3gate::base
