#include <cstdio>
#include <utility>

#include "commands.hpp"
#include "s3gate/control/server.hpp"
#include "service_manager.hpp"

namespace s3gate::app {

int run_daemon(const std::string& file) {
    control::Server::disarm_signals();
    ServiceManager manager;
    control::Server::Sockets sockets{manager.take_sockets(), &manager};
    std::shared_ptr<const config::Config> config = load_or_report(file, stderr);
    if (!config) {
        return control::kExitConfig;
    }
    control::Server server(std::move(config), manager.hooks(), std::move(sockets));
    return server.run();
}

}  // namespace s3gate::app
