// Whether a page in somebody's browser may have sent a request. A page of another site must not
// read what admin.listen shows. It could where its own name resolves to this host (DNS rebinding):
// the request is of the same origin to the browser, but its Host is that name.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "s3gate/base/address.hpp"

namespace s3gate::control {

// What the head of a request says of where it was sent to and from.
struct RequestSource {
    bool needs_host = true;  // HTTP/1.1 (RFC 9112 §3.2)
    std::vector<std::string_view> hosts = {};
    std::vector<std::string_view> origins = {};
};

// The names by which a client may have reached this host, beside localhost.
struct OwnNames {
    base::IpAddress address;  // that its connection came to
    std::string host;         // gethostname(2); its first label alone is a name too
};

struct SourceRefusal {
    unsigned status = 403;
    std::string message;  // without any text of the request
};
// The reason to refuse a request; nullopt if it is for this host, and no other site's page sent it.
// The port in Host may be any: a name is what an attacker chooses, and a port may be forwarded.
std::optional<SourceRefusal> find_foreign(const RequestSource& source, const OwnNames& own);

}  // namespace s3gate::control
