#include "s3gate/base/digest.hpp"

#include <openssl/evp.h>
#include <zlib.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "s3gate/base/text.hpp"

namespace s3gate::base {

namespace {

struct FreeContext {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

// Without MD5 (or memory) the libcrypto is broken, and this host would choose other backends than
// its neighbours.
[[noreturn]] void die() {
    std::fputs("s3gate: libcrypto does not provide MD5\n", stderr);
    std::abort();
}

// Fetched once: a fetch searches the provider tables under a lock. "-fips": a host that prefers
// FIPS algorithms must still reproduce the ring keys, and none of this is for security.
const EVP_MD* md5_algorithm() {
    static const EVP_MD* const md5 = EVP_MD_fetch(nullptr, "MD5", "-fips");
    return md5;
}

}  // namespace

std::uint32_t crc32(std::string_view bytes, std::uint32_t seed) {
    if (bytes.empty()) {
        return seed;  // for a null pointer zlib returns its initial value instead of the seed
    }
    return static_cast<std::uint32_t>(
        ::crc32_z(seed, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

Md5Digits md5_digits(std::initializer_list<std::string_view> parts) {
    // One context per thread: an allocation costs more than the digest of a short text.
    thread_local const std::unique_ptr<EVP_MD_CTX, FreeContext> context{EVP_MD_CTX_new()};
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned length = 0;
    const EVP_MD* const md5 = md5_algorithm();
    bool ok = context && md5 && EVP_DigestInit_ex2(context.get(), md5, nullptr) == 1;
    for (const std::string_view part : parts) {
        ok = ok && EVP_DigestUpdate(context.get(), part.data(), part.size()) == 1;
    }
    Md5Digits out;
    if (!ok || EVP_DigestFinal_ex(context.get(), digest.data(), &length) != 1 ||
        2 * std::size_t{length} != out.size()) {
        die();
    }
    char* at = out.data();
    for (unsigned i = 0; i < length; ++i) {
        at = write_hex(at, digest[i]);
    }
    return out;
}

std::string md5_hex(std::initializer_list<std::string_view> parts) {
    const Md5Digits digits = md5_digits(parts);
    return {digits.data(), digits.size()};
}

}  // namespace s3gate::base
