// The key that ties a request to a backend: a query argument, a cookie, a header, or a fingerprint
// of the client. Pure functions; the forwarded target is never changed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "s3gate/config/model.hpp"

namespace s3gate::policy {

// The parts of a request that decide its key. Header values are empty if the field is absent. All
// views are borrowed.
struct KeyInput {
    std::string_view query;      // raw text after the first '?', without it
    std::string_view client_ip;  // text form without brackets and port
    std::string_view user_agent;
    std::string_view accept_language;
    std::string_view salt;
    // For `cookie:NAME` and `header:NAME`: the value of the first field `name` (any case) from
    // `position` on; moves `position` after it. nullopt if there is none. May be null. Called only
    // if such a source is tried.
    std::optional<std::string_view> (*next_header)(const void* context, std::string_view name,
                                                   std::size_t& position) = nullptr;
    const void* header_context = nullptr;
};

struct AffinityKey {
    std::string key;                            // empty = no source gave one; round robin
    const config::KeySource* source = nullptr;  // null if key is empty
    std::uint32_t hash = 0;  // CRC32 of a key that is not empty: its place on any ring

    // The hash for a selection; nullopt without a key.
    std::optional<std::uint32_t> place() const {
        return key.empty() ? std::nullopt : std::optional(hash);
    }
    // Resets to no key; keeps the memory.
    void clear() {
        key.clear();
        source = nullptr;
    }
};

// First match of the argument `name` (ASCII case-insensitive, as nginx's $arg_: after the beginning
// or '&', followed by '='); raw value up to the next '&'. Empty view if there is none.
std::string_view find_argument(std::string_view query, std::string_view name);

// Value of the first non-empty cookie `name` (case-sensitive, RFC 6265 §4.2.1) in one Cookie field,
// without surrounding quotes; empty if absent.
std::string_view find_cookie(std::string_view cookie, std::string_view name);

// The same over all Cookie fields of a request, in order.
std::string_view find_cookie(const KeyInput& input, std::string_view name);

// Value of the first non-empty field `name`; empty if absent.
std::string_view find_header(const KeyInput& input, std::string_view name);

// md5hex(md5hex(ip + user agent + accept language + salt)), the fingerprint of nginx with Lua
// (docs/migration.md); 32 hexadecimal digits.
std::string fingerprint(const KeyInput& input);

// Caches the fingerprint of the last request, for instance on one connection. The next request
// usually has the same, and two MD5 passes cost more than the rest of routing. The cache compares
// all inputs of the fingerprint. Small, no allocation.
class FingerprintCache {
  public:
    // Equals fingerprint(); valid until the next call.
    std::string_view of(const KeyInput& input);
    // CRC32 of the last result of of().
    std::uint32_t hash() const { return hash_; }

  private:
    bool is_filled_ = false;
    std::uint32_t hash_ = 0;
    std::uint64_t made_from_ =
        0;  // a hash; a collision by chance (1 in 2^64) only costs a request its server
    std::array<char, 32> digits_{};
};

// Sets `key` for this request. Tries the sources in order; an empty value counts as absent.
// Argument values are percent-decoded in a copy. Allocates nothing if `key` had a longer one before
// and the cache, if any, knows the fingerprint.
void find_affinity_key(std::span<const config::KeySource> sources, const KeyInput& input,
                       FingerprintCache* cache, AffinityKey& key);

// The same as a value, without a cache.
AffinityKey affinity_key_of(std::span<const config::KeySource> sources, const KeyInput& input);

// The sources that can give a key: up to the fingerprint, which always does. The names of fields
// are in lower case, so equal sources compare equal.
std::vector<config::KeySource> usable_sources(std::span<const config::KeySource> sources);

// True for sources whose values may be credentials (session cookies, authorization headers). Their
// keys are never shown, only the CRC-32.
bool is_secret(const config::KeySource& source);

}  // namespace s3gate::policy
