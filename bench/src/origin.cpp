// The origins of the bench: one epoll process that plays N S3 servers, with one listener each on
// 127.0.1.1 … 127.0.1.N. As cheap as possible, because it shares a core with the load generator:
// response heads are made once, large bodies come from one hot buffer (or by sendfile), request
// bodies are discarded inside the kernel and answered only after their last byte.
//
//     origin DIR PORT COUNT LIFETIME copy|sendfile
//
// GET …obj-1k|obj-64k|obj-1m|obj-64m… returns an object of that size, obj-nBYTES one of any size,
// and obj-c1k and so on the same in chunks. PUT and POST read a body, also a chunked one. All other
// requests, also for the health page, get an empty 200. Prints READY when it listens. Loopback
// only; ends by itself after LIFETIME seconds.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "chunks.hpp"

namespace {

struct Object {
    std::string_view name;
    std::uint64_t size;
};
constexpr std::array<Object, 4> kObjects{
    {{"1k", 1024}, {"64k", 65536}, {"1m", 1 << 20}, {"64m", 64 << 20}}};
// An object up to this size is sent with its head in one piece.
constexpr std::size_t kInline = 1024;
// Fits the cache, like data that a server has just read.
constexpr std::size_t kHotBuffer = 512 * 1024;
constexpr std::size_t kHeadLimit = 16384;
// Bytes for one client before others get a turn: servers serve clients in parallel. Otherwise a
// fast proxy would occupy the origin for a whole object.
constexpr std::uint64_t kTurn = 1 << 20;
constexpr std::uint64_t kDiscard = 4 << 20;  // bytes of a request body discarded per call

struct Answers {
    std::array<std::string, kObjects.size()> get;
    std::array<std::string, kObjects.size()> head;
    std::array<std::string, kObjects.size()> chunked;
    std::string empty;
};

struct Connection {
    int fd = -1;
    int origin = 0;
    bool is_listener = false;
    bool keep_alive = true;
    bool owes_answer = false;  // a request body is being read; its answer follows
    std::uint32_t events = EPOLLIN;
    std::size_t have = 0;           // bytes of `input`
    std::uint64_t upload_left = 0;  // bytes of the request body that are missing
    bool upload_chunked = false;
    ChunkReader chunks;
    std::string own_head;               // head of an answer that is not prepared
    const std::string* unit = nullptr;  // the repeated unit of a chunked body
    std::string_view output;            // unsent head (and small body)
    std::uint64_t body_left = 0;        // unsent large body after it
    off_t body_offset = 0;
    int body_file = -1;
    std::array<char, kHeadLimit> input;
};

enum class Step { done, blocked, closed };

std::array<int, kObjects.size()> g_files;
std::vector<Answers> g_answers;
std::vector<char> g_hot(kHotBuffer);
std::array<std::string, kObjects.size()> g_units;
bool g_copy = true;
int g_epoll = -1;

// Fifteen fields, as in a MinIO answer; X-Origin names the origin for the load generator.
std::string response_with(int origin, const std::string& framing, std::string_view body) {
    std::string text =
        "HTTP/1.1 200 OK\r\nAccept-Ranges: bytes\r\n" + framing +
        "\r\nContent-Type: application/octet-stream\r\nETag: "
        "\"9b2cf535f27731c974343645a3985328\"\r\n"
        "Last-Modified: Fri, 13 Nov 2026 08:11:02 GMT\r\nServer: MinIO\r\n"
        "Strict-Transport-Security: max-age=31536000; includeSubDomains\r\nVary: Origin\r\n"
        "Vary: Accept-Encoding\r\n"
        "X-Amz-Id-2: dd9025bab4ad464b049177c95eb6ebf374d3b3fd1af9251148b658df7ac2e3e8\r\n"
        "X-Amz-Request-Id: 17F3C1B0A1B2C3D" +
        std::to_string(origin) +
        "\r\nX-Content-Type-Options: nosniff\r\nX-Xss-Protection: 1; mode=block\r\nX-Origin: " +
        std::to_string(origin) + "\r\nDate: Fri, 20 Nov 2026 10:00:00 GMT\r\n\r\n";
    text += body;
    return text;
}

std::string response(int origin, std::uint64_t length, std::string_view body) {
    return response_with(origin, "Content-Length: " + std::to_string(length), body);
}

void wait_for(Connection& connection, std::uint32_t events) {
    if (connection.events == events) {
        return;
    }
    connection.events = events;
    epoll_event event{};
    event.events = events;
    event.data.ptr = &connection;
    epoll_ctl(g_epoll, EPOLL_CTL_MOD, connection.fd, &event);
}

Step blocked_or_closed(Connection& connection, std::uint32_t events) {
    if (errno != EAGAIN) {
        return Step::closed;
    }
    wait_for(connection, events);
    return Step::blocked;
}

Step flush(Connection& connection) {
    while (!connection.output.empty()) {
        const int more = connection.body_left != 0 ? MSG_MORE : 0;
        const ssize_t sent = send(connection.fd, connection.output.data(), connection.output.size(),
                                  MSG_NOSIGNAL | more);
        if (sent < 0) {
            return blocked_or_closed(connection, EPOLLIN | EPOLLOUT);
        }
        connection.output.remove_prefix(static_cast<std::size_t>(sent));
    }
    std::uint64_t turn = 0;
    while (connection.body_left != 0) {
        if (turn >= kTurn) {
            // Still writable, so epoll reports it again, after the others (level-triggered).
            wait_for(connection, EPOLLIN | EPOLLOUT);
            return Step::blocked;
        }
        ssize_t sent;
        if (connection.unit != nullptr) {
            // Whole units, then the last chunk.
            const std::uint64_t units_left = connection.body_left > kLastChunk.size()
                                                 ? connection.body_left - kLastChunk.size()
                                                 : 0;
            const auto phase =
                static_cast<std::size_t>(connection.body_offset) % connection.unit->size();
            const std::string_view piece =
                units_left > 0 ? std::string_view(*connection.unit).substr(phase)
                               : kLastChunk.substr(kLastChunk.size() - connection.body_left);
            sent = send(connection.fd, piece.data(), piece.size(),
                        MSG_NOSIGNAL | (piece.size() < connection.body_left ? MSG_MORE : 0));
            connection.body_offset += sent > 0 ? sent : 0;
        } else if (g_copy) {
            // The pattern's phase follows the offset, so the bytes equal the file's.
            const std::size_t phase = static_cast<std::size_t>(connection.body_offset) % 65536;
            const std::size_t most = g_hot.size() - 65536;
            const std::size_t length = connection.body_left < most ? connection.body_left : most;
            sent = send(connection.fd, g_hot.data() + phase, length, MSG_NOSIGNAL);
            connection.body_offset += sent > 0 ? sent : 0;
        } else {
            sent = sendfile(connection.fd, connection.body_file, &connection.body_offset,
                            std::min(connection.body_left, kTurn));
        }
        if (sent <= 0) {
            return sent < 0 ? blocked_or_closed(connection, EPOLLIN | EPOLLOUT) : Step::closed;
        }
        connection.body_left -= static_cast<std::uint64_t>(sent);
        turn += static_cast<std::uint64_t>(sent);
    }
    wait_for(connection, EPOLLIN);
    return connection.keep_alive ? Step::done : Step::closed;
}

// A chunked upload: reads the chunk lines and discards payload where possible.
Step discard_chunks(Connection& connection) {
    while (!connection.chunks.is_done()) {
        if (connection.have == 0) {
            ssize_t got;
            if (const std::uint64_t payload = connection.chunks.payload_left(); payload > 0) {
                got = recv(connection.fd, nullptr, payload < kDiscard ? payload : kDiscard,
                           MSG_TRUNC);
                if (got > 0) {
                    connection.chunks.skip_payload(static_cast<std::uint64_t>(got));
                    continue;
                }
            } else {
                got = recv(connection.fd, connection.input.data(), connection.input.size(), 0);
            }
            if (got <= 0) {
                return got < 0 ? blocked_or_closed(connection, EPOLLIN) : Step::closed;
            }
            connection.have = static_cast<std::size_t>(got);
        }
        const std::size_t taken =
            connection.chunks.feed({connection.input.data(), connection.have});
        connection.have -= taken;
        std::memmove(connection.input.data(), connection.input.data() + taken, connection.have);
    }
    connection.upload_chunked = false;
    return Step::done;
}

Step discard_upload(Connection& connection) {
    if (connection.upload_chunked) {
        return discard_chunks(connection);
    }
    while (connection.upload_left != 0) {
        const std::uint64_t most =
            connection.upload_left < kDiscard ? connection.upload_left : kDiscard;
        const ssize_t got = recv(connection.fd, nullptr, most, MSG_TRUNC);
        if (got <= 0) {
            return got < 0 ? blocked_or_closed(connection, EPOLLIN) : Step::closed;
        }
        connection.upload_left -= static_cast<std::uint64_t>(got);
    }
    return Step::done;
}

// Length of the head at the start of the input; 0 if incomplete.
std::size_t head_length(const Connection& connection) {
    const std::size_t end =
        std::string_view(connection.input.data(), connection.have).find("\r\n\r\n");
    return end == std::string_view::npos ? 0 : end + 4;
}

std::string_view field(const char* head, const char* name) {
    const char* found = strcasestr(head, name);
    return found == nullptr ? std::string_view() : std::string_view(found + std::strlen(name));
}

// Removes one request from the input and prepares its answer.
Step accept_request(Connection& connection, std::size_t length) {
    char* const head = connection.input.data();
    const char saved = head[length - 2];
    head[length - 2] = '\0';  // a C string up to the last field's line end
    const std::string_view line(head, std::strcspn(head, "\r"));
    const bool close = !field(head, "\nConnection: close").empty() || line.ends_with(" HTTP/1.0");
    const std::string_view announced = field(head, "\ncontent-length:");
    const std::uint64_t upload =
        announced.empty() ? 0 : std::strtoull(announced.data(), nullptr, 10);
    connection.upload_chunked = !field(head, "\ntransfer-encoding:").empty();
    connection.chunks.reset();
    const bool has_upload = line.starts_with('P');
    if (has_upload && !field(head, "\nexpect: 100-continue").empty()) {
        (void)!send(connection.fd, "HTTP/1.1 100 Continue\r\n\r\n", 25, MSG_NOSIGNAL);
    }
    const Answers& answers = g_answers[static_cast<std::size_t>(connection.origin)];
    connection.keep_alive = !close;
    connection.output = answers.empty;
    connection.unit = nullptr;
    connection.body_file = -1;
    const std::size_t mark = line.find("obj-");
    if (!has_upload && mark != std::string_view::npos && line[mark + 4] == 'n') {
        const std::uint64_t size = std::strtoull(line.data() + mark + 5, nullptr, 10);
        connection.own_head = response(connection.origin, size, {});
        connection.output = connection.own_head;
        connection.body_left = size;
        connection.body_offset = 0;
        connection.body_file = g_files[kObjects.size() - 1];
    } else if (!has_upload && mark != std::string_view::npos && line[mark + 4] == 'c') {
        for (std::size_t i = 0; i < kObjects.size(); ++i) {
            if (line.substr(mark + 5).starts_with(kObjects[i].name)) {
                connection.output = answers.chunked[i];
                connection.unit = &g_units[i];
                connection.body_left =
                    chunked_length(kObjects[i].size, g_units[i].size()) + kLastChunk.size();
                connection.body_offset = 0;
                break;
            }
        }
    } else if (!has_upload && mark != std::string_view::npos) {
        for (std::size_t i = 0; i < kObjects.size(); ++i) {
            if (!line.substr(mark + 4).starts_with(kObjects[i].name)) {
                continue;
            }
            const bool is_head = line.starts_with('H');
            connection.output = is_head ? answers.head[i] : answers.get[i];
            if (!is_head && kObjects[i].size > kInline) {
                connection.body_left = kObjects[i].size;
                connection.body_offset = 0;
                connection.body_file = g_files[i];
            }
            break;
        }
    }
    head[length - 2] = saved;
    const std::size_t extra = connection.have - length;
    const std::size_t taken = extra < upload ? extra : static_cast<std::size_t>(upload);
    connection.upload_left = upload - taken;
    connection.have = extra - taken;
    if (connection.have != 0) {
        std::memmove(head, head + length + taken, connection.have);
    }
    connection.owes_answer = true;
    return Step::done;
}

// Runs a connection until it must wait. Readiness is level-triggered, so there are no speculative
// reads.
Step advance(Connection& connection) {
    bool may_read = true;
    for (;;) {
        if (connection.owes_answer) {
            if (const Step step = discard_upload(connection); step != Step::done) {
                return step;
            }
            if (const Step step = flush(connection); step != Step::done) {
                return step;
            }
            connection.owes_answer = false;
        }
        const std::size_t length = head_length(connection);
        if (length != 0) {
            if (const Step step = accept_request(connection, length); step != Step::done) {
                return step;
            }
            continue;
        }
        if (!may_read) {
            return Step::blocked;
        }
        if (connection.have == connection.input.size()) {
            return Step::closed;
        }
        const ssize_t got = recv(connection.fd, connection.input.data() + connection.have,
                                 connection.input.size() - connection.have, 0);
        if (got <= 0) {
            return got < 0 ? blocked_or_closed(connection, EPOLLIN) : Step::closed;
        }
        connection.have += static_cast<std::size_t>(got);
        may_read = false;
    }
}

void accept_all(const Connection& listener) {
    for (int i = 0; i < 64; ++i) {
        const int fd = accept4(listener.fd, nullptr, nullptr, SOCK_NONBLOCK);
        if (fd < 0) {
            return;
        }
        const int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        auto* const connection = new Connection;
        connection->fd = fd;
        connection->origin = listener.origin;
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.ptr = connection;
        epoll_ctl(g_epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

bool make_objects(const std::string& directory) {
    for (std::size_t i = 0; i < g_hot.size(); ++i) {
        g_hot[i] = "0123456789abcdef"[(i * 7) & 15];
    }
    for (std::size_t i = 0; i < kObjects.size(); ++i) {
        const std::string path = directory + "/obj-" + std::string(kObjects[i].name);
        g_files[i] = open(path.c_str(), O_RDWR | O_CREAT, 0644);
        for (std::uint64_t at = 0; at < kObjects[i].size;) {
            const std::uint64_t left = kObjects[i].size - at;
            const std::size_t length = left < 65536 ? left : 65536;
            if (pwrite(g_files[i], g_hot.data(), length, static_cast<off_t>(at)) !=
                static_cast<ssize_t>(length)) {
                return false;
            }
            at += length;
        }
    }
    return true;
}

bool listen_on(int origin, std::uint16_t port) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(0x7f000100u + static_cast<std::uint32_t>(origin));
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        listen(fd, 4096) != 0) {
        std::perror("origin: listen");
        return false;
    }
    auto* const listener = new Connection;
    listener->fd = fd;
    listener->origin = origin;
    listener->is_listener = true;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = listener;
    epoll_ctl(g_epoll, EPOLL_CTL_ADD, fd, &event);
    return true;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 6) {
        std::fprintf(stderr, "usage: origin DIR PORT COUNT LIFETIME copy|sendfile\n");
        return 2;
    }
    std::signal(SIGPIPE, SIG_IGN);
    const int count = std::atoi(argv[3]);
    alarm(static_cast<unsigned>(std::atoi(argv[4])));
    g_copy = std::string_view(argv[5]) == "copy";
    if (!make_objects(argv[1])) {
        std::perror("origin: objects");
        return 3;
    }
    for (std::size_t i = 0; i < kObjects.size(); ++i) {
        g_units[i] = chunk_unit(kObjects[i].size, 'a');
    }
    g_epoll = epoll_create1(0);
    g_answers.resize(static_cast<std::size_t>(count) + 1);
    for (int origin = 1; origin <= count; ++origin) {
        Answers& answers = g_answers[static_cast<std::size_t>(origin)];
        answers.empty = response(origin, 0, {});
        for (std::size_t i = 0; i < kObjects.size(); ++i) {
            const std::string body(kObjects[i].size <= kInline ? kObjects[i].size : 0, 'a');
            answers.get[i] = response(origin, kObjects[i].size, body);
            answers.head[i] = response(origin, kObjects[i].size, {});
            answers.chunked[i] = response_with(origin, "Transfer-Encoding: chunked", {});
        }
        if (!listen_on(origin, static_cast<std::uint16_t>(std::atoi(argv[2])))) {
            return 4;
        }
    }
    std::puts("READY");
    std::fflush(stdout);
    std::array<epoll_event, 256> events;
    for (;;) {
        const int ready = epoll_wait(g_epoll, events.data(), static_cast<int>(events.size()), -1);
        for (int i = 0; i < ready; ++i) {
            auto* const connection =
                static_cast<Connection*>(events[static_cast<std::size_t>(i)].data.ptr);
            if (connection->is_listener) {
                accept_all(*connection);
            } else if (advance(*connection) == Step::closed) {
                close(connection->fd);
                delete connection;
            }
        }
    }
}
