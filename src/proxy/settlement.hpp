// The end of an exchange: updates the counters and writes the line of the access log.
#pragma once

#include "request.hpp"
#include "response.hpp"

namespace s3gate::proxy {

// Call it once per request. A response that left the connection open but broken gets
// ClientFate::reset.
void settle(ExchangeContext& context, Request& request, Response& response);

}  // namespace s3gate::proxy
