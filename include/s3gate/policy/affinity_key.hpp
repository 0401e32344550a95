// What ties a request to a backend: a query argument, a cookie, a header, or a fingerprint of the client. Pure functions;
// the target that goes to the backend is never touched.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "s3gate/config/model.hpp"

namespace s3gate::policy {

// What of a request decides its key. Header values are empty when the field is absent. Everything is borrowed.
struct KeyInput {
    std::string_view query;            // raw text after the first '?', without it
    std::string_view client_ip;        // text form without brackets and port
    std::string_view user_agent;
    std::string_view accept_language;
    std::string_view salt;
    // For `cookie:NAME` and `header:NAME`: value of the first field `name` (any case) from `position` on, which moves behind
    // it; nullopt when there is none left. May be null. Asked only when such a source has its turn.
    std::optional<std::string_view> (*next_header)(const void* context, std::string_view name,
                                                   std::size_t& position) = nullptr;
    const void* header_context = nullptr;
};

struct AffinityKey {
    std::string key;                              // empty = no source yielded one: round robin
    const config::KeySource* source = nullptr;    // null when key is empty
};

// First match of the argument `name` (ASCII case-insensitive, as nginx's $arg_: preceded by the beginning or '&', followed by
// '='), raw value up to the next '&'. Empty view when there is none.
std::string_view find_argument(std::string_view query, std::string_view name);

// Value of the first cookie `name` (case-sensitive, RFC 6265 §4.2.1) with a value in one Cookie field, without the quotes
// around it; empty when absent.
std::string_view find_cookie(std::string_view cookie, std::string_view name);

// The same over all Cookie fields of a request, in their order.
std::string_view find_cookie(const KeyInput& input, std::string_view name);

// Value of the first field `name` that has one; empty when absent.
std::string_view find_header(const KeyInput& input, std::string_view name);

// md5hex(md5hex(ip + user agent + accept language + salt)): the seed's fingerprint, 32 hexadecimal digits.
std::string fingerprint(const KeyInput& input);

// Tries the sources in order; an empty value counts as absent. Argument values are percent-decoded (copy only).
AffinityKey affinity_key_of(std::span<const config::KeySource> sources, const KeyInput& input);

// "sessionid", "uploadid", "fingerprint", "cookie:NAME", "header:NAME": for logs and `s3gate route`.
std::string to_string(const config::KeySource& source);

// True for sources whose values may open a door (session cookies, authorization headers): their keys are never shown, only
// the CRC-32 that the ring is asked for.
bool is_secret(const config::KeySource& source);

}  // namespace s3gate::policy
