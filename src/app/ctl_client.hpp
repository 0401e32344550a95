// One request to a daemon through its control socket. Blocking, with a deadline.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "s3gate/base/clock.hpp"
#include "s3gate/config/load.hpp"
#include "s3gate/config/model.hpp"

namespace s3gate::app {

// For what waits for nothing: answered in milliseconds by a machine that is not in trouble.
inline constexpr base::Duration kAnswerLimit = std::chrono::seconds{10};

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

// Where the daemon with these settings has its socket, as far as can be known here: the packaged
// unit's for `auto` without RUNTIME_DIRECTORY. Empty: `off`, there is none.
std::string socket_of(const config::Admin& admin);

CtlAnswer ask_daemon(const std::string& socket, const CtlRequest& request);

// The answer to GET; nullopt, and said why, if there is none.
std::optional<std::string> get_from_daemon(const std::string& socket, const std::string& target);

// The configuration that serves there; nullopt as above.
std::optional<config::LoadResult> load_running(const std::string& socket);

}  // namespace s3gate::app
