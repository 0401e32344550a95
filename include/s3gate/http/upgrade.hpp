// Which offers to leave HTTP/1.1 are relayed, and which answers accept one (RFC 9110 §7.8). Pure;
// any thread.
#pragma once

#include "s3gate/http/head.hpp"

namespace s3gate::http {

// True if every protocol of the request's Upgrade fields may be offered to a backend: at least one,
// each of them `name[/version]`, and none of them HTTP itself. h2c would let the client speak
// requests past every rule of ours; the offer is then dropped and the request served as HTTP/1.1,
// which RFC 9110 §7.8 allows. Says nothing about the Connection field: see
// RequestMeaning::wants_upgrade.
bool is_offer_relayable(const RequestHead& head);

// True if `answer` (a 101) switches to something that `offer` named: `Connection: upgrade`, and an
// Upgrade field whose protocols were all offered. Anything else is no answer to this request.
bool is_offer_accepted(const RequestHead& offer, const ResponseHead& answer);

}  // namespace s3gate::http
