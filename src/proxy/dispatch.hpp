// Who answers a request that can be understood: a backend, or we ourselves.
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

// The status page comes before the limits: whoever operates this must be able to look while it is
// overloaded. Counts the request against its client's rate.
Dispatch dispatch(ExchangeContext& context, const Request& request);

}  // namespace s3gate::proxy
