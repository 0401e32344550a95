// One request to a daemon through its control socket. Blocking, with a deadline.
#pragma once

#include <optional>
#include <string>

#include "s3gate/base/clock.hpp"

namespace s3gate::app {

struct CtlRequest {
    std::string method;
    std::string target;
    std::string body = {};
    std::optional<base::Duration> limit = {};  // for all of it; nullopt = as long as it takes
};

struct CtlAnswer {
    unsigned status = 0;  // 0: no answer
    std::string body = {};
    std::string error = {};  // why there is no answer, for the operator
};

CtlAnswer ask_daemon(const std::string& socket, const CtlRequest& request);

}  // namespace s3gate::app
