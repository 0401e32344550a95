#include "s3gate/net/listen_socket.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <limits>
#include <sstream>
#include <system_error>
#include <utility>

#include "socket_options.hpp"

namespace s3gate::net {
namespace {

constexpr int kBacklog = 4096;

// The options that may be set before and after bind().
void set_options(int fd) {
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    // keepalived may not have added a virtual IP yet (docs/architecture.md, "Start, drain, stop").
    set_option(fd, IPPROTO_IP, IP_FREEBIND, 1);
    // Accepted sockets inherit these options (tcp(7), socket(7)), which saves five system calls per
    // client. Keepalive notices a vanished client within a minute.
    set_stream_options(fd, {.idle = 30, .interval = 10, .count = 3});
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
    set_options(fd);
    if (shared) {
        set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    }
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

// -1 if there is no such option.
int option_of(int fd, int level, int name) {
    int value = 0;
    socklen_t length = sizeof value;
    return ::getsockopt(fd, level, name, &value, &length) == 0 ? value : -1;
}

// What bind() fixed. Empty if the socket listens as ours do.
std::string find_difference(int socket, const base::SocketAddress& address) {
    const auto bound = bound_address(socket);
    if (!bound || option_of(socket, SOL_SOCKET, SO_PROTOCOL) != IPPROTO_TCP ||
        option_of(socket, SOL_SOCKET, SO_ACCEPTCONN) != 1) {
        return "it is no listening TCP socket";
    }
    if (bound->ip() != address.ip() || (address.port() != 0 && bound->port() != address.port())) {
        return "it listens on " + bound->to_string();
    }
    if (option_of(socket, SOL_SOCKET, SO_REUSEPORT) != 1) {
        return "it has no SO_REUSEPORT";
    }
    if (bound->ip().is_v6() && option_of(socket, IPPROTO_IPV6, IPV6_V6ONLY) != 1) {
        return "it has no IPV6_V6ONLY";
    }
    if (option_of(socket, SOL_SOCKET, SO_BINDTOIFINDEX) > 0) {
        return "it is bound to an interface";
    }
    return {};
}

// A line of /proc/net/tcp or tcp6.
struct ListeningSocket {
    base::SocketAddress address;
    std::uint64_t inode = 0;
};

// "0100007F:2328": each 32-bit word of the address as this machine has it in memory.
std::optional<base::SocketAddress> read_proc_address(std::string_view text) {
    const std::size_t colon = text.find(':');
    std::array<std::uint32_t, 4> words{};
    if (colon != 8 && colon != 32) {
        return std::nullopt;
    }
    for (std::size_t i = 0; i < colon / 8; ++i) {
        const char* const begin = text.data() + i * 8;
        if (std::from_chars(begin, begin + 8, words[i], 16).ptr != begin + 8) {
            return std::nullopt;
        }
    }
    std::uint16_t port = 0;
    const char* const end = text.data() + text.size();
    if (std::from_chars(text.data() + colon + 1, end, port, 16).ptr != end) {
        return std::nullopt;
    }
    sockaddr_in v4{};
    sockaddr_in6 v6{};
    if (colon == 8) {
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        v4.sin_addr.s_addr = words[0];
        return base::SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&v4), sizeof v4);
    }
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&v6.sin6_addr, words.data(), sizeof v6.sin6_addr);
    return base::SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&v6), sizeof v6);
}

// nullopt for what does not listen. proc(5): number, local address, remote address, state, queues,
// timer, retransmits, user, timeouts, inode.
std::optional<ListeningSocket> read_listening(const std::string& line) {
    constexpr std::string_view kListen = "0A";  // TCP_LISTEN of net/tcp_states.h
    std::array<std::string, 10> columns;
    std::istringstream words(line);
    for (std::string& column : columns) {
        words >> column;
    }
    const auto address = columns[3] == kListen ? read_proc_address(columns[1]) : std::nullopt;
    std::uint64_t inode = 0;
    const char* const end = columns[9].data() + columns[9].size();
    if (!address || std::from_chars(columns[9].data(), end, inode).ptr != end) {
        return std::nullopt;
    }
    return ListeningSocket{*address, inode};
}

// For a kernel without SO_BINDTOIFINDEX (before Linux 5.1), or one that demands CAP_NET_RAW for it
// (before 5.7), in a process that lacks that: the SYNs are lost, and the clients repeat them after
// a second (RFC 6298 §2.1).
void drop_handshakes(int socket) {
    constexpr std::uint32_t kFlags = 13;  // of a TCP header, RFC 9293 §3.1
    constexpr std::uint32_t kSyn = 0x02;
    constexpr std::uint32_t kAck = 0x10;
    std::array<sock_filter, 5> program{{
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kFlags),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, kSyn | kAck),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kSyn, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
    }};
    const sock_fprog filter{program.size(), program.data()};
    // A kernel that refuses leaves what every close of a listening socket has: a connection whose
    // handshake ends at that very moment is reset.
    ::setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
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

std::uint64_t inode_of(int socket) {
    struct stat status{};
    return ::fstat(socket, &status) == 0 ? status.st_ino : 0;
}

std::optional<base::SocketAddress> find_foreign_listener(const base::SocketAddress& address,
                                                         std::span<const std::uint64_t> own) {
    std::ifstream list(address.ip().is_v6() ? "/proc/net/tcp6" : "/proc/net/tcp");
    std::string line;
    std::getline(list, line);  // the names of the columns
    // Listening sockets come first (the kernel's Documentation/networking/proc_net_tcp.rst). With a
    // hundred thousand connections the rest would take seconds.
    while (std::getline(list, line)) {
        const auto entry = read_listening(line);
        if (!entry) {
            break;
        }
        if (base::overlaps(entry->address, address) &&
            std::ranges::find(own, entry->inode) == own.end()) {
            return entry->address;
        }
    }
    return std::nullopt;
}

// As bound to a network interface that does not exist, the socket is no candidate for a SYN any
// more (compute_score of the kernel's net/ipv4/inet_hashtables.c). A handshake in progress keeps
// the interface that it began with.
void refuse_handshakes(int socket) {
    constexpr int kNoInterface = std::numeric_limits<int>::max();
    if (::setsockopt(socket, SOL_SOCKET, SO_BINDTOIFINDEX, &kNoInterface, sizeof kNoInterface) !=
        0) {
        drop_handshakes(socket);
    }
}

std::optional<base::SocketAddress> bound_address(int socket) {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    const auto* const address = reinterpret_cast<const sockaddr*>(&storage);
    return ::getsockname(socket, reinterpret_cast<sockaddr*>(&storage), &length) == 0
               ? base::SocketAddress::from_sockaddr(address, length)
               : std::nullopt;
}

std::string adopt_listener(int socket, const base::SocketAddress& address) {
    if (std::string difference = find_difference(socket, address); !difference.empty()) {
        return difference;
    }
    struct stat status{};
    const uid_t user = ::geteuid();
    if (::fstat(socket, &status) != 0 ||
        (status.st_uid != user && ::fchown(socket, user, static_cast<gid_t>(-1)) != 0)) {
        return "it belongs to another user";
    }
    // What the process before may have set, or an earlier version.
    set_option(socket, IPPROTO_TCP, TCP_DEFER_ACCEPT, 0);
    set_option(socket, SOL_SOCKET, SO_DETACH_FILTER, 0);
    set_options(socket);
    if (::fcntl(socket, F_SETFD, FD_CLOEXEC) != 0 ||
        ::fcntl(socket, F_SETFL, ::fcntl(socket, F_GETFL) | O_NONBLOCK) != 0 ||
        ::listen(socket, kBacklog) != 0) {
        return std::generic_category().message(errno);
    }
    return {};
}

std::vector<base::Descriptor> bind_listeners(base::SocketAddress& address, std::size_t count,
                                             std::vector<base::Descriptor> adopted) {
    std::vector<base::Descriptor> sockets = std::move(adopted);
    const auto first = std::ranges::find_if(sockets, &base::Descriptor::operator bool);
    if (first != sockets.end()) {
        address = bound_address(first->get()).value_or(address);
    }
    sockets.resize(std::max(sockets.size(), count));
    for (std::size_t i = 0; i < count; ++i) {
        if (sockets[i]) {
            continue;
        }
        sockets[i] = bound_socket(address, true);
        if (!sockets[i]) {
            throw std::system_error(errno, std::generic_category(), "bind " + address.to_string());
        }
        if (address.port() == 0) {
            address = bound_address(sockets[i].get()).value_or(address);
        }
    }
    return sockets;
}

void start_listening(std::span<const base::Descriptor> sockets) {
    for (const base::Descriptor& socket : sockets) {
        if (socket && ::listen(socket.get(), kBacklog) != 0) {
            throw std::system_error(errno, std::generic_category(), "listen");
        }
    }
}

}  // namespace s3gate::net
