// The addresses of admin.listen: HTTP for those who may only look, such as load balancers. All
// share one door, so their connections have a bound of their own. Control thread only.
#pragma once

#include <boost/asio/io_context.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "admin_acceptor.hpp"
#include "admin_door.hpp"
#include "commands.hpp"
#include "s3gate/base/address.hpp"
#include "s3gate/proxy/listener.hpp"

namespace s3gate::control {

class AdminListeners {
  public:
    // `commands` must outlive the loop. `host`: the name of this host.
    AdminListeners(boost::asio::io_context& context, Commands& commands, std::string host);
    // Closes all of them. Open connections are served to their end.
    ~AdminListeners();
    AdminListeners(const AdminListeners&) = delete;
    AdminListeners& operator=(const AdminListeners&) = delete;

    // Accepts from these, too, and everywhere from the addresses in `allow` only.
    void use(const std::vector<std::shared_ptr<proxy::Listener>>& listeners,
             std::vector<base::Cidr> allow);
    // Stops accepting from a listener and closes its sockets. Nothing for one of clients.
    void close(proxy::Listener& listener);

  private:
    // Who may connect; shared with what accepts.
    struct Rule;
    struct Open {
        std::shared_ptr<proxy::Listener> listener;
        std::vector<std::unique_ptr<AdminAcceptor>> acceptors;  // one for each socket
    };

    boost::asio::io_context& context_;
    std::shared_ptr<AdminDoor> door_;
    std::shared_ptr<Rule> rule_;
    std::map<const proxy::Listener*, Open> open_;
};

}  // namespace s3gate::control
