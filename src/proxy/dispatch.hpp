// Decides whether a backend or the proxy itself answers a request that was understood.
#pragma once

#include <cstdint>

#include "local_answers.hpp"
#include "request.hpp"

namespace s3gate::proxy {

struct Dispatch {
    enum class To : std::uint8_t { backends, status_page, status_redirect, refusal };
    To to = To::backends;
    const LocalAnswer* refusal = nullptr;
};

// Checks who may see the status page, then the limits on clients; counts the request against its
// client's rate. The status page comes first: an operator must be able to see it during overload.
Dispatch dispatch(ExchangeContext& context, const Request& request);

}  // namespace s3gate::proxy
