// The header of the PROXY protocol that a peer named by accept_proxy sends before its first
// request: it names the client's source. Read from the socket and no byte more, so whatever follows
// (a request, later a TLS handshake) begins at the socket's next byte. One worker's thread.
#pragma once

#include <cstdint>

#include "s3gate/http/proxy_protocol.hpp"
#include "s3gate/net/task.hpp"

namespace s3gate::proxy {

struct ClientConnection;

struct SourceRead {
    enum class End : std::uint8_t {
        named,      // the header was good; `client` has the addresses that it names
        refused,    // no header, or a malformed one
        timed_out,  // not complete within 5 s
        gone,       // the peer closed, or the connection broke
        cut,        // a drain or a stop ended it
    };
    // True if the access log has a line about it. A connection that said nothing, such as a check
    // that only connects, leaves none.
    bool leaves_line() const { return has_begun && end != End::named && end != End::cut; }

    End end = End::gone;
    http::ProxyHeaderError error = http::ProxyHeaderError::none;  // for `refused`
    bool has_begun = false;                                       // a byte arrived
    bool is_request = false;  // for `refused`: the bytes begin like a request of HTTP
};

// Reads the header. Its time runs from the call on, however few bytes arrive at once. Leaves the
// bytes behind it, and those of anything that is no header, to the first request.
net::task<SourceRead> read_source(ClientConnection& client);

}  // namespace s3gate::proxy
