// Decides which upgrade offers are relayed, and which answers accept one (RFC 9110 §7.8). Pure; any
// thread.
#pragma once

#include "s3gate/http/head.hpp"

namespace s3gate::http {

// True if the request's Upgrade fields may go to a backend: at least one protocol, each of the form
// `name[/version]`, none of them HTTP. h2c would let the client send requests that bypass our
// rules. The offer is dropped then and the request served as HTTP/1.1, which RFC 9110 §7.8 allows.
// Ignores the Connection field: see RequestMeaning::wants_upgrade.
bool is_offer_relayable(const RequestHead& head);

// True if `answer` (a 101) switches to an offered protocol: it has `Connection: upgrade` and an
// Upgrade field whose protocols are all in `offer`. Otherwise it is no valid answer to this
// request.
bool is_offer_accepted(const RequestHead& offer, const ResponseHead& answer);

}  // namespace s3gate::http
