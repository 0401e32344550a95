#include "s3gate/net/listen_socket.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace s3gate::net {
namespace {

constexpr int kBacklog = 4096;

void set_option(int fd, int level, int name, int value) {
    ::setsockopt(fd, level, name, &value, sizeof value);
}

// No descriptor, with errno set, on failure.
base::Descriptor bound_socket(const base::SocketAddress& address, bool shared) {
    sockaddr_storage storage;
    const socklen_t length = address.to_sockaddr(storage);
    base::Descriptor socket(
        ::socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket) {
        return {};
    }
    const int fd = socket.get();
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (shared) {
        set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    }
    // keepalived may not have added a virtual IP yet (docs/architecture.md, "Start, drain, stop").
    set_option(fd, IPPROTO_IP, IP_FREEBIND, 1);
    // Accepted sockets inherit these options (tcp(7), socket(7)), which saves five system calls per
    // client. Keepalive notices a vanished client within a minute.
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 30);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 10);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
    if (address.ip().is_v6()) {
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    }
    if (::bind(fd, reinterpret_cast<const sockaddr*>(&storage), length) != 0) {
        const int error = errno;
        socket.close();
        errno = error;
        return {};
    }
    return socket;
}

}  // namespace

ProbeResult probe_bind(const base::SocketAddress& address) {
    const base::Descriptor socket = bound_socket(address, false);
    if (!socket) {
        const int error = errno;
        if (address.ip().is_v6() && (error == EAFNOSUPPORT || error == EADDRNOTAVAIL)) {
            return {{}, true};
        }
        return {std::generic_category().message(error), false};
    }
    // Beside a socket with SO_REUSEADDR a bind succeeds until that socket listens, so the probe
    // listens as well.
    ProbeResult result;
    if (::listen(socket.get(), 1) != 0) {
        result.error = std::generic_category().message(errno);
    }
    return result;
}

std::string bind_error(const base::SocketAddress& address) {
    return bound_socket(address, false) ? std::string() : std::generic_category().message(errno);
}

std::vector<base::Descriptor> open_listeners(base::SocketAddress& address, std::size_t count) {
    std::vector<base::Descriptor> sockets;
    const auto fail = [&](const char* what) {
        throw std::system_error(errno, std::generic_category(),
                                std::string(what) + " " + address.to_string());
    };
    for (std::size_t i = 0; i < count; ++i) {
        base::Descriptor socket = bound_socket(address, true);
        if (!socket) {
            fail("bind");
        }
        const int fd = socket.get();
        sockets.push_back(std::move(socket));
        if (::listen(fd, kBacklog) != 0) {
            fail("listen");
        }
        if (address.port() == 0) {
            sockaddr_storage storage{};
            socklen_t length = sizeof storage;
            ::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length);
            if (const auto bound = base::SocketAddress::from_sockaddr(
                    reinterpret_cast<sockaddr*>(&storage), length)) {
                address = *bound;
            }
        }
    }
    return sockets;
}

}  // namespace s3gate::net
