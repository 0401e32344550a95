// Builds the forwarded head: removes hop-by-hop fields safely, adds our forwarding and connection
// fields. The result is a list of pieces (views into the received head and into `own`) for one
// gathering write.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "s3gate/http/framing.hpp"
#include "s3gate/http/head.hpp"

namespace s3gate::http {

using Pieces = std::vector<std::string_view>;

struct ForwardRules {
    std::string_view client_ip;   // X-Real-IP
    std::string_view source_ip;   // who connected: the last element of X-Forwarded-For
    std::string_view scheme;      // "http" or "https"
    std::string_view local_host;  // Host for HTTP/1.0 requests without one
    bool append = false;          // keep the fields of a trusted source, append to X-Forwarded-For
    bool relay_upgrade = false;   // the site relays upgrades and the client asked for one
    std::string_view
        extra_lines;  // complete field lines added to every request of the site ("" = none)
    // Names of fields in extra_lines, lower case, that replace the client's fields; null = none.
    const std::vector<std::string>* replaced = nullptr;
};

// Fills `pieces` with the head to send. End-to-end fields go out byte for byte and in order. `own`
// holds our own bytes and must live until the head was sent. Both are cleared first and keep their
// memory.
void forward_request(const RequestHead& head, const RequestMeaning& meaning,
                     const ForwardRules& rules, Pieces& pieces, std::string& own);

struct ResponseRules {
    bool close = false;          // add Connection: close
    bool keep_alive_10 = false;  // add Connection: keep-alive (HTTP/1.0 client that asked for it)
    bool chunked = false;        // body becomes chunked: add Transfer-Encoding
    // Leave out Content-Length, Transfer-Encoding and their lookalikes: there is no body, the
    // framing is odd, or the coding was removed.
    bool drop_framing = false;
    std::optional<std::uint64_t> stated_length;  // add this Content-Length despite drop_framing
    bool drop_coding = false;  // leave out Transfer-Encoding, which HTTP/1.0 lacks (RFC 9112 §6.1)
    bool relay_upgrade = false;     // 101: Connection and Upgrade stay
    std::string_view session_name;  // header to add, empty = none
    std::string_view session_value;
    std::string_view request_id;  // x-amz-request-id for answers without one (empty = add none)
};

void forward_response(const ResponseHead& head, const ResponseRules& rules, Pieces& pieces,
                      std::string& own);

// True if a Connection field may nominate this name, so the field is removed.
bool may_be_nominated(std::string_view name);

}  // namespace s3gate::http
