// Length and delimiting of a body (RFC 9112 §6), and the rules that decide whether a head is
// unambiguous. An ambiguous head is refused, never repaired. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "s3gate/http/head.hpp"

namespace s3gate::http {

enum class BodyKind : std::uint8_t { none, length, chunked, until_close };

struct Framing {
    BodyKind kind = BodyKind::none;
    std::uint64_t length = 0;  // for BodyKind::length; 0…2^63-1
};

// The meaning of a request head.
struct RequestMeaning {
    HeadError error = HeadError::none;
    Framing body;
    bool keep_alive = true;         // the client wants the connection to stay
    bool expects_continue = false;  // Expect: 100-continue of an HTTP/1.1 client
    bool wants_upgrade = false;     // Connection: upgrade and an Upgrade field
    bool needs_host = false;        // HTTP/1.0 without Host; the forwarder adds one
    // For the forwarded request line: the target, or the part of an absolute-form target after its
    // authority.
    std::string_view origin_target;
    std::string_view path;       // of origin_target, up to '?'
    std::string_view query;      // after the first '?'
    std::string_view host;       // Host field, empty if absent
    bool missing_slash = false;  // absolute-form without a path; "/" goes before origin_target
};

// Checks the rules of docs/security.md and derives the meaning. All views point into the head.
RequestMeaning meaning_of(const RequestHead& head);

struct ResponseMeaning {
    HeadError error = HeadError::none;
    Framing body;
    // The backend keeps the connection open, and its framing can be trusted.
    bool keep_alive = true;
    // An answer without a body, with framing fields that would be refused if it had one. They frame
    // nothing (RFC 9112 §6.3 rule 1), so the answer is valid. But none of them may reach the
    // client, and the connection is not reused: such a backend may also send a body.
    bool is_oddly_framed = false;
    // The object's length if an oddly framed answer to HEAD or a 304 names exactly one. The client
    // gets it as one Content-Length.
    std::optional<std::uint64_t> stated_length;
};

// `to_head`: the request was HEAD. Its answer and the statuses 1xx, 204 and 304 have no body,
// whatever their fields say (RFC 9112 §6.3 rule 1).
ResponseMeaning meaning_of(const ResponseHead& head, bool to_head);

// True for names that a lenient peer could take for a framing field: they equal one after removal
// of everything but letters and digits. The real framing fields have a FieldId.
bool is_framing_lookalike(std::string_view name);

// uri-host [":" port] (RFC 3986), not empty, without userinfo, without ','.
bool is_valid_host(std::string_view host);

}  // namespace s3gate::http
