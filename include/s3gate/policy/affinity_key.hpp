// What ties a request to a backend: a query argument, a cookie, a header, or a fingerprint of the
// client. Pure functions; the target that goes to the backend is never touched.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "s3gate/config/model.hpp"

namespace s3gate::policy {

// What of a request decides its key. Header values are empty when the field is absent. Everything
// is borrowed.
struct KeyInput {
    std::string_view query;      // raw text after the first '?', without it
    std::string_view client_ip;  // text form without brackets and port
    std::string_view user_agent;
    std::string_view accept_language;
    std::string_view salt;
    // For `cookie:NAME` and `header:NAME`: value of the first field `name` (any case) from
    // `position` on, which moves behind it; nullopt when there is none left. May be null. Asked
    // only when such a source has its turn.
    std::optional<std::string_view> (*next_header)(const void* context, std::string_view name,
                                                   std::size_t& position) = nullptr;
    const void* header_context = nullptr;
};

struct AffinityKey {
    std::string key;                            // empty = no source yielded one: round robin
    const config::KeySource* source = nullptr;  // null when key is empty
    std::uint32_t hash = 0;  // CRC32 of a key that is not empty: its place on any ring

    // What a selection asks for: nullopt when there is no key.
    std::optional<std::uint32_t> place() const {
        return key.empty() ? std::nullopt : std::optional(hash);
    }
    // As at the beginning; the memory is kept.
    void clear() {
        key.clear();
        source = nullptr;
    }
};

// First match of the argument `name` (ASCII case-insensitive, as nginx's $arg_: preceded by the
// beginning or '&', followed by
// '='), raw value up to the next '&'. Empty view when there is none.
std::string_view find_argument(std::string_view query, std::string_view name);

// Value of the first cookie `name` (case-sensitive, RFC 6265 §4.2.1) with a value in one Cookie
// field, without the quotes around it; empty when absent.
std::string_view find_cookie(std::string_view cookie, std::string_view name);

// The same over all Cookie fields of a request, in their order.
std::string_view find_cookie(const KeyInput& input, std::string_view name);

// Value of the first field `name` that has one; empty when absent.
std::string_view find_header(const KeyInput& input, std::string_view name);

// md5hex(md5hex(ip + user agent + accept language + salt)): the seed's fingerprint, 32 hexadecimal
// digits.
std::string fingerprint(const KeyInput& input);

// The fingerprint of the last request that came a certain way, for instance over one connection:
// the next one is most likely the same, and two MD5 passes cost more than all the rest of routing.
// Bound to everything that it was made from. Small, without memory of its own.
class FingerprintCache {
  public:
    // The same as fingerprint(); valid until the next call.
    std::string_view of(const KeyInput& input);
    // CRC32 of what of() gave last.
    std::uint32_t hash() const { return hash_; }

  private:
    bool is_filled_ = false;
    std::uint32_t hash_ = 0;
    std::uint64_t made_from_ =
        0;  // a hash; two of 2^64 that are equal by chance cost a request its server, no more
    std::array<char, 32> digits_{};
};

// Makes `key` the one of this request: tries the sources in order; an empty value counts as absent.
// Argument values are percent-decoded (copy only). Allocates nothing where `key` had a longer one
// before and the cache, if any, knows the fingerprint.
void find_affinity_key(std::span<const config::KeySource> sources, const KeyInput& input,
                       FingerprintCache* cache, AffinityKey& key);

// The same as a value, without a cache.
AffinityKey affinity_key_of(std::span<const config::KeySource> sources, const KeyInput& input);

// True for sources whose values may open a door (session cookies, authorization headers): their
// keys are never shown, only the CRC-32 that the ring is asked for.
bool is_secret(const config::KeySource& source);

}  // namespace s3gate::policy
