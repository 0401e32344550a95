// Decides whether a backend or the proxy itself answers a valid request.
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

// The host of the request is none of the address's sites'.
Dispatch refuse_host(ExchangeContext& context);

// Checks the access to the status page, then the limits on clients; counts the request against its
// client's rate. The status page comes first, because operators must see it during overload.
Dispatch dispatch(ExchangeContext& context, const Request& request);

}  // namespace s3gate::proxy
