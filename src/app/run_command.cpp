#include <cstdio>
#include <utility>

#include "commands.hpp"
#include "s3gate/control/predecessor.hpp"
#include "s3gate/control/server.hpp"
#include "service_manager.hpp"
#include "unit_view.hpp"

namespace s3gate::app {

int run_daemon(const std::string& file, std::vector<std::string> arguments) {
    control::Server::disarm_signals();
    control::Server::Lineage lineage = control::Server::trace(std::move(arguments));
    if (ServiceManager::runs_this_process()) {
        lineage.read_unit = installed_settings;
        lineage.unit = installed_settings();
    }
    ServiceManager manager;
    control::Server::Sockets sockets{manager.take_sockets(lineage.predecessor.has_value()),
                                     &manager};
    std::shared_ptr<const config::Config> config = load_or_report(file, stderr);
    if (!config) {
        if (lineage.predecessor) {
            lineage.predecessor->tell_failure("the configuration has problems; see the log");
        }
        return control::kExitConfig;
    }
    control::Server server(std::move(config), manager.hooks(), std::move(sockets),
                           std::move(lineage));
    return server.run();
}

}  // namespace s3gate::app
