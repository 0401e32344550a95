// The load generator of the bench: a closed-loop HTTP/1.1 client, one thread, one epoll set.
//
//     loadgen port=N [host=127.0.0.1] [mode=get|put|close|idle|mixed] [obj=1k|64k|1m|64m|c64k]
//             [body=BYTES] [chunked=1] [conns=64] [secs=2] [hold=2] [requests=N] [rate=PER_SECOND]
//             [snd=copy|sendfile]
//
// It costs almost nothing compared with the proxy: requests are made beforehand (4096 S3-like ones:
// half with a sessionid, a quarter with an uploadId, a quarter with neither), response bodies are
// discarded inside the kernel, large request bodies come from one hot buffer. Every answer's
// X-Origin is compared with the earlier one for the same key ("moved" counts differences).
//
// `chunked` sends the body of a PUT in chunks. `mixed` is nine GETs to one PUT with sizes from 1
// KiB to 16 MiB, log-uniform. With `rate` requests begin at their due time, whatever the state of
// earlier ones (open loop), and latency counts from the due time: a stall of the proxy counts for
// every request that had to wait. `close` opens a connection per request. `idle` opens the
// connections, sends one request on each, prints HELD, and holds them. After `secs`, or after
// `requests` requests if given, no request is started; those in flight have 5 s. The result is one
// JSON line on stdout. Loopback only.

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "chunks.hpp"

namespace {

constexpr std::size_t kRequests = 4096;
constexpr std::size_t kSources = 200;  // client addresses: requests without a key go by them
// A body up to this size is part of the prepared request.
constexpr std::size_t kInlineBody = 16384;
constexpr std::size_t kHotBuffer = 512 * 1024;
constexpr int kDialsAtOnce = 64;
constexpr int kRedials = 50;

enum class Mode { get, put, close, idle, mixed };

// The reason for giving up a connection, if errno has none; reported as lasterr.
enum Failure {
    kClosed = 10000,
    kHeadTooLong,
    kNoLength,
    kClosedInBody,
    kIdleClosed,
    kEarlyClose,
    kEarlyError,
    kStatus = 20000,
};

struct Options {
    std::string host = "127.0.0.1";
    std::string object = "1k";
    Mode mode = Mode::get;
    int port = 0;
    int connections = 64;
    std::uint64_t body = 0;
    std::uint64_t requests = UINT64_MAX;
    double seconds = 2;
    double hold = 2;
    double rate = 0;  // 0 = closed loop
    bool copy = true;
    bool chunked = false;
};

struct Request {
    std::string bytes;
    std::uint64_t body = 0;     // of a PUT, without framing
    std::uint64_t flowing = 0;  // bytes after `bytes`, from the hot buffer
    bool has_key = true;
};

struct Connection {
    enum class State { dead, connecting, sending, head, body, idle };
    int fd = -1;
    State state = State::dead;
    std::uint32_t events = 0;
    std::size_t slot = 0;
    std::size_t request = 0;
    std::size_t sent = 0;           // of the request's bytes
    std::uint64_t upload_left = 0;  // body after them
    off_t upload_offset = 0;
    std::uint64_t download_left = 0;
    std::size_t have = 0;
    std::uint64_t begun = 0;
    int failures = 0;
    bool close_follows = false;
    bool answer_chunked = false;
    ChunkReader chunks;
    std::array<char, 8192> input;
};
using State = Connection::State;

std::uint64_t now() {
    return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

class Generator {
  public:
    explicit Generator(const Options& options);
    void run();
    void print() const;

  private:
    void dial(Connection& connection);
    void begin(Connection& connection);
    void advance(Connection& connection);
    void finish(Connection& connection);
    void fail(Connection& connection, int why);
    void on_event(Connection& connection, std::uint32_t events);
    // Each returns true if the connection can continue at once.
    bool send_request(Connection& connection);
    bool read_head(Connection& connection);
    bool read_body(Connection& connection);
    bool read_chunks(Connection& connection);
    void note_origin(const Connection& connection, const char* head);
    void wait_for(Connection& connection, std::uint32_t events);
    std::size_t random_request();
    void arm_timer();
    void start_due();
    void begin_at(Connection& connection, std::uint64_t due);

    Options options_;
    std::vector<Request> requests_;
    std::vector<Connection> connections_;
    std::vector<int> origin_of_key_ = std::vector<int>(kRequests + kSources, 0);
    std::vector<char> hot_ = std::vector<char>(kHotBuffer, 'b');
    std::string unit_;  // of chunked request bodies
    std::vector<char> scrap_ = std::vector<char>(kHotBuffer);
    std::vector<std::uint32_t> latencies_;  // in units of 100 ns
    std::vector<Connection*> waiting_;      // open loop: idle connections
    std::deque<std::uint64_t> overdue_;     // open loop: requests without a connection
    int timer_ = -1;
    sockaddr_in target_{};
    int body_file_ = -1;
    int epoll_ = -1;
    std::uint32_t random_ = 12345;
    bool stopping_ = false;
    int in_flight_ = 0;
    std::uint64_t begun_ = 0, last_answer_ = 0, started_ = 0;
    std::uint64_t done_ = 0, bytes_ = 0, errors_ = 0, non200_ = 0, moved_ = 0, reconnects_ = 0;
    long last_error_ = 0;
};

Request make_request(const Options& options, std::size_t number) {
    const auto scrambled = static_cast<std::uint32_t>(number * 2654435761u);
    std::array<char, 256> query{};
    Request request;
    if (number % 4 < 2) {
        std::snprintf(query.data(), query.size(), "?sessionid=%08x%08x%s", scrambled,
                      scrambled ^ 0x5bd1e995u, number % 2 != 0 ? "&x-id=GetObject" : "");
    } else if (number % 4 == 2) {
        std::snprintf(query.data(), query.size(),
                      "?partNumber=%zu&uploadId=OGIwMmM4ZTUtZTY0Zi00%08x-%08x", number % 10000 + 1,
                      scrambled, ~scrambled);
    } else {
        request.has_key = false;
    }
    std::array<char, 128> path{};
    const bool is_mixed = options.mode == Mode::mixed;
    const bool is_put = options.mode == Mode::put || (is_mixed && number % 10 == 9);
    std::string object = options.object;
    if (is_mixed) {
        // From 2^10 to 2^24, log-uniform.
        const double exponent = 10 + 14 * (scrambled / 4294967296.0);
        request.body = static_cast<std::uint64_t>(std::exp2(exponent));
        object = "n" + std::to_string(request.body);
    } else if (is_put) {
        request.body = options.body;
    }
    std::snprintf(path.data(), path.size(), "/bucket%02zu/dir/%04zx/obj-%s", number % 37, number,
                  object.c_str());
    request.bytes = is_put ? "PUT " : "GET ";
    request.bytes += path.data();
    request.bytes += query.data();
    request.bytes +=
        " HTTP/1.1\r\nHost: s3.example.test:9000\r\nUser-Agent: MinIO (linux; amd64) "
        "minio-go/v7.0.63\r\n"
        "Authorization: AWS4-HMAC-SHA256 "
        "Credential=AKIAIOSFODNN7EXAMPLE/20261120/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41\r\n"
        "X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\nX-Amz-Date: 20261120T100000Z\r\n"
        "Accept-Encoding: identity\r\n";
    if (is_put) {
        request.bytes += "Content-Type: application/octet-stream\r\n";
        request.bytes += options.chunked
                             ? std::string("Transfer-Encoding: chunked\r\n")
                             : "Content-Length: " + std::to_string(request.body) + "\r\n";
    }
    if (options.mode == Mode::close) {
        request.bytes += "Connection: close\r\n";
    }
    request.bytes += "\r\n";
    if (!is_put) {
        request.body = 0;
    } else if (request.body > kInlineBody) {
        request.flowing = options.chunked
                              ? chunked_length(request.body, chunk_unit(request.body, 'b').size()) +
                                    kLastChunk.size()
                              : request.body;
    } else if (options.chunked) {
        request.bytes += chunk_unit(request.body, 'b');
        request.bytes += kLastChunk;
    } else {
        request.bytes.append(request.body, 'b');
    }
    return request;
}

Generator::Generator(const Options& options) : options_(options) {
    for (std::size_t i = 0; i < kRequests; ++i) {
        requests_.push_back(make_request(options_, i));
    }
    connections_.resize(static_cast<std::size_t>(options_.connections));
    for (std::size_t i = 0; i < connections_.size(); ++i) {
        connections_[i].slot = i;
    }
    latencies_.reserve(1 << 20);
    if (options_.chunked) {
        unit_ = chunk_unit(options_.body, 'b');
    } else if (!options_.copy) {
        std::uint64_t longest = 0;
        for (const Request& request : requests_) {
            longest = std::max(longest, request.flowing);
        }
        body_file_ = memfd_create("body", 0);
        for (std::uint64_t at = 0; at < longest; at += hot_.size()) {
            (void)!pwrite(body_file_, hot_.data(), hot_.size(), static_cast<off_t>(at));
        }
    }
    target_.sin_family = AF_INET;
    target_.sin_port = htons(static_cast<std::uint16_t>(options_.port));
    target_.sin_addr.s_addr = inet_addr(options_.host.c_str());
    epoll_ = epoll_create1(0);
    if (options_.rate > 0) {
        timer_ = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.ptr = nullptr;
        epoll_ctl(epoll_, EPOLL_CTL_ADD, timer_, &event);
    }
}

// Arms the timer for the next due request, in open loop.
void Generator::arm_timer() {
    const std::uint64_t due =
        begun_ + static_cast<std::uint64_t>(static_cast<double>(started_) * 1e9 / options_.rate);
    itimerspec when{};
    when.it_value.tv_sec = static_cast<time_t>(due / 1000000000);
    when.it_value.tv_nsec = static_cast<long>(due % 1000000000);
    timerfd_settime(timer_, TFD_TIMER_ABSTIME, &when, nullptr);
}

// Begins every due request, or queues it if no connection is idle.
void Generator::start_due() {
    const std::uint64_t time = now();
    const auto should =
        static_cast<std::uint64_t>(static_cast<double>(time - begun_) * options_.rate / 1e9);
    while (started_ <= should && !stopping_) {
        const std::uint64_t due = begun_ + static_cast<std::uint64_t>(
                                               static_cast<double>(started_) * 1e9 / options_.rate);
        ++started_;
        if (waiting_.empty()) {
            overdue_.push_back(due);
            continue;
        }
        Connection& connection = *waiting_.back();
        waiting_.pop_back();
        begin_at(connection, due);
        advance(connection);
    }
    arm_timer();
}

void Generator::begin_at(Connection& connection, std::uint64_t due) {
    connection.request = random_request();
    connection.sent = 0;
    connection.upload_left = requests_[connection.request].flowing;
    connection.upload_offset = 0;
    connection.have = 0;
    connection.state = State::sending;
    ++in_flight_;
    connection.begun = due;
}

std::size_t Generator::random_request() {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 17;
    random_ ^= random_ << 5;
    return random_ % kRequests;
}

void Generator::wait_for(Connection& connection, std::uint32_t events) {
    if (connection.events == events) {
        return;
    }
    connection.events = events;
    epoll_event event{};
    event.events = events;
    event.data.ptr = &connection;
    epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.fd, &event);
}

void Generator::dial(Connection& connection) {
    connection.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    const int on = 1;
    setsockopt(connection.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(connection.fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    sockaddr_in source{};
    source.sin_family = AF_INET;
    source.sin_addr.s_addr =
        htonl(0x7f000002u + static_cast<std::uint32_t>(connection.slot % kSources));
    if (connection.fd < 0 ||
        bind(connection.fd, reinterpret_cast<sockaddr*>(&source), sizeof source) != 0) {
        std::perror("loadgen: socket");
        std::exit(3);
    }
    connection.events = EPOLLOUT;
    epoll_event event{};
    event.events = connection.events;
    event.data.ptr = &connection;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, connection.fd, &event);
    connection.state = State::connecting;
    if (connect(connection.fd, reinterpret_cast<sockaddr*>(&target_), sizeof target_) != 0 &&
        errno != EINPROGRESS) {
        ++errors_;
        last_error_ = errno;
        close(connection.fd);
        connection.state = State::dead;
    }
}

void Generator::begin(Connection& connection) {
    if (options_.rate > 0) {
        if (!overdue_.empty()) {
            const std::uint64_t due = overdue_.front();
            overdue_.pop_front();
            begin_at(connection, due);
        } else {
            connection.state = State::idle;
            waiting_.push_back(&connection);
        }
        return;
    }
    stopping_ = stopping_ || started_ == options_.requests;
    if (stopping_) {
        connection.state = State::idle;
        return;
    }
    ++started_;
    // A connection per request: its time includes the connect.
    begin_at(connection, options_.mode == Mode::close ? connection.begun : now());
}

void Generator::fail(Connection& connection, int why) {
    const bool was_idle = connection.state == State::idle;
    if (connection.state == State::sending || connection.state == State::head ||
        connection.state == State::body) {
        --in_flight_;
    }
    close(connection.fd);
    connection.state = State::dead;
    if (options_.rate > 0) {
        std::erase(waiting_, &connection);
    }
    if (was_idle && options_.mode != Mode::idle) {
        return;  // closed between requests after the end; no request was lost
    }
    ++errors_;
    last_error_ = why;
    if (!stopping_ && ++connection.failures < kRedials && options_.mode != Mode::idle) {
        dial(connection);
    }
}

void Generator::finish(Connection& connection) {
    last_answer_ = now();
    --in_flight_;
    ++done_;
    connection.failures = 0;
    latencies_.push_back(static_cast<std::uint32_t>(
        std::min<std::uint64_t>((last_answer_ - connection.begun) / 100, UINT32_MAX)));
    bytes_ += requests_[connection.request].body;
    if (options_.mode == Mode::idle) {
        connection.state = State::idle;
        return;
    }
    if (options_.mode == Mode::close || connection.close_follows) {
        close(connection.fd);
        reconnects_ += options_.mode != Mode::close;
        connection.state = State::dead;
        if (!stopping_) {
            dial(connection);
        }
        return;
    }
    begin(connection);
}

bool Generator::send_request(Connection& connection) {
    const std::string& bytes = requests_[connection.request].bytes;
    while (connection.sent < bytes.size()) {
        const int more = connection.upload_left != 0 ? MSG_MORE : 0;
        const ssize_t sent = send(connection.fd, bytes.data() + connection.sent,
                                  bytes.size() - connection.sent, MSG_NOSIGNAL | more);
        if (sent < 0) {
            errno == EAGAIN ? wait_for(connection, EPOLLIN | EPOLLOUT) : fail(connection, errno);
            return false;
        }
        connection.sent += static_cast<std::size_t>(sent);
    }
    while (connection.upload_left != 0) {
        ssize_t sent;
        if (options_.chunked) {
            const bool in_units = connection.upload_left > kLastChunk.size();
            const std::string_view piece =
                in_units ? std::string_view(unit_).substr(
                               static_cast<std::size_t>(connection.upload_offset) % unit_.size())
                         : kLastChunk.substr(kLastChunk.size() - connection.upload_left);
            sent = send(connection.fd, piece.data(), piece.size(),
                        MSG_NOSIGNAL | (piece.size() < connection.upload_left ? MSG_MORE : 0));
            connection.upload_offset += sent > 0 ? sent : 0;
        } else if (options_.copy) {
            sent = send(connection.fd, hot_.data(),
                        std::min<std::uint64_t>(connection.upload_left, hot_.size()), MSG_NOSIGNAL);
        } else {
            sent = sendfile(connection.fd, body_file_, &connection.upload_offset,
                            connection.upload_left);
        }
        if (sent <= 0) {
            sent < 0 && errno == EAGAIN ? wait_for(connection, EPOLLIN | EPOLLOUT)
                                        : fail(connection, errno);
            return false;
        }
        connection.upload_left -= static_cast<std::uint64_t>(sent);
    }
    wait_for(connection, EPOLLIN);
    connection.state = State::head;
    return false;  // an answer takes a while, so a read now would find nothing
}

void Generator::note_origin(const Connection& connection, const char* head) {
    const char* const field = strcasestr(head, "\nx-origin:");
    if (field == nullptr) {
        return;
    }
    const int origin = std::atoi(field + 10);
    const std::size_t key = requests_[connection.request].has_key
                                ? connection.request
                                : kRequests + connection.slot % kSources;
    if (origin_of_key_[key] != 0 && origin_of_key_[key] != origin) {
        ++moved_;
    }
    origin_of_key_[key] = origin;
}

bool Generator::read_head(Connection& connection) {
    char* const input = connection.input.data();
    char* end = nullptr;
    for (;;) {
        input[connection.have] = '\0';
        end = std::strstr(input, "\r\n\r\n");
        if (end != nullptr && std::strncmp(input, "HTTP/1.1 100", 12) != 0) {
            break;
        }
        if (end != nullptr) {
            connection.have -= static_cast<std::size_t>(end + 4 - input);
            std::memmove(input, end + 4, connection.have + 1);
            continue;
        }
        const std::size_t room = connection.input.size() - 1 - connection.have;
        if (room == 0) {
            fail(connection, kHeadTooLong);
            return false;
        }
        const ssize_t got = recv(connection.fd, input + connection.have, room, 0);
        if (got < 0 && errno == EAGAIN) {
            return false;
        }
        if (got <= 0) {
            fail(connection, got < 0 ? errno : kClosed);
            return false;
        }
        connection.have += static_cast<std::size_t>(got);
    }
    const auto length = static_cast<std::size_t>(end + 4 - input);
    end[2] = '\0';
    if (std::strncmp(input + 9, "200", 3) != 0) {
        ++non200_;
        last_error_ = kStatus + std::atoi(input + 9);
    }
    const char* const announced = strcasestr(input, "\ncontent-length:");
    connection.answer_chunked = strcasestr(input, "\ntransfer-encoding:") != nullptr;
    if (announced == nullptr && !connection.answer_chunked) {
        fail(connection, kNoLength);
        return false;
    }
    connection.close_follows = strcasestr(input, "\nconnection: close") != nullptr;
    note_origin(connection, input);
    connection.state = State::body;
    if (connection.answer_chunked) {
        connection.chunks.reset();
        connection.chunks.feed({input + length, connection.have - length});
        return true;
    }
    const std::uint64_t body = std::strtoull(announced + 16, nullptr, 10);
    bytes_ += body;
    const std::uint64_t here = connection.have - length;
    connection.download_left = body > here ? body - here : 0;
    return true;
}

// Chunk lines must be read; known payload is discarded in the kernel.
bool Generator::read_chunks(Connection& connection) {
    if (!connection.chunks.is_done()) {
        const std::uint64_t payload = connection.chunks.payload_left();
        const ssize_t got = payload > 0 ? recv(connection.fd, nullptr, payload, MSG_TRUNC)
                                        : recv(connection.fd, scrap_.data(), scrap_.size(), 0);
        if (got < 0 && errno == EAGAIN) {
            return false;
        }
        if (got <= 0) {
            fail(connection, got < 0 ? errno : kClosedInBody);
            return false;
        }
        if (payload > 0) {
            connection.chunks.skip_payload(static_cast<std::uint64_t>(got));
        } else {
            connection.chunks.feed({scrap_.data(), static_cast<std::size_t>(got)});
        }
    }
    if (connection.chunks.is_done()) {
        bytes_ += connection.chunks.payload();
        finish(connection);
    }
    return connection.state == State::body || connection.state == State::sending;
}

bool Generator::read_body(Connection& connection) {
    if (connection.answer_chunked) {
        return read_chunks(connection);
    }
    if (connection.download_left != 0) {
        const ssize_t got = recv(connection.fd, nullptr, connection.download_left, MSG_TRUNC);
        if (got < 0 && errno == EAGAIN) {
            return false;
        }
        if (got <= 0) {
            fail(connection, got < 0 ? errno : kClosedInBody);
            return false;
        }
        connection.download_left -= static_cast<std::uint64_t>(got);
    }
    if (connection.download_left == 0) {
        finish(connection);
    }
    return connection.state == State::body || connection.state == State::sending;
}

void Generator::advance(Connection& connection) {
    bool go_on = true;
    while (go_on) {
        switch (connection.state) {
            case State::connecting: {
                int error = 0;
                socklen_t length = sizeof error;
                getsockopt(connection.fd, SOL_SOCKET, SO_ERROR, &error, &length);
                if (error != 0) {
                    fail(connection, error);
                    return;
                }
                wait_for(connection, EPOLLIN);
                connection.begun = now();
                begin(connection);
                break;
            }
            case State::sending:
                go_on = send_request(connection);
                break;
            case State::head:
                go_on = read_head(connection);
                break;
            case State::body:
                go_on = read_body(connection);
                break;
            case State::idle: {
                std::array<char, 64> scrap;
                const ssize_t got = recv(connection.fd, scrap.data(), scrap.size(), 0);
                if (got == 0 || (got < 0 && errno != EAGAIN)) {
                    fail(connection, kIdleClosed);
                }
                return;
            }
            case State::dead:
                return;
        }
    }
}

void Generator::on_event(Connection& connection, std::uint32_t events) {
    if (connection.state == State::sending && (events & EPOLLOUT) == 0) {
        // An answer before the request was completely sent, or the connection is gone.
        char scrap;
        if (recv(connection.fd, &scrap, 1, MSG_PEEK) == 0) {
            fail(connection, kEarlyClose);
        } else if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
            fail(connection, kEarlyError);
        } else {
            connection.upload_left = 0;
            connection.state = State::head;
            connection.close_follows = true;
            advance(connection);
        }
        return;
    }
    advance(connection);
}

void Generator::run() {
    begun_ = now();
    const auto nanoseconds = [](double seconds) {
        return static_cast<std::uint64_t>(seconds * 1e9);
    };
    const std::uint64_t end = begun_ + nanoseconds(options_.seconds);
    const bool idle = options_.mode == Mode::idle;
    const int wanted = options_.connections;
    int dialed = 0;
    for (; dialed < wanted && (!idle || dialed < kDialsAtOnce); ++dialed) {
        dial(connections_[static_cast<std::size_t>(dialed)]);
    }
    if (options_.rate > 0) {
        arm_timer();
    }
    bool held = false;
    std::uint64_t hold_end = end + nanoseconds(options_.hold);
    std::array<epoll_event, 256> events;
    for (;;) {
        const int ready = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 10);
        for (int i = 0; i < ready; ++i) {
            auto* const target =
                static_cast<Connection*>(events[static_cast<std::size_t>(i)].data.ptr);
            if (target == nullptr) {
                std::uint64_t expirations;
                (void)!read(timer_, &expirations, sizeof expirations);
                start_due();
                continue;
            }
            Connection& connection = *target;
            if (connection.state != State::dead) {
                on_event(connection, events[static_cast<std::size_t>(i)].events);
            }
        }
        const std::uint64_t time = now();
        if (idle) {
            const auto answered = static_cast<int>(done_ + errors_);
            for (; dialed < wanted && dialed - answered < kDialsAtOnce; ++dialed) {
                dial(connections_[static_cast<std::size_t>(dialed)]);
            }
            if (!held && answered >= wanted) {
                held = true;
                std::puts("HELD");
                std::fflush(stdout);
                hold_end = time + nanoseconds(options_.hold);
            }
            if (time >= hold_end) {
                return;
            }
            continue;
        }
        stopping_ = stopping_ || time >= end;
        if (stopping_ && ((in_flight_ <= 0 && overdue_.empty()) || time > end + nanoseconds(5))) {
            return;
        }
    }
}

void Generator::print() const {
    std::vector<std::uint32_t> sorted = latencies_;
    std::sort(sorted.begin(), sorted.end());
    const auto quantile = [&sorted](double share) {
        return sorted.empty() ? 0.0
                              : sorted[static_cast<std::size_t>(
                                    static_cast<double>(sorted.size() - 1) * share)] /
                                    10.0;
    };
    std::array<int, 7> keys{};
    for (const int origin : origin_of_key_) {
        if (origin > 0 && origin < 7) {
            ++keys[static_cast<std::size_t>(origin)];
        }
    }
    const double elapsed =
        static_cast<double>((last_answer_ > begun_ ? last_answer_ : now()) - begun_) / 1e9;
    std::printf(
        "{\"requests\":%llu,\"bytes\":%llu,\"secs\":%.6f,\"errors\":%llu,\"non200\":%llu,\"moved\":"
        "%llu,\"reconnects\":%llu,"
        "\"lasterr\":%ld,\"stuck\":%d,\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%"
        ".1f,\"max_us\":%.1f,"
        "\"keys\":[%d,%d,%d,%d,%d,%d]}\n",
        static_cast<unsigned long long>(done_), static_cast<unsigned long long>(bytes_), elapsed,
        static_cast<unsigned long long>(errors_), static_cast<unsigned long long>(non200_),
        static_cast<unsigned long long>(moved_), static_cast<unsigned long long>(reconnects_),
        last_error_, in_flight_, quantile(.5), quantile(.9), quantile(.99), quantile(.999),
        quantile(1), keys[1], keys[2], keys[3], keys[4], keys[5], keys[6]);
}

bool parse(Options& options, std::string_view name, const std::string& value) {
    if (name == "host") {
        options.host = value;
    } else if (name == "port") {
        options.port = std::atoi(value.c_str());
    } else if (name == "conns") {
        options.connections = std::atoi(value.c_str());
    } else if (name == "secs") {
        options.seconds = std::atof(value.c_str());
    } else if (name == "hold") {
        options.hold = std::atof(value.c_str());
    } else if (name == "requests") {
        options.requests = std::strtoull(value.c_str(), nullptr, 10);
    } else if (name == "obj") {
        options.object = value;
    } else if (name == "rate") {
        options.rate = std::atof(value.c_str());
    } else if (name == "chunked") {
        options.chunked = value == "1";
    } else if (name == "body") {
        options.body = std::strtoull(value.c_str(), nullptr, 10);
    } else if (name == "snd") {
        options.copy = value == "copy";
    } else if (name == "mode") {
        options.mode = value == "put"     ? Mode::put
                       : value == "close" ? Mode::close
                       : value == "idle"  ? Mode::idle
                       : value == "mixed" ? Mode::mixed
                                          : Mode::get;
    } else {
        return false;
    }
    return true;
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; ++i) {
        const std::string_view argument = argv[i];
        const std::size_t equals = argument.find('=');
        if (equals == std::string_view::npos ||
            !parse(options, argument.substr(0, equals), std::string(argument.substr(equals + 1)))) {
            std::fprintf(stderr, "loadgen: what is %s?\n", argv[i]);
            return 2;
        }
    }
    if (!options.host.starts_with("127.")) {
        std::fprintf(stderr, "loadgen: loopback only\n");
        return 2;
    }
    std::signal(SIGPIPE, SIG_IGN);
    alarm(static_cast<unsigned>(options.seconds + options.hold + 60));
    Generator generator(options);
    generator.run();
    generator.print();
    return 0;
}
