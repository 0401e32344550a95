// A storage node of the soak test: one thread, one epoll set. It stores nothing: an object's
// content is a function of the request's id (content.hpp). So any node can answer any request, as
// in a cluster, and every upload can be checked.
//
//     soak_node HOST:PORT NOTES COUNTERS SEED
//
// NOTES gets a record per executed write, before the answer begins: it survives kill -9 and tells
// the audit how often each write was executed. COUNTERS is mapped: one 64-bit number per fault of
// kFaultNames. Lines on stdin switch faults:
//
//     mode NAME PERMILLE    this share of the requests has the fault: ok, s500, s502, s503, s504,
//                           slowdown, cut, lie, slow, idle
//     health ok|bad|offline|hang
//     listen HOST           another address of this node, with the same port
//
// A request with Upgrade becomes a tunnel that sends back what comes. x-soak-slow asks for an
// answer whose body takes so many milliseconds. Every answer has x-soak-node, the last part of the
// node's address.
//
// Prints READY when it listens. Ends with its stdin. Loopback only.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "content.hpp"
#include "message.hpp"
#include "peer.hpp"

namespace soak {
namespace {

// The index of a fault in COUNTERS; soak.py reads the names from `soak_node --faults`.
enum Fault : std::size_t {
    status_early,
    status_late,
    cut_at_head,
    cut_in_upload,
    cut_unanswered,
    cut_in_head,
    cut_in_body,
    lied,
    slowed,
    slowed_reading,
    closed_idle,
    closed_later,
    closed_on_next,
    unhealthy,
    kFaults,
};
constexpr const char* kFaultNames[kFaults] = {
    "error before the body was read",
    "error after the whole request",
    "cut behind the request's head",
    "cut inside the request's body",
    "cut instead of an answer",
    "cut inside the answer's head",
    "cut inside the answer's body",
    "lie",
    "slow answer",
    "slow reading",
    "kept connection closed at once",
    "kept connection closed after some milliseconds",
    "kept connection reset by the next request",
    "failed health check",
};

enum class Mode { ok, status, cut, lie, slow, idle };
enum class Health { ok, bad, offline, hang };

struct Connection {
    int fd = -1;
    std::uint64_t token = 0;
    bool is_readable = false;
    bool has_peer_ended = false;  // sent FIN or reset; its last bytes may be unread
    Message in;
    BodyCheck check;
    Script out;
    std::uint64_t id = 0;
    Operation operation = Operation::get;
    std::string_view expected;  // upload
    std::string expected_text;  // for an upload that is no content
    enum class Phase {
        request,  // reading a request
        answer,   // sending an answer; nothing is read
        refused,  // an early answer: further input is discarded
        tunnel,
    } phase = Phase::request;
    bool closes = false;          // after the answer
    bool dies_on_next = false;    // the first byte of the next request resets the connection
    bool is_until_close = false;  // the answer lasts until the connection's end
    bool is_abrupt = false;       // an early answer, then a close with unread bytes
    // The fault of this request
    Mode mode = Mode::ok;
    std::uint64_t cut_upload_at = UINT64_MAX;
    std::uint64_t pause_upload_at = UINT64_MAX;
    std::uint64_t read_again_at = 0;
};

class Node {
  public:
    Node(const std::string& host, int port, const std::string& notes, const std::string& counters,
         std::uint64_t seed);
    void run();

  private:
    void listen_at(const std::string& host);
    void accept_all(int listener);
    void on_command(std::string_view line);
    void drive(Connection& c);
    void close(Connection& c, bool reset);
    // Each returns false if the connection was closed.
    bool send(Connection& c);
    bool read(Connection& c);
    bool feed(Connection& c, std::string_view bytes);
    bool on_head(Connection& c);
    bool on_request(Connection& c);
    void finish_answer(Connection& c);

    bool name_operation(Connection& c, std::string_view query);
    void answer_health(Connection& c);
    void answer(Connection& c);
    void answer_error(Connection& c, bool closes);
    void lie(Connection& c);
    void put_head(Connection& c, std::string_view status, std::string_view fields);
    void spoil_answer(Connection& c, std::size_t head);
    void open_tunnel(Connection& c);
    void note(const Connection& c, Note what);
    void injected(Fault fault) { ++counters_[fault]; }

    Content content_{Sizes{}};
    Chance chance_;
    Sha256 hash_;
    Loop loop_;
    int port_;
    std::vector<int> listeners_;
    int notes_ = -1;
    std::uint64_t* counters_ = nullptr;
    Mode mode_ = Mode::ok;
    int status_ = 0;
    std::uint64_t share_ = 0;
    Health health_ = Health::ok;
    std::string commands_;
    bool is_ending_ = false;
    std::vector<std::unique_ptr<Connection>> connections_;
    std::vector<std::size_t> free_;
    std::uint64_t generation_ = 1;
    std::vector<char> buffer_ = std::vector<char>(256 << 10);
    std::string line_;
    std::string name_;
};

constexpr std::uint64_t kListener = 0xffffffff;
constexpr std::uint64_t kCommands = 0xfffffffe;

Node::Node(const std::string& host, int port, const std::string& notes, const std::string& counters,
           std::uint64_t seed)
    : chance_(scatter(seed)), port_(port), name_(host.substr(host.rfind('.') + 1)) {
    notes_ = ::open(notes.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    const int file = ::open(counters.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (notes_ < 0 || file < 0 || ::ftruncate(file, kFaults * 8) != 0) {
        std::perror("soak_node: files");
        std::exit(3);
    }
    void* const map = ::mmap(nullptr, kFaults * 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    ::close(file);
    counters_ = static_cast<std::uint64_t*>(map);
    listen_at(host);
    ::fcntl(0, F_SETFL, O_NONBLOCK);
    loop_.add(0, kCommands);
}

void Node::listen_at(const std::string& host) {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int on = 1;
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port_));
    address.sin_addr.s_addr = inet_addr(host.c_str());
    if (!host.starts_with("127.") ||
        ::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener, 1024) != 0) {
        std::perror("soak_node: listen");
        std::exit(3);
    }
    listeners_.push_back(listener);
    loop_.add(listener, kListener);
}

void Node::run() {
    std::puts("READY");
    std::fflush(stdout);
    const auto connection_of = [this](std::uint64_t token) -> Connection* {
        const std::size_t slot = token & 0xffffffff;
        Connection* const c = slot < connections_.size() ? connections_[slot].get() : nullptr;
        return c != nullptr && c->fd >= 0 && c->token == token ? c : nullptr;
    };
    const Loop::OnEvent on_event = [&](std::uint64_t token, std::uint32_t events) {
        if (token == kListener) {
            std::for_each(listeners_.begin(), listeners_.end(),
                          [this](int listener) { accept_all(listener); });
        } else if (token == kCommands) {
            ssize_t got = 0;
            while ((got = ::read(0, buffer_.data(), buffer_.size())) > 0) {
                commands_.append(buffer_.data(), static_cast<std::size_t>(got));
            }
            is_ending_ = is_ending_ || got == 0;
            for (std::size_t end = 0; (end = commands_.find('\n')) != std::string::npos;) {
                on_command(std::string_view(commands_).substr(0, end));
                commands_.erase(0, end + 1);
            }
        } else if (Connection* const c = connection_of(token)) {
            c->has_peer_ended =
                c->has_peer_ended || (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
            c->is_readable = c->is_readable || c->has_peer_ended || (events & EPOLLIN) != 0;
            drive(*c);
        }
    };
    const Loop::OnTimer on_timer = [&](std::uint64_t token) {
        if (Connection* const c = connection_of(token)) {
            drive(*c);
        }
    };
    while (!is_ending_) {
        loop_.turn(1000, on_event, on_timer);
    }
}

void Node::on_command(std::string_view line) {
    const std::size_t space = line.find(' ');
    const std::string_view word = line.substr(0, space);
    std::string_view rest = space == std::string_view::npos ? "" : line.substr(space + 1);
    if (word == "health") {
        health_ = rest == "bad"       ? Health::bad
                  : rest == "offline" ? Health::offline
                  : rest == "hang"    ? Health::hang
                                      : Health::ok;
        return;
    }
    if (word == "listen") {
        listen_at(std::string(rest));
        return;
    }
    const std::size_t second = rest.find(' ');
    const std::string_view name = rest.substr(0, second);
    share_ = second == std::string_view::npos
                 ? 0
                 : std::strtoull(std::string(rest.substr(second + 1)).c_str(), nullptr, 10);
    status_ = 0;
    if (name.size() == 4 && name[0] == 's' && name[1] == '5') {
        mode_ = Mode::status;
        status_ = std::atoi(std::string(name.substr(1)).c_str());
    } else {
        mode_ = name == "slowdown" ? Mode::status
                : name == "cut"    ? Mode::cut
                : name == "lie"    ? Mode::lie
                : name == "slow"   ? Mode::slow
                : name == "idle"   ? Mode::idle
                                   : Mode::ok;
    }
}

void Node::accept_all(int listener) {
    for (;;) {
        const int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }
        const int on = 1;
        ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        std::size_t slot = connections_.size();
        if (free_.empty()) {
            connections_.push_back(std::make_unique<Connection>());
        } else {
            slot = free_.back();
            free_.pop_back();
        }
        Connection& c = *connections_[slot];
        c.fd = fd;
        c.token = slot | ++generation_ << 32;
        c.is_readable = c.has_peer_ended = false;
        c.closes = c.dies_on_next = c.is_until_close = c.is_abrupt = false;
        c.read_again_at = 0;
        c.phase = Connection::Phase::request;
        c.in.expect_request();
        c.out.clear();
        loop_.add(fd, c.token);
    }
}

void Node::close(Connection& c, bool reset) {
    reset_on_close(c.fd, reset);
    ::close(c.fd);
    c.fd = -1;
    free_.push_back(c.token & 0xffffffff);
}

void Node::drive(Connection& c) {
    if (!send(c)) {
        return;
    }
    while (c.is_readable && c.phase != Connection::Phase::answer) {
        if (c.read_again_at > now_ms()) {
            loop_.wake(c.token, c.read_again_at);
            return;
        }
        c.read_again_at = 0;
        if (!read(c) || !send(c)) {
            return;
        }
    }
}

bool Node::send(Connection& c) {
    if (c.out.is_done()) {
        if (c.phase == Connection::Phase::answer) {  // an empty one
            finish_answer(c);
        }
        return c.fd >= 0;
    }
    switch (c.out.send(c.fd)) {
        case Script::Result::done:
            finish_answer(c);
            return c.fd >= 0;
        case Script::Result::blocked:
            return true;
        case Script::Result::paused:
            loop_.wake(c.token, c.out.wake_at());
            return true;
        case Script::Result::finned:
            close(c, false);
            return false;
        case Script::Result::ended:
            close(c, true);
            return false;
    }
    return true;
}

void Node::finish_answer(Connection& c) {
    if (c.phase == Connection::Phase::refused && !c.is_abrupt) {
        return;  // until the proxy closes
    }
    if (c.phase == Connection::Phase::tunnel) {
        c.out.clear();
        return;
    }
    if (c.closes) {
        close(c, false);
        return;
    }
    c.phase = Connection::Phase::request;
    c.in.expect_request();
}

bool Node::read(Connection& c) {
    if (c.dies_on_next) {
        close(c, true);
        return false;
    }
    const ssize_t got = ::recv(c.fd, buffer_.data(), buffer_.size(), 0);
    if (got < 0) {
        if (errno == EAGAIN) {
            c.is_readable = false;
            return true;
        }
        close(c, true);
        return false;
    }
    if (got == 0) {
        // Between requests, inside one (which is not executed then), or after a refused one.
        close(c, false);
        return false;
    }
    // A short read drained the socket; further bytes cause an event.
    c.is_readable = c.has_peer_ended || static_cast<std::size_t>(got) == buffer_.size();
    return feed(c, {buffer_.data(), static_cast<std::size_t>(got)});
}

bool Node::feed(Connection& c, std::string_view bytes) {
    while (!bytes.empty()) {
        if (c.phase == Connection::Phase::refused) {
            return true;
        }
        if (c.phase == Connection::Phase::tunnel) {
            c.out.text(bytes);
            return true;
        }
        if (c.phase == Connection::Phase::answer) {
            // The proxy must not send a second request before the first answer.
            std::fprintf(stderr, "soak_node: bytes behind request %s\n", text_of(c.id).c_str());
            note(c, Note::malformed);
            close(c, true);
            return false;
        }
        const bool had_head = c.in.state() != Message::State::head;
        bytes.remove_prefix(c.in.take(bytes, [&c](std::string_view piece) { c.check.add(piece); }));
        if (c.in.state() == Message::State::broken) {
            std::fprintf(stderr, "soak_node: malformed request: %s\n", c.in.problem());
            note(c, Note::malformed);
            close(c, true);
            return false;
        }
        if (!had_head && c.in.state() != Message::State::head && !on_head(c)) {
            return false;
        }
        if (c.phase != Connection::Phase::request) {
            continue;
        }
        if (c.check.length() >= c.cut_upload_at && c.in.state() == Message::State::body) {
            injected(cut_in_upload);
            close(c, chance_.permille(500));
            return false;
        }
        if (c.check.length() >= c.pause_upload_at) {
            injected(slowed_reading);
            c.pause_upload_at = UINT64_MAX;
            c.read_again_at = now_ms() + chance_.between(1, 300);
        }
        if (c.in.state() == Message::State::done && !on_request(c)) {
            return false;
        }
    }
    return true;
}

std::string_view argument(std::string_view query, std::string_view name) {
    while (!query.empty()) {
        const std::size_t end = query.find('&');
        const std::string_view item = query.substr(0, end);
        query = end == std::string_view::npos ? "" : query.substr(end + 1);
        const std::size_t equals = item.find('=');
        if (item.substr(0, equals) == name) {
            return equals == std::string_view::npos ? "" : item.substr(equals + 1);
        }
    }
    return {};
}

bool has_argument(std::string_view query, std::string_view name) {
    return argument(query, name).data() != nullptr;
}

// Reads the client's intention from the request; false for a request that our clients never send.
bool Node::name_operation(Connection& c, std::string_view query) {
    const std::string_view method = c.in.method();
    if (method == "GET") {
        c.operation = c.in.count("upgrade") > 0 ? Operation::tunnel
                      : c.in.count("range") > 0 ? Operation::range
                                                : Operation::get;
    } else if (method == "HEAD") {
        c.operation = Operation::head;
    } else if (method == "OPTIONS") {
        c.operation = Operation::options;
    } else if (method == "PUT") {
        c.operation = has_argument(query, "partNumber") ? Operation::part
                      : c.in.count("if-none-match") > 0 ? Operation::put_conditional
                                                        : Operation::put;
    } else if (method == "DELETE") {
        c.operation = Operation::remove;
    } else if (method == "POST") {
        c.operation = has_argument(query, "uploads") ? Operation::create : Operation::complete;
    } else {
        return false;
    }
    return true;
}

bool Node::on_head(Connection& c) {
    const std::string_view target = c.in.target();
    if (target == "/minio/health/ready") {
        c.check.begin({});
        c.mode = Mode::ok;
        c.cut_upload_at = c.pause_upload_at = UINT64_MAX;
        c.id = 0;
        return true;
    }
    const std::size_t mark = target.find('?');
    const std::string_view query = mark == std::string_view::npos ? "" : target.substr(mark + 1);
    c.id = 0;
    const bool is_known = read_id(argument(query, "id"), c.id) && name_operation(c, query) &&
                          c.in.field("x-soak-id") == argument(query, "id");
    c.expected = {};
    if (c.operation == Operation::put || c.operation == Operation::put_conditional ||
        c.operation == Operation::part) {
        c.expected = content_.body_of(c.id, Way::up);
    } else if (c.operation == Operation::complete) {
        c.expected_text =
            "<CompleteMultipartUpload>" + text_of(c.id) + "</CompleteMultipartUpload>";
        c.expected = c.expected_text;
    }
    c.check.begin(c.expected);
    if (!is_known) {
        std::fprintf(stderr, "soak_node: unknown request %.*s\n", static_cast<int>(target.size()),
                     target.data());
        note(c, Note::corrupt);
        close(c, true);
        return false;
    }

    c.mode = chance_.below(1000) < share_ ? mode_ : Mode::ok;
    c.cut_upload_at = c.pause_upload_at = UINT64_MAX;
    const bool has_body = c.in.state() == Message::State::body;
    const bool expects = equals_folded(c.in.field("expect"), "100-continue");
    if (c.mode == Mode::status && has_body && chance_.permille(500)) {
        injected(status_early);
        // A close with unread bytes resets the connection, which may destroy the answer. The proxy
        // must cope with such servers.
        c.phase = Connection::Phase::refused;
        c.is_abrupt = chance_.permille(200);
        answer_error(c, true);
        return true;
    }
    if (c.mode == Mode::cut) {
        if (chance_.permille(200)) {
            injected(cut_at_head);
            close(c, chance_.permille(500));
            return false;
        }
        if (has_body && chance_.permille(300)) {
            c.cut_upload_at = chance_.below(c.expected.size() + 1);
        }
    }
    if (c.mode == Mode::slow && has_body && chance_.permille(500)) {
        c.pause_upload_at = chance_.below(c.expected.size() + 1);
    }
    if (expects && has_body) {
        const std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
        if (::send(c.fd, go_on.data(), go_on.size(), MSG_NOSIGNAL) !=
            static_cast<ssize_t>(go_on.size())) {
            close(c, true);
            return false;
        }
    }
    return true;
}

void Node::note(const Connection& c, Note what) {
    const Record record{c.id, static_cast<std::uint8_t>(what),
                        static_cast<std::uint8_t>(c.operation), 0,
                        static_cast<std::uint32_t>(c.check.length())};
    if (::write(notes_, &record, sizeof record) != sizeof record) {
        std::perror("soak_node: notes");
        std::exit(3);
    }
}

// The request is complete.
bool Node::on_request(Connection& c) {
    c.phase = Connection::Phase::answer;
    c.out.clear();
    c.closes = c.in.closes();
    c.is_until_close = false;
    if (c.id == 0) {
        answer_health(c);
        return true;
    }
    if (c.operation == Operation::tunnel) {
        open_tunnel(c);
        return true;
    }
    const std::string_view digest = c.in.field("x-soak-digest");
    if (!c.check.ends_right(c.expected.empty() && digest.empty() ? sha256_of(hash_, {}) : digest)) {
        std::fprintf(stderr, "soak_node: wrong body in %.*s: %llu bytes of %zu\n",
                     static_cast<int>(c.in.target().size()), c.in.target().data(),
                     static_cast<unsigned long long>(c.check.length()), c.expected.size());
        note(c, Note::corrupt);
        close(c, true);
        return false;
    }
    if (c.mode == Mode::status) {
        injected(status_late);
        // A 503 without a load code means "not executed" for requests that the proxy repeats
        // elsewhere. All other requests are executed despite the error, so they must not be
        // repeated.
        const bool is_refused =
            status_ == 503 && (c.operation == Operation::put || c.operation == Operation::part ||
                               c.operation == Operation::remove);
        if (is_write(c.operation) && !is_refused) {
            note(c, Note::executed);
        }
        answer_error(c, false);
        return true;
    }
    if (is_write(c.operation)) {
        note(c, Note::executed);
    }
    if (c.mode == Mode::cut && chance_.permille(300)) {
        injected(cut_unanswered);
        close(c, chance_.permille(500));
        return false;
    }
    if (c.mode == Mode::lie) {
        injected(lied);
        lie(c);
        return true;
    }
    answer(c);
    return true;
}

void Node::open_tunnel(Connection& c) {
    c.phase = Connection::Phase::tunnel;
    c.closes = false;
    put_head(c, "101 Switching Protocols", "Connection: upgrade\r\nUpgrade: websocket\r\n");
}

void Node::answer_health(Connection& c) {
    if (health_ != Health::ok) {
        injected(unhealthy);
    }
    switch (health_) {
        case Health::ok:
            c.out.text("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            return;
        case Health::bad:
            c.out.text("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
            return;
        case Health::offline:
            c.out.text(
                "HTTP/1.1 200 OK\r\nX-Minio-Server-Status: offline\r\nContent-Length: 0\r\n\r\n");
            return;
        case Health::hang:
            c.phase = Connection::Phase::refused;
            return;
    }
}

void Node::put_head(Connection& c, std::string_view status, std::string_view fields) {
    line_ = "HTTP/1.1 ";
    line_.append(status).append("\r\nServer: soak\r\nx-soak-node: ").append(name_);
    line_.append("\r\nx-soak-id: ").append(text_of(c.id));
    line_.append("\r\n").append(fields).append("\r\n");
    c.out.text(line_);
}

void Node::answer_error(Connection& c, bool closes) {
    c.out.clear();
    c.closes = c.closes || closes;
    const bool is_load = status_ == 0;
    const int status = is_load ? 503 : status_;
    const std::string code = is_load ? "SlowDown" : "InternalError";
    const std::string body =
        "<Error><Code>" + code + "</Code><Id>" + text_of(c.id) + "</Id></Error>";
    std::string fields = "Content-Length: " + std::to_string(body.size()) + "\r\n";
    if (is_load) {
        fields += "x-minio-error-code: SlowDown\r\n";
    }
    if (c.closes) {
        fields += "Connection: close\r\n";
    }
    put_head(c, std::to_string(status) + " Error", fields);
    if (c.operation != Operation::head) {
        c.out.text(body);
    }
}

void Node::answer(Connection& c) {
    std::string fields = c.closes ? "Connection: close\r\n" : "";
    std::string_view body;
    std::string text;
    std::string status = "200 OK";
    switch (c.operation) {
        case Operation::get:
        case Operation::complete:
        case Operation::head:
            body = content_.body_of(c.id, Way::down);
            break;
        case Operation::range: {
            body = content_.body_of(c.id, Way::down);
            const std::string_view range = c.in.field("range");
            std::size_t first = 0;
            std::size_t last = 0;
            const char* const end = range.data() + range.size();
            const auto at = std::from_chars(range.data() + 6, end, first).ptr;
            std::from_chars(at + 1, end, last);
            fields += "Content-Range: bytes " + std::to_string(first) + "-" + std::to_string(last) +
                      "/" + std::to_string(body.size()) + "\r\n";
            body = body.substr(first, last - first + 1);
            status = "206 Partial Content";
            break;
        }
        case Operation::create:
            text = "<UploadId>" + text_of(scatter(c.id)) + "</UploadId>";
            body = text;
            break;
        case Operation::remove:
            status = "204 No Content";
            break;
        case Operation::options:
        case Operation::put:
        case Operation::put_conditional:
        case Operation::part:
        case Operation::tunnel:
            break;
    }
    if (c.operation == Operation::remove) {
        put_head(c, status, fields);
        spoil_answer(c, c.out.size());
        return;
    }
    if (c.operation != Operation::head) {
        fields += "x-soak-digest: " + sha256_of(hash_, body) + "\r\n";
    }
    const std::uint64_t shape = chance_.below(100);
    const bool can_choose = (c.operation == Operation::get || c.operation == Operation::complete) &&
                            c.in.count("x-soak-slow") == 0;
    if (can_choose && shape < 8) {
        // A node that dies inside such a body must not seem to end it: until the whole body is
        // sent, every end of this connection is a reset.
        c.is_until_close = true;
        c.closes = true;
        reset_on_close(c.fd, true);
        put_head(c, status, fields + "Connection: close\r\n");
    } else if (can_choose && shape < 40) {
        put_head(c, status, fields + "Transfer-Encoding: chunked\r\n");
        const std::size_t head = c.out.size();
        c.out.chunked(body, body.size() / (1 + chance_.below(12)) + 1);
        spoil_answer(c, head);
        return;
    } else {
        put_head(c, status, fields + "Content-Length: " + std::to_string(body.size()) + "\r\n");
    }
    const std::size_t head = c.out.size();
    if (c.operation == Operation::head) {
        spoil_answer(c, head);
        return;
    }
    if (body.data() == text.data()) {
        c.out.text(text);
    } else {
        c.out.body(body);
    }
    constexpr unsigned kPauses = 60;
    if (const std::string slow(c.in.field("x-soak-slow")); !slow.empty()) {
        c.out.slow_down(head + 1, body.size() / (kPauses + 1), kPauses,
                        std::strtoull(slow.c_str(), nullptr, 10) / kPauses);
    }
    spoil_answer(c, head);
}

// Applies cut, slow and idle to a correct answer.
void Node::spoil_answer(Connection& c, std::size_t head) {
    const std::size_t size = c.out.size();
    if (c.mode == Mode::cut) {
        if (size > head && chance_.permille(600)) {
            injected(cut_in_body);
            c.out.cut(head + chance_.below(size - head));
        } else {
            injected(cut_in_head);
            c.out.cut(chance_.below(head));
        }
        c.closes = true;
        // Without a length only a reset distinguishes a cut from the end.
        const bool resets = c.is_until_close || chance_.permille(500);
        c.out.end(resets);
    } else if (c.mode == Mode::slow) {
        injected(slowed);
        if (chance_.permille(500)) {
            c.out.slow_down(0, 1, 1, chance_.between(1, 400));
        } else {
            c.out.slow_down(chance_.below(size), size / 8 + 1, 4, chance_.between(1, 60));
        }
    } else if (c.mode == Mode::idle && !c.closes) {
        switch (chance_.below(3)) {
            case 0:
                injected(closed_idle);
                c.closes = true;
                break;
            case 1:
                injected(closed_later);
                c.closes = true;
                c.out.pause(chance_.between(1, 10));
                c.out.end(chance_.permille(500));
                break;
            default:
                injected(closed_on_next);
                c.dies_on_next = true;
                break;
        }
    }
}

// Answers that a proxy must not relay unchanged, and correct answers with a surplus.
void Node::lie(Connection& c) {
    const std::string evil =
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nx-soak-id: 00000000deadbeef\r\n\r\nEVIL";
    // Tells the client of a HEAD to ignore the length, because the answer frames nothing.
    const std::string odd = "x-soak-odd-framing: 1\r\n";
    c.closes = true;
    switch (chance_.below(13)) {
        case 0:
            c.out.text("ICY 200 OK\r\nContent-Length: 0\r\n\r\n");
            break;
        case 1:
            c.out.body(content_.body_of(c.id | 1, Way::down).substr(0, 700));
            break;
        case 2:
            put_head(c, "200 OK", odd + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n");
            c.out.text("4\r\nEVIL\r\n0\r\n\r\n");
            break;
        case 3:
            put_head(c, "200 OK", odd + "Content-Length: 4\r\nContent-Length: 5\r\n");
            c.out.text("EVIL!");
            break;
        case 4:
            put_head(c, "200 OK", odd + "Content-Length: 00x4\r\n");
            c.out.text("EVIL");
            break;
        case 5:
            put_head(c, "101 Switching Protocols", "Upgrade: evil\r\nConnection: upgrade\r\n");
            c.out.text("EVIL");
            break;
        case 6:
            put_head(c, "200 OK",
                     "Content-Length: 0\r\nX-Long: " + std::string(200 << 10, 'x') + "\r\n");
            break;
        case 7:
            for (int i = 0; i < 100; ++i) {
                c.out.text("HTTP/1.1 103 Early Hints\r\nLink: </evil>\r\n\r\n");
            }
            c.mode = Mode::ok;
            answer(c);
            break;
        case 8:
            if (c.operation == Operation::get) {
                put_head(c, "200 OK", "Transfer-Encoding: chunked\r\n");
                c.out.text("1\r\nE\r\nzz\r\nVIL\r\n0\r\n\r\n");
                break;
            }
            [[fallthrough]];
        case 9:
            if (c.operation == Operation::get) {
                put_head(c, "200 OK", "Transfer-Encoding: chunked\r\n");
                c.out.text("2\r\nEVIL\r\n0\r\n\r\n");
                break;
            }
            [[fallthrough]];
        case 10: {
            // A wrong length.
            put_head(c, "200 OK", "Content-Length: 1000\r\n");
            c.out.text(c.operation == Operation::head ? "" : "EVIL");
            if (c.operation == Operation::head) {
                c.out.cut(20);
            }
            break;
        }
        case 11:
            // Correct, then a whole answer without a request. Only in one piece: bytes that arrive
            // later, when the connection is in use again, look like the answer to the next request.
            c.mode = Mode::ok;
            c.closes = false;
            answer(c);
            if (!c.is_until_close && c.out.size() < (16 << 10)) {
                c.out.text(evil);
            }
            break;
        default:
            // Correct, then garbage a moment later, possibly during the next request.
            c.mode = Mode::ok;
            c.closes = false;
            answer(c);
            if (!c.is_until_close) {
                c.out.pause(chance_.between(0, 5));
                c.out.text("EVIL!\r\n\r\n");
            }
            break;
    }
}

}  // namespace
}  // namespace soak

int main(int argc, char** argv) {
    if (argc == 2 && std::strcmp(argv[1], "--faults") == 0) {
        for (const char* name : soak::kFaultNames) {
            std::puts(name);
        }
        return 0;
    }
    const std::string address = argc == 5 ? argv[1] : "";
    const std::size_t colon = address.find(':');
    if (!address.starts_with("127.") || colon == std::string::npos) {
        std::fprintf(stderr, "usage: soak_node 127.…:PORT NOTES COUNTERS SEED\n");
        return 2;
    }
    std::signal(SIGPIPE, SIG_IGN);
    soak::Node node(address.substr(0, colon), std::atoi(address.c_str() + colon + 1), argv[2],
                    argv[3], std::strtoull(argv[4], nullptr, 10));
    node.run();
    return 0;
}
