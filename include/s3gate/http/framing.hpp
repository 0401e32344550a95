// How long a body is and how it is delimited (RFC 9112 §6), and every rule about the whole head
// that decides whether a message is unambiguous. Refuses rather than repairs. Pure; any thread.
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

// What a request means beyond its bytes.
struct RequestMeaning {
    HeadError error = HeadError::none;
    Framing body;
    bool keep_alive = true;          // the client wants the connection to stay
    bool expects_continue = false;   // Expect: 100-continue of an HTTP/1.1 client
    bool wants_upgrade = false;      // Connection: upgrade and an Upgrade field
    bool needs_host = false;         // HTTP/1.0 without Host: the forwarder adds one
    std::string_view origin_target;  // what goes into the forwarded request line: the target
                                     // itself, or the path of an absolute-form target ("" = "/"
                                     // must be written before `origin_rest`)
    std::string_view path;           // of origin_target, up to '?'
    std::string_view query;          // behind the first '?', without it
    std::string_view host;           // Host field, empty when absent
    bool missing_slash = false;      // absolute-form without a path: "/" goes before origin_target
};

// Checks everything docs/security.md lists and derives the meaning. All views point into the
// head.
RequestMeaning meaning_of(const RequestHead& head);

struct ResponseMeaning {
    HeadError error = HeadError::none;
    Framing body;
    bool keep_alive = true;  // the backend will keep the connection, and its bytes can be trusted
    // An answer without a body whose framing fields would have refused one with a body. They frame
    // nothing (RFC 9112 §6.3 rule 1), so the answer is good; but none of them may reach the client,
    // and the connection is not used again: whoever writes such fields may also send a body.
    bool is_oddly_framed = false;
    // The length of the object, where an oddly framed answer to HEAD or a 304 names one length and
    // nothing else: the client gets it as one Content-Length.
    std::optional<std::uint64_t> stated_length;
};

// `to_head`: the request was HEAD. Its answer and those with the statuses 1xx, 204 and 304 have no
// body whatever their fields say (RFC 9112 §6.3 rule 1).
ResponseMeaning meaning_of(const ResponseHead& head, bool to_head);

// True for names that a sloppy peer could take for a framing field: equal to one once everything
// but letters and digits is removed. The framing fields themselves are told from these by their
// FieldId.
bool is_framing_lookalike(std::string_view name);

// uri-host [":" port] as RFC 3986 writes it, not empty, without userinfo, without ','.
bool is_valid_host(std::string_view host);

}  // namespace s3gate::http
