#include <sys/socket.h>
#include <unistd.h>

#include <fcntl.h>
#include <pwd.h>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>

#include "commands.hpp"
#include "s3gate/proxy/resolver.hpp"
#include "s3gate/proxy/server.hpp"

namespace s3gate::app {
namespace {

// As long as a start waits for its names.
constexpr std::chrono::seconds kResolveLimit{5};

void warn(const config::Problem& problem) {
    std::printf("warning: %s\n", problem.to_string().c_str());
}

// Why the address could not be listened on; empty when it could. Binds only: `check` never listens,
// or it would take clients from nobody knows whom.
std::string bind_error(const base::SocketAddress& address) {
    sockaddr_storage storage{};
    const socklen_t length = address.to_sockaddr(storage);
    const int fd = ::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return std::generic_category().message(errno);
    }
    const int on = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    ::setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof on);  // a VIP that is not here yet
    if (address.ip().is_v6()) {
        ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    }
    const int result = ::bind(fd, reinterpret_cast<const sockaddr*>(&storage), length);
    const int error = errno;
    ::close(fd);
    return result == 0 ? std::string() : std::generic_category().message(error);
}

void check_listeners(const std::vector<config::Listen>& listeners, const std::string& key) {
    for (const config::Listen& listen : listeners) {
        const std::string error = bind_error(listen.address);
        if (!error.empty()) {
            warn({listen.where, key, listen.text + " cannot be listened on now: " + error});
        }
    }
}

void check_names(const config::Config& config) {
    const proxy::ResolveOutcome outcome = proxy::resolve_all(config, kResolveLimit);
    for (const config::Site& site : config.sites) {
        for (const config::Server& server : site.backends.servers) {
            const auto failed = outcome.errors.find(server.host);
            if (failed != outcome.errors.end()) {
                warn({server.where, "backends.servers",
                      "cannot resolve " + server.host + ": " + failed->second});
            }
        }
    }
}

// A file that exists must take more; one that does not must be possible to make.
void check_log(const std::string& target, const config::Problem& place) {
    if (!target.starts_with('/')) {
        return;
    }
    if (::faccessat(AT_FDCWD, target.c_str(), W_OK, AT_EACCESS) == 0) {
        return;
    }
    int error = errno;
    if (error == ENOENT) {
        const std::string directory = target.substr(0, std::max<std::size_t>(target.rfind('/'), 1));
        if (::faccessat(AT_FDCWD, directory.c_str(), W_OK | X_OK, AT_EACCESS) == 0) {
            return;
        }
        error = errno;
    }
    warn({place.where, place.key,
          target + " cannot be written by the user who runs this check: " +
              std::generic_category().message(error)});
}

// The line of a top-level key of the main file, 0 when it is not found there.
int line_of(const std::string& file, const std::string& key) {
    std::ifstream in(file);
    std::string line;
    for (int number = 1; std::getline(in, line); ++number) {
        if (line.starts_with(key + ":")) {
            return number;
        }
    }
    return 0;
}

// A start would fail on a user that does not exist.
bool is_user_known(const config::Config& config) {
    if (config.user.empty() || ::getpwnam(config.user.c_str()) != nullptr) {
        return true;
    }
    const config::Problem problem{{config.file, line_of(config.file, "user")},
                                  "user",
                                  "there is no user " + config.user + " on this host"};
    std::printf("%s\n", problem.to_string().c_str());
    return false;
}

}  // namespace

int run_check(const std::string& file) {
    const std::shared_ptr<const config::Config> config = load_or_report(file, stdout);
    if (!config) {
        return proxy::kExitConfig;
    }
    if (!is_user_known(*config)) {
        return proxy::kExitConfig;
    }
    check_names(*config);
    for (const config::Site& site : config->sites) {
        check_listeners(site.listen, "listen");
    }
    check_listeners(config->admin.listen, "admin.listen");
    check_log(config->log.target, {{config->file, 0}, "log.target", {}});
    check_log(config->access_log.target, {{config->file, 0}, "access_log.target", {}});
    std::fputs(config::summary(*config).c_str(), stdout);
    return proxy::kExitOk;
}

}  // namespace s3gate::app
