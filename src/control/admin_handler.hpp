// What a request at a door for operators is answered: paths, methods, rights, JSON. Knows no
// transport: the control socket uses it, and any other door may. Control thread only.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "commands.hpp"
#include "s3gate/base/clock.hpp"

namespace s3gate::control {

enum class Rights : std::uint8_t {
    only_look,  // through a door that takes no command from anybody
    look,       // through one that does, but not from this one
    command,
};

// One that asks: what it may, and how the log calls it ("root, pid 123").
struct Asker {
    Rights rights = Rights::only_look;
    std::string name;
};

struct AdminRequest {
    std::string_view method;
    std::string_view target;
    std::string_view body;
};

struct AdminAnswer {
    unsigned status = 200;
    std::string body;        // one JSON object in one line
    std::string allow = {};  // for 405: the methods that the path has
};

// {"error": message}
AdminAnswer admin_error(unsigned status, std::string_view message);

// A request that is allowed and complete.
struct AdminCall {
    enum class Kind : std::uint8_t { status, health, reload, confirm, standby, active };
    Kind kind = Kind::status;
    HealthQuestion question = {};                   // of health
    std::optional<base::Duration> confirm_in = {};  // of reload
};

// What the request asks for, or the answer that refuses it.
std::variant<AdminCall, AdminAnswer> route(const AdminRequest& request, Rights rights);

// Does what is asked, and logs every change with the name of the asker. Whatever `commands` throws
// becomes a 500. What the request views must live until the end.
boost::asio::awaitable<AdminAnswer> answer(AdminRequest request, Asker asker, Commands& commands);

}  // namespace s3gate::control
