// The end of an exchange: what the counters and the access log get to know of it.
#pragma once

#include "request.hpp"
#include "response.hpp"

namespace s3gate::proxy {

// Once for every request. A connection that broke meanwhile is not kept.
void settle(ExchangeContext& context, Request& request, Response& response);

}  // namespace s3gate::proxy
