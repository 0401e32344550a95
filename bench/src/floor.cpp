// The minimal cost of a proxy: it forwards every read of a client to some origin, and every read of
// an origin to its client, without looking at a byte. The cost is the kernel's: for a small
// exchange the same two receives, two sends and share of epoll_wait as in s3gate.
//
//     floor PORT ORIGIN[,ORIGIN…]        (addresses of IPv4, a.b.c.d:port)
//
// A client's read after an answer begins a request, which goes to another origin, as if by hash, on
// the connection that was used last there. Not a proxy: it does not parse messages, so clients must
// send one request at a time, servers must not speak first, and neither may fail. Loopback only;
// ends with SIGTERM.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

struct Connection {
    int fd = -1;
    bool is_client = false;
    bool has_answered = true;     // client: bytes of an origin were sent to it since its last input
    bool has_input = false;       // reported readable, and no short read since
    std::uint32_t origin = 0;     // origin: its index
    Connection* other = nullptr;  // the connection at the other side
    std::string unsent;  // bytes that it did not take yet; the other side is not read meanwhile
};

struct Origin {
    sockaddr_in address{};
    std::vector<Connection*> idle;
};

int g_epoll = -1;
std::vector<Origin> g_origins;
std::array<char, 65536> g_buffer;
std::uint32_t g_requests = 0;
std::vector<Connection*> g_gone;

void watch(Connection& connection) {
    const int on = 1;
    setsockopt(connection.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLET;
    event.data.ptr = &connection;
    epoll_ctl(g_epoll, EPOLL_CTL_ADD, connection.fd, &event);
}

// The current round may still have events of it, so it is freed afterwards.
void forget(Connection& connection) {
    close(connection.fd);
    connection.fd = -1;
    g_gone.push_back(&connection);
}

void give_back(Connection& client) {
    if (client.other != nullptr) {
        client.other->other = nullptr;
        g_origins[client.other->origin].idle.push_back(client.other);
        client.other = nullptr;
    }
}

Connection* connection_to(std::uint32_t number) {
    Origin& origin = g_origins[number];
    if (!origin.idle.empty()) {
        Connection* const last = origin.idle.back();
        origin.idle.pop_back();
        return last;
    }
    auto* const fresh = new Connection;
    fresh->origin = number;
    fresh->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fresh->fd < 0 || connect(fresh->fd, reinterpret_cast<sockaddr*>(&origin.address),
                                 sizeof origin.address) != 0) {
        std::perror(fresh->fd < 0 ? "floor: socket" : "floor: connect");
        std::exit(1);
    }
    fcntl(fresh->fd, F_SETFL, O_NONBLOCK);
    watch(*fresh);
    return fresh;
}

// False if the connection is gone.
bool flush(Connection& connection, std::string_view bytes) {
    const ssize_t sent = send(connection.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        return false;
    }
    const std::size_t taken = sent < 0 ? 0 : static_cast<std::size_t>(sent);
    std::string rest(bytes.substr(taken));
    connection.unsent.swap(rest);
    return true;
}

// Closes both sides: it is unknown whether all bytes were sent.
void hang_up(Connection& connection) {
    if (connection.other != nullptr) {
        forget(*connection.other);
    }
    forget(connection);
}

// False if the connection is gone.
bool pump(Connection& from) {
    while (from.has_input) {
        if (from.other != nullptr && !from.other->unsent.empty()) {
            return true;  // continues when those bytes are sent
        }
        const ssize_t got = recv(from.fd, g_buffer.data(), g_buffer.size(), 0);
        if (got < 0 && errno == EAGAIN) {
            from.has_input = false;
            return true;
        }
        if (!from.is_client && from.other == nullptr) {
            std::fprintf(stderr, "floor: an idle origin spoke or went\n");
            std::exit(1);
        }
        if (got <= 0) {
            hang_up(from);
            return false;
        }
        from.has_input = got == static_cast<ssize_t>(g_buffer.size());
        if (from.is_client && from.has_answered) {
            give_back(from);
            // Knuth's multiplier spreads consecutive numbers evenly.
            const std::uint64_t spread = ++g_requests * std::uint32_t{2654435761};
            from.other = connection_to(static_cast<std::uint32_t>(spread * g_origins.size() >> 32));
            from.other->other = &from;
            from.has_answered = false;
        } else if (!from.is_client) {
            from.other->has_answered = true;
        }
        if (!flush(*from.other, {g_buffer.data(), static_cast<std::size_t>(got)})) {
            hang_up(from);
            return false;
        }
    }
    return true;
}

void advance(Connection& connection, std::uint32_t events) {
    connection.has_input = connection.has_input || (events & ~std::uint32_t{EPOLLOUT}) != 0;
    if ((events & EPOLLOUT) != 0 && !connection.unsent.empty()) {
        const std::string bytes = std::move(connection.unsent);
        if (!flush(connection, bytes)) {
            hang_up(connection);
            return;
        }
        if (connection.unsent.empty() && connection.other != nullptr && !pump(*connection.other)) {
            return;
        }
    }
    pump(connection);
}

void accept_all(int listener) {
    for (int i = 0; i < 64; ++i) {
        const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
        if (fd < 0) {
            return;
        }
        auto* const client = new Connection;
        client->fd = fd;
        client->is_client = true;
        watch(*client);
    }
}

bool read_origins(std::string_view list) {
    while (!list.empty()) {
        const std::string text(list.substr(0, list.find(',')));
        list.remove_prefix(text.size() < list.size() ? text.size() + 1 : list.size());
        const std::size_t colon = text.find(':');
        Origin origin;
        origin.address.sin_family = AF_INET;
        if (colon == std::string::npos ||
            inet_pton(AF_INET, text.substr(0, colon).c_str(), &origin.address.sin_addr) != 1) {
            return false;
        }
        origin.address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(&text[colon + 1])));
        g_origins.push_back(origin);
    }
    return !g_origins.empty();
}

int listen_on(const char* port) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port)));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        listen(fd, 4096) != 0) {
        return -1;
    }
    return fd;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3 || !read_origins(argv[2])) {
        std::fprintf(stderr, "usage: floor PORT ORIGIN[,ORIGIN...]\n");
        return 2;
    }
    std::signal(SIGPIPE, SIG_IGN);
    const int listener = listen_on(argv[1]);
    if (listener < 0) {
        std::perror("floor: listen");
        return 1;
    }
    g_epoll = epoll_create1(0);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = nullptr;
    epoll_ctl(g_epoll, EPOLL_CTL_ADD, listener, &event);
    std::array<epoll_event, 256> events;
    for (;;) {
        const int ready = epoll_wait(g_epoll, events.data(), static_cast<int>(events.size()), -1);
        for (int i = 0; i < ready; ++i) {
            const epoll_event& found = events[static_cast<std::size_t>(i)];
            if (found.data.ptr == nullptr) {
                accept_all(listener);
            } else if (auto& connection = *static_cast<Connection*>(found.data.ptr);
                       connection.fd >= 0) {
                advance(connection, found.events);
            }
        }
        for (Connection* const connection : g_gone) {
            delete connection;
        }
        g_gone.clear();
    }
}
