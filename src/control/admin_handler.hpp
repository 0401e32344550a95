// Answers the requests of operators: paths, methods, rights, JSON. It knows no transport; the
// control socket and the addresses of admin.listen are the present ones. Control thread only.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "commands.hpp"
#include "request_source.hpp"
#include "s3gate/base/clock.hpp"

namespace s3gate::control {

enum class Rights : std::uint8_t {
    only_look,  // the transport takes no commands
    look,       // the transport takes commands, but not from this client
    command,
};

// The client of a request: its rights, and its name in the log ("root, pid 123").
struct Asker {
    Rights rights = Rights::only_look;
    std::string name;
    // Where a browser can connect: what Host may say. No page reaches a unix socket.
    std::optional<OwnNames> own_names = {};
};

struct AdminRequest {
    std::string_view method;
    std::string_view target;
    std::string_view body;
    RequestSource source = {};
};

struct AdminAnswer {
    unsigned status = 200;
    std::string body;        // one JSON object in one line, unless `type` says otherwise
    std::string allow = {};  // for 405: the methods that the path has
    std::string_view type = "application/json";
};

// {"error": message}
AdminAnswer admin_error(unsigned status, std::string_view message);

// A request that is allowed and complete.
struct AdminCall {
    enum class Kind : std::uint8_t {
        status,
        health,
        metrics,
        connections,
        log_level,
        set_log_level,
        config,
        reload,
        confirm,
        upgrade,
        standby,
        active,
        overrides,
        order,
    };
    Kind kind = Kind::status;
    HealthQuestion question = {};                   // of health
    std::optional<base::Duration> confirm_in = {};  // of reload
    proxy::ClientSurvey::Question clients = {};     // of connections
    LogLevelChange level = {};                      // of set_log_level
    ServerOrder order = {};                         // its asker is added later
};

// What the request asks for, or the answer that refuses it.
std::variant<AdminCall, AdminAnswer> route(const AdminRequest& request, Rights rights);

class AdminHandler {
  public:
    // Reloads and looks at the configuration or the clients under way at a time; one more gets 503.
    // All other requests are answered at once, so their number needs no bound.
    static constexpr std::size_t kMostSlow = 64;

    // `commands` must outlive the answers.
    explicit AdminHandler(Commands& commands) : commands_(commands) {}
    AdminHandler(const AdminHandler&) = delete;
    AdminHandler& operator=(const AdminHandler&) = delete;

    // Executes a request and logs every change, and every look at the salts, with the asker's name.
    // An exception of the commands becomes a 500. A request of another site's page is refused.
    // Refusals and failures are logged once a minute. The texts that `request` views and this
    // object must live until the answer.
    boost::asio::awaitable<AdminAnswer> answer(AdminRequest request, Asker asker);

  private:
    std::optional<AdminAnswer> refuse_foreign(const AdminRequest& request, const Asker& asker);
    // A line that a caller can cause again and again.
    void note(Topic topic, std::string text);

    Commands& commands_;
    std::size_t slow_ = 0;  // under way
};

}  // namespace s3gate::control
