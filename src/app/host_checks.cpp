#include "host_checks.hpp"

#include <pwd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fcntl.h>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string>
#include <system_error>
#include <utility>

#include "s3gate/base/descriptor.hpp"
#include "s3gate/control/resolver.hpp"
#include "s3gate/net/listen_socket.hpp"

namespace s3gate::app {
namespace {

// The same limit as in a start.
constexpr std::chrono::seconds kResolveLimit{5};

std::string system_message(int code) {
    return std::generic_category().message(code);
}

enum class Place { here, elsewhere, unknown };

// Tells by routing whether an address is local: the kernel answers a local destination from the
// same address. A bind proves nothing on a host with net.ipv4.ip_nonlocal_bind.
Place place_of(const base::IpAddress& ip) {
    if (config::is_loopback(ip)) {
        return Place::here;
    }
    sockaddr_storage storage{};
    const socklen_t length = base::SocketAddress(ip, 9).to_sockaddr(storage);  // nothing is sent
    const base::Descriptor socket(::socket(storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket) {
        return Place::unknown;
    }
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0) {
        return errno == ENETUNREACH || errno == EHOSTUNREACH || errno == EADDRNOTAVAIL
                   ? Place::elsewhere
                   : Place::unknown;
    }
    const auto source = net::bound_address(socket.get());
    if (!source) {
        return Place::unknown;
    }
    return source->ip() == ip ? Place::here : Place::elsewhere;
}

void check_listeners(const std::vector<config::Listen>& listeners, const std::string& key,
                     std::vector<config::Problem>& warnings) {
    for (const config::Listen& listen : listeners) {
        // `check` never listens: it would take clients from the running daemon.
        const std::string error = net::bind_error(listen.address);
        const base::IpAddress& ip = listen.address.ip();
        if (!error.empty()) {
            warnings.push_back(
                {listen.where, key, listen.text + " cannot be listened on now: " + error});
        } else if (!ip.is_wildcard() && place_of(ip) == Place::elsewhere) {
            warnings.push_back({listen.where, key,
                                listen.text +
                                    " is not an address of this host now; fine for a virtual IP, "
                                    "which is bound all the same"});
        }
    }
}

void check_names(const config::Config& config, const control::ResolveOutcome& outcome,
                 std::vector<config::Problem>& warnings) {
    for (const config::Site& site : config.sites) {
        for (const config::Server& server : site.backends.servers) {
            const auto failed = outcome.errors.find(server.host);
            if (failed != outcome.errors.end()) {
                warnings.push_back({server.where, config::key_of(site, "backends.servers"),
                                    "cannot resolve " + server.host + ": " + failed->second});
            }
        }
    }
}

// Loops that only this host's names and addresses reveal. They are warnings: a start must not
// depend on name servers and goes on.
void check_own_servers(const config::Config& config, const control::ResolveOutcome& outcome,
                       std::vector<config::Problem>& warnings) {
    const auto addresses_of = [&](const config::Server& server) {
        const auto found = outcome.addresses.find(server.host);
        return found == outcome.addresses.end() ? config::written_addresses(server) : found->second;
    };
    const auto is_here = [](const base::IpAddress& ip) { return place_of(ip) == Place::here; };
    for (const config::OwnServer& own : config::find_own_servers(config, addresses_of, is_here)) {
        const config::Problem problem = config::explain(own);
        const bool is_known = std::ranges::any_of(warnings, [&](const config::Problem& other) {
            return other.to_string() == problem.to_string();
        });
        if (!is_known) {
            warnings.push_back(problem);
        }
    }
}

// An existing file must be writable; a missing one must be possible to create.
std::string write_error(const std::string& path) {
    if (::faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) == 0) {
        return {};
    }
    const int error = errno;
    if (error != ENOENT) {
        return system_message(error);
    }
    const std::string folder = path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
    return ::faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) == 0
               ? std::string()
               : system_message(errno);
}

// `user` is the user that a start as root switches to.
void check_log(const std::string& target, config::Problem place,
               const std::optional<Identity>& user, std::vector<config::Problem>& warnings) {
    if (!target.starts_with('/')) {
        return;
    }
    if (const std::string error = write_error(target); !error.empty()) {
        place.message = target + " cannot be written by the user who runs this check: " + error;
        warnings.push_back(std::move(place));
        return;
    }
    const std::string obstacle = user ? find_obstacle(target, *user, Access::write) : std::string();
    if (!obstacle.empty()) {
        place.message =
            target + " cannot be opened anew by " + user->user + " after a rotation: " + obstacle;
        warnings.push_back(std::move(place));
    }
}

void check_logs(const config::Config& config, std::vector<config::Problem>& warnings) {
    const std::optional<Identity> user =
        config.user.empty() || ::geteuid() != 0 ? std::nullopt : identity_of(config.user);
    check_log(config.log.target, {config.log.where, "log.target", {}}, user, warnings);
    check_log(config.access_log.target, {config.access_log.where, "access_log.target", {}}, user,
              warnings);
}

}  // namespace

void check_host(config::LoadResult& result, const std::optional<UnitView>& unit) {
    const config::Config& config = result.config;
    // A start fails when the user does not exist.
    if (!config.user.empty() && ::getpwnam(config.user.c_str()) == nullptr) {
        result.problems.push_back(
            {config.user_where, "user", "there is no user " + config.user + " on this host"});
        return;
    }
    const control::ResolveOutcome outcome = control::resolve_all(config, kResolveLimit);
    check_names(config, outcome, result.warnings);
    check_own_servers(config, outcome, result.warnings);
    for (const config::Site& site : config.sites) {
        check_listeners(site.listen, config::key_of(site, "listen"), result.warnings);
    }
    check_listeners(config.admin.listen, "admin.listen", result.warnings);
    if (unit) {
        check_unit(*unit, result);
    }
    // check_unit() has judged the logs with the unit's identity. If that is root, `user` reopens
    // them after a rotation.
    if (!unit || (unit->identity().is_root && !config.user.empty())) {
        check_logs(config, result.warnings);
    }
}

}  // namespace s3gate::app
