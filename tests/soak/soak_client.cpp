// The clients of the soak test: many connections on one thread. Each sends one request after the
// other and judges every answer. The fate of each request is a record in a file (peer.hpp).
//
//     soak_client HOST:PORT RECORDS CONNECTIONS SEED [NAME=NUMBER…]
//
// CONNECTIONS clients do a bit of everything. With any of the further numbers, no client leaves
// early, every failure is told on stderr, and there are clients besides: `fresh` ones, with a
// connection for each request; `idle` ones, which send a POST on a connection that was quiet for 5
// to 20 s; `slow` ones, whose PUTs and GETs take `slow_ms` each and whose first ones begin
// `slow_apart_ms` after each other, and `medium` ones with
// `medium_ms`; `tunnel` ones, which leave after `tunnel_ms` if that is given. `keys`: the number of
// sessions that all of them share; the end says which nodes served each of them. `crowded`: the
// fresh ones have so many addresses of their own instead of one for some four clients. `grace_ms`:
// requests of slow, medium and tunnel clients that end without their answer after so long are
// counted as "overdue"; a SlowDown of the proxy is counted as "slow_downs" always. Neither is told.
//
// Lines on stdin: `calm` (from here on no request may fail; counted separately), `stop` (no further
// request; those in progress end), `quick` (no further slow request), `use HOST:PORT` and `leave
// HOST:PORT` (another address for new connections; a line with "left" confirms that it is left). A
// JSON line per second on stdout, the last one with "ended". Every id is FIRST + its number, where
// FIRST is in the first line. Loopback only.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "content.hpp"
#include "message.hpp"
#include "peer.hpp"

namespace soak {
namespace {

constexpr std::uint64_t kHungAfter = 60'000;     // ms without any event
constexpr std::uint64_t kContinueAfter = 1'000;  // ms that a client waits for a 100
constexpr std::uint64_t kSources = 40;  // client addresses: requests without a key go by them
constexpr std::uint32_t kSourceNetwork = 0x7f010101u;   // 127.1.1.1
constexpr std::uint32_t kCrowdedNetwork = 0x7f010201u;  // 127.1.2.1
constexpr std::uint64_t kCommands = 0xfffffffe;
constexpr std::size_t kErrorLimit = 4096;
constexpr std::size_t kNoKey = SIZE_MAX;
constexpr std::size_t kLargeEnough = 4096;  // bytes of a slow body
constexpr unsigned kPauses = 60;            // in a slow body
constexpr std::uint64_t kSayEvery = 500;    // ms between two words in a tunnel
constexpr unsigned kToldFailures = 50;

// A client's behaviour.
enum class Plan : std::uint8_t {
    none,
    upload_fin,
    upload_reset,
    download_fin,
    download_reset,
    half_close,  // after the whole request; the answer must still come
    slow_send,
    slow_read,
};

// What a client is there for.
enum class Role : std::uint8_t { mixed, fresh, idle, slow, medium, tunnel };

// The numbers on the command line.
struct Crowd {
    std::size_t mixed = 0;
    std::size_t fresh = 0;
    std::size_t idle = 0;
    std::size_t slow = 0;
    std::size_t medium = 0;
    std::size_t tunnel = 0;
    std::size_t slow_ms = 60'000;
    std::size_t slow_apart_ms = 0;
    std::size_t medium_ms = 1'000;
    std::size_t tunnel_ms = 0;  // 0: a tunnel lasts until the end
    std::size_t keys = 0;
    std::size_t crowded = 0;
    std::size_t grace_ms = 0;
    bool is_steady = false;  // nobody leaves early
};

struct Client {
    std::size_t slot = 0;
    Role role = Role::mixed;
    int fd = -1;
    std::uint64_t token = 0;
    bool is_connecting = false;
    bool is_busy = false;  // a request is in progress
    bool is_readable = false;
    bool has_peer_ended = false;  // sent FIN or reset; its last bytes may be unread
    bool cannot_send = false;     // the peer ended; its answer may have arrived
    std::uint64_t begin_at = 0;   // earliest time
    std::uint64_t begun_at = 0;   // the request
    std::uint64_t moved_at = 0;
    std::uint64_t read_again_at = 0;
    unsigned slow_reads = 0;
    unsigned requests_left = 0;

    // The request
    Operation operation = Operation::get;
    std::uint64_t id = 0;
    std::string id_text;
    std::string_view upload;
    std::string upload_text;
    bool is_chunked = false;
    bool is_http_10 = false;
    bool is_last = false;     // this client closes after the answer
    bool holds_body = false;  // waits for 100
    bool is_calm = false;
    std::uint64_t send_body_at = 0;
    std::size_t range_first = 0, range_last = 0;
    Plan plan = Plan::none;
    std::size_t plan_at = 0;
    Script out;

    // The answer
    Message in;
    BodyCheck check;
    std::string_view expected;
    std::string expected_text;
    bool has_head = false;
    bool is_error = false;
    bool is_from_node = false;
    bool is_wrong = false;  // the head is wrong already
    std::string error_text;
    std::uint64_t got = 0;  // body bytes

    // A multipart upload in progress
    std::string upload_id;
    unsigned part = 0, parts = 0, part_failures = 0;
    std::string session;
    unsigned session_left = 0;
    std::size_t key = kNoKey;  // of the session

    std::uint64_t dialled_at = 0;
    std::string target;
    std::string echo;  // that a tunnel has not sent back yet
};

// UTC, as the daemon's log has it: "20:49:58.606".
std::string time_of_day() {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    const auto seconds = static_cast<unsigned>(now.tv_sec % 86400);
    std::array<char, 64> text{};
    std::snprintf(text.data(), text.size(), "%02u:%02u:%02u.%03u", seconds / 3600,
                  seconds / 60 % 60, seconds % 60, static_cast<unsigned>(now.tv_nsec / 1'000'000));
    return text.data();
}

bool is_in_tunnel(const Client& c) {
    return c.operation == Operation::tunnel && c.has_head && !c.is_error;
}

// Its requests take a long time on purpose.
bool is_long(const Client& c) {
    return c.role == Role::slow || c.role == Role::medium;
}

// The proxy's word for a limit of its own. The answer to HEAD has no body to say it.
bool is_slow_down(const Client& c, Outcome outcome) {
    return outcome == Outcome::error_of_proxy && c.in.status() == 503 &&
           (c.operation == Operation::head ||
            c.error_text.find("<Code>SlowDown</Code>") != std::string::npos);
}

class Clients {
  public:
    Clients(const std::string& address, const std::string& records, const Crowd& crowd,
            std::uint64_t seed);
    void run();

  private:
    void on_commands();
    void on_command(const std::string& line);
    void add_clients(Role role, std::size_t count);
    std::uint32_t source_of(const Client& c) const;
    // True for the end of a request that has had `grace_ms`.
    bool is_overdue(const Client& c, Outcome outcome) const;
    void look_after_all();
    void dial(Client& c);
    void begin(Client& c);
    void choose_operation(Client& c);
    // The time that a request of a slow or a medium client takes.
    std::size_t milliseconds_of(const Client& c) const {
        return c.role == Role::medium ? crowd_.medium_ms : crowd_.slow_ms;
    }
    void choose_session(Client& c);
    void skip_to_large_body(Way way);
    // False if the request ended.
    bool talk(Client& c);
    void choose_plan(Client& c);
    void put_request(Client& c);
    void put_body(Client& c);
    void drive(Client& c);
    // Each returns false if the request ended.
    bool send(Client& c);
    bool read(Client& c);
    bool feed(Client& c, std::string_view bytes);
    bool on_head(Client& c);
    void judge(Client& c);
    void end_request(Client& c, Outcome outcome, bool keeps, const char* why = "");
    void tell_idle_close(const Client& c);
    void disconnect(Client& c, bool reset);
    void go_on_with_upload(Client& c, bool ok);
    void print(bool has_ended);
    void flush();

    Content content_{Sizes{}};
    Chance chance_;
    Sha256 hash_;
    Loop loop_;
    Crowd crowd_;
    std::vector<std::pair<std::string, sockaddr_in>> targets_;
    std::vector<std::uint64_t> nodes_of_key_;  // a bit for each node
    std::uint64_t slowest_connect_ = 0;
    unsigned told_ = 0;
    int records_ = -1;
    std::vector<Record> pending_;
    std::vector<std::unique_ptr<Client>> clients_;
    std::uint64_t first_id_;
    std::uint64_t begun_ = 0;
    std::uint64_t ended_ = 0;
    std::uint64_t calm_begun_ = 0;
    std::uint64_t calm_failed_ = 0;
    std::uint64_t idle_closed_ = 0;
    std::uint64_t told_to_leave_ = 0;  // by an answer with "Connection: close"
    std::uint64_t slow_downs_ = 0;
    std::uint64_t overdue_ = 0;
    std::uint64_t oldest_overdue_ = 0;
    std::uint64_t connections_ = 0;
    std::uint64_t bytes_up_ = 0;
    std::uint64_t bytes_down_ = 0;
    std::array<std::array<std::uint64_t, kOutcomes>, kOperations> counts_{};
    bool is_calm_ = false;
    bool is_stopping_ = false;
    bool is_quick_ = false;
    std::uint64_t generation_ = 1;
    std::string commands_;
    std::vector<char> buffer_ = std::vector<char>(256 << 10);
    std::string line_;
    std::uint64_t started_at_;
};

bool read_address(const std::string& text, sockaddr_in& out) {
    const std::size_t colon = text.find(':');
    if (!text.starts_with("127.") || colon == std::string::npos) {
        return false;
    }
    out.sin_family = AF_INET;
    out.sin_port = htons(static_cast<std::uint16_t>(std::atoi(text.c_str() + colon + 1)));
    out.sin_addr.s_addr = inet_addr(text.substr(0, colon).c_str());
    return true;
}

Clients::Clients(const std::string& address, const std::string& records, const Crowd& crowd,
                 std::uint64_t seed)
    : chance_(scatter(seed + 1)),
      crowd_(crowd),
      nodes_of_key_(crowd.keys),
      first_id_(scatter(seed) & 0xffffff0000000000ULL),
      started_at_(now_ms()) {
    on_command("use " + address);
    records_ = ::open(records.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (records_ < 0) {
        std::perror("soak_client: records");
        std::exit(3);
    }
    add_clients(Role::mixed, crowd.mixed);
    add_clients(Role::fresh, crowd.fresh);
    add_clients(Role::idle, crowd.idle);
    add_clients(Role::slow, crowd.slow);
    add_clients(Role::medium, crowd.medium);
    add_clients(Role::tunnel, crowd.tunnel);
    ::fcntl(0, F_SETFL, O_NONBLOCK);
    loop_.add(0, kCommands);
}

void Clients::add_clients(Role role, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        clients_.push_back(std::make_unique<Client>());
        clients_.back()->slot = clients_.size() - 1;
        clients_.back()->role = role;
        clients_.back()->begin_at = role == Role::slow ? started_at_ + i * crowd_.slow_apart_ms : 0;
    }
}

std::uint32_t Clients::source_of(const Client& c) const {
    return c.role == Role::fresh && crowd_.crowded > 0
               ? kCrowdedNetwork + static_cast<std::uint32_t>(c.slot % crowd_.crowded)
               : kSourceNetwork + static_cast<std::uint32_t>(c.slot % kSources);
}

bool Clients::is_overdue(const Client& c, Outcome outcome) const {
    return crowd_.grace_ms > 0 && (is_long(c) || c.role == Role::tunnel) &&
           (outcome == Outcome::cut || outcome == Outcome::error_of_proxy) &&
           now_ms() - c.begun_at >= crowd_.grace_ms;
}

void Clients::run() {
    std::printf("{\"first\": \"%s\"}\n", text_of(first_id_).c_str());
    std::fflush(stdout);
    const auto client_of = [this](std::uint64_t token) -> Client* {
        const std::size_t slot = token & 0xffffffff;
        return slot < clients_.size() && clients_[slot]->token == token ? clients_[slot].get()
                                                                        : nullptr;
    };
    const Loop::OnEvent on_event = [&](std::uint64_t token, std::uint32_t events) {
        if (token == kCommands) {
            on_commands();
        } else if (Client* const c = client_of(token); c != nullptr && c->fd >= 0) {
            c->has_peer_ended =
                c->has_peer_ended || (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
            c->is_readable = c->is_readable || c->has_peer_ended || (events & EPOLLIN) != 0;
            drive(*c);
        }
    };
    const Loop::OnTimer on_timer = [&](std::uint64_t token) {
        if (Client* const c = client_of(token)) {
            drive(*c);
        }
    };
    for (auto& client : clients_) {
        client->token = client->slot | ++generation_ << 32;
        drive(*client);
    }
    std::uint64_t next_second = now_ms() + 1000;
    for (;;) {
        loop_.turn(100, on_event, on_timer);
        if (now_ms() >= next_second) {
            next_second = now_ms() + 1000;
            look_after_all();
            print(false);
        }
        if (is_stopping_ && std::none_of(clients_.begin(), clients_.end(),
                                         [](const auto& client) { return client->is_busy; })) {
            break;
        }
    }
    for (auto& client : clients_) {
        if (client->fd >= 0) {
            disconnect(*client, false);
        }
    }
    flush();
    print(true);
}

void Clients::on_commands() {
    ssize_t got = 0;
    while ((got = ::read(0, buffer_.data(), buffer_.size())) > 0) {
        commands_.append(buffer_.data(), static_cast<std::size_t>(got));
    }
    is_stopping_ = is_stopping_ || got == 0;
    for (std::size_t end = 0; (end = commands_.find('\n')) != std::string::npos;) {
        const std::string line = commands_.substr(0, end);
        commands_.erase(0, end + 1);
        on_command(line);
    }
    if (is_stopping_) {
        for (auto& client : clients_) {
            if (client->operation == Operation::tunnel && client->is_busy) {
                drive(*client);
            }
        }
    }
}

void Clients::on_command(const std::string& line) {
    is_calm_ = is_calm_ || line == "calm";
    is_stopping_ = is_stopping_ || line == "stop";
    is_quick_ = is_quick_ || line == "quick";
    const std::string word = line.substr(0, line.find(' '));
    const std::string address = line.substr(std::min(word.size() + 1, line.size()));
    sockaddr_in target{};
    if (word == "use" && read_address(address, target)) {
        targets_.emplace_back(address, target);
    } else if (word == "leave") {
        std::erase_if(targets_, [&](const auto& item) { return item.first == address; });
        std::printf("{\"left\": \"%s\"}\n", address.c_str());
        std::fflush(stdout);
    }
}

void Clients::look_after_all() {
    const std::uint64_t now = now_ms();
    for (auto& client : clients_) {
        if (client->is_busy && now - client->moved_at > kHungAfter) {
            end_request(*client, Outcome::hung, false, "nothing happened");
        }
    }
}

void Clients::dial(Client& c) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ::setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    sockaddr_in source{};
    source.sin_family = AF_INET;
    source.sin_addr.s_addr = htonl(source_of(c));
    if (fd < 0 || ::bind(fd, reinterpret_cast<sockaddr*>(&source), sizeof source) != 0) {
        std::perror("soak_client: socket");
        std::exit(3);
    }
    c.fd = fd;
    c.token = c.slot | ++generation_ << 32;
    c.is_connecting = true;
    c.is_readable = c.has_peer_ended = c.cannot_send = false;
    c.requests_left = static_cast<unsigned>(chance_.permille(100) ? 1 : chance_.between(2, 300));
    if (c.role != Role::mixed) {
        c.requests_left = c.role == Role::fresh || c.role == Role::tunnel ? 1 : UINT32_MAX;
    }
    c.dialled_at = now_ms();
    ++connections_;
    // An error shows at the first send.
    const auto& [name, target] = targets_[chance_.below(targets_.size())];
    c.target = name;
    (void)!::connect(fd, reinterpret_cast<const sockaddr*>(&target), sizeof target);
    loop_.add(fd, c.token);
}

void Clients::disconnect(Client& c, bool reset) {
    reset_on_close(c.fd, reset);
    ::close(c.fd);
    c.fd = -1;
    // Timers and events for the old connection no longer match.
    c.token = c.slot | ++generation_ << 32;
}

void Clients::drive(Client& c) {
    for (;;) {
        if (!c.is_busy) {
            if (c.fd >= 0 && c.is_readable && !c.is_connecting) {
                // Between two requests only the end may come.
                char byte = 0;
                const ssize_t got = ::recv(c.fd, &byte, 1, 0);
                if (got > 0) {
                    std::fprintf(stderr, "soak_client: bytes behind the answer to %s\n",
                                 c.id_text.c_str());
                    end_request(c, Outcome::malformed, false, "bytes behind an answer");
                    continue;
                }
                if (got == 0 || errno != EAGAIN) {
                    ++idle_closed_;
                    tell_idle_close(c);
                    disconnect(c, false);
                } else {
                    c.is_readable = false;
                }
            }
            if (is_stopping_ || (is_quick_ && c.role == Role::slow)) {
                return;
            }
            if (c.begin_at > now_ms()) {
                loop_.wake(c.token, c.begin_at);
                return;
            }
            begin(c);
        }
        if (!send(c) || !talk(c)) {
            continue;
        }
        bool has_ended = false;
        while (c.is_readable && !c.is_connecting) {
            if (c.read_again_at > now_ms()) {
                loop_.wake(c.token, c.read_again_at);
                return;
            }
            if (!read(c)) {
                has_ended = true;
                break;
            }
            if (!send(c) || !talk(c)) {
                has_ended = true;
                break;
            }
        }
        if (!has_ended) {
            return;
        }
    }
}

void Clients::tell_idle_close(const Client& c) {
    if (crowd_.is_steady && told_++ < kToldFailures) {
        std::fprintf(
            stderr,
            "soak_client: %s: closed when idle, after %s %s (role %d); to %s, dialled %llu "
            "ms ago\n",
            time_of_day().c_str(), kOperationNames[static_cast<std::size_t>(c.operation)],
            c.id_text.c_str(), static_cast<int>(c.role), c.target.c_str(),
            static_cast<unsigned long long>(now_ms() - c.dialled_at));
    }
}

// What a tunnel does: say a word, hear it, wait, and leave at the end.
bool Clients::talk(Client& c) {
    if (!is_in_tunnel(c) || !c.echo.empty()) {
        return true;
    }
    const bool has_had_its_time = crowd_.tunnel_ms > 0 && now_ms() - c.begun_at >= crowd_.tunnel_ms;
    if (is_stopping_ || has_had_its_time) {
        end_request(c, Outcome::ok, false);
        return false;
    }
    if (now_ms() < c.send_body_at) {
        loop_.wake(c.token, c.send_body_at);
        return true;
    }
    c.send_body_at = now_ms() + kSayEvery;
    c.echo = text_of(chance_.next());
    c.out.clear();
    c.out.text(c.echo);
    return send(c);
}

void Clients::begin(Client& c) {
    if (c.fd < 0) {
        dial(c);
    }
    if (is_long(c)) {
        c.operation = chance_.permille(500) ? Operation::put : Operation::get;
        skip_to_large_body(c.operation == Operation::put ? Way::up : Way::down);
    }
    c.is_busy = true;
    c.is_calm = is_calm_;
    calm_begun_ += is_calm_;
    c.id = first_id_ + begun_++;
    c.id_text = text_of(c.id);
    c.begun_at = c.moved_at = now_ms();
    c.read_again_at = 0;
    c.slow_reads = 0;
    c.has_head = c.is_error = c.is_from_node = c.is_wrong = c.holds_body = false;
    c.got = 0;
    c.error_text.clear();
    c.out.clear();
    choose_operation(c);
    put_request(c);
    c.in.expect_response(c.operation != Operation::head);
}

// Ids whose body is too short to take long are nobody's.
void Clients::skip_to_large_body(Way way) {
    while (content_.body_of(first_id_ + begun_, way).size() < kLargeEnough) {
        ++begun_;
    }
}

void Clients::choose_operation(Client& c) {
    c.is_http_10 = false;
    if (is_long(c)) {
        // begin() has chosen it.
    } else if (c.role == Role::tunnel || c.role == Role::idle) {
        c.operation = c.role == Role::tunnel ? Operation::tunnel : Operation::create;
    } else if (!c.upload_id.empty()) {
        c.operation = c.part <= c.parts ? Operation::part : Operation::complete;
    } else {
        const std::uint64_t draw = chance_.below(1000);
        c.operation = draw < 450   ? Operation::get
                      : draw < 500 ? Operation::range
                      : draw < 600 ? Operation::head
                      : draw < 610 ? Operation::options
                      : draw < 830 ? Operation::put
                      : draw < 860 ? Operation::put_conditional
                      : draw < 950 ? Operation::remove
                                   : Operation::create;
        c.is_http_10 = c.operation == Operation::get && chance_.permille(20);
    }
    c.upload = {};
    if (c.operation == Operation::put || c.operation == Operation::put_conditional ||
        c.operation == Operation::part) {
        c.upload = content_.body_of(c.id, Way::up);
    } else if (c.operation == Operation::complete) {
        c.upload_text = "<CompleteMultipartUpload>" + c.id_text + "</CompleteMultipartUpload>";
        c.upload = c.upload_text;
    }
    c.expected = {};
    if (c.operation == Operation::get || c.operation == Operation::head ||
        c.operation == Operation::complete) {
        c.expected = content_.body_of(c.id, Way::down);
    } else if (c.operation == Operation::range) {
        c.expected = content_.body_of(c.id, Way::down);
        if (c.expected.empty()) {
            c.operation = Operation::get;
        } else {
            c.range_first = chance_.below(c.expected.size());
            c.range_last = chance_.between(c.range_first, c.expected.size() - 1);
            c.expected = c.expected.substr(c.range_first, c.range_last - c.range_first + 1);
        }
    } else if (c.operation == Operation::create) {
        c.expected_text = "<UploadId>" + text_of(scatter(c.id)) + "</UploadId>";
        c.expected = c.expected_text;
    }
}

void Clients::choose_plan(Client& c) {
    c.plan = Plan::none;
    c.plan_at = 0;
    if (crowd_.is_steady) {
        c.plan = is_long(c) && c.operation == Operation::put ? Plan::slow_send : Plan::none;
        return;
    }
    const std::uint64_t draw = chance_.below(1000);
    const bool has_upload = !c.upload.empty();
    if (draw < 4 && has_upload) {
        c.plan = draw < 2 ? Plan::upload_fin : Plan::upload_reset;
    } else if (draw < 8) {
        c.plan = draw < 6 ? Plan::download_fin : Plan::download_reset;
        c.plan_at = c.operation == Operation::head ? 0 : chance_.below(c.expected.size() + 1);
    } else if (draw < 13) {
        c.plan = Plan::half_close;
    } else if (draw < 16) {
        c.plan = Plan::slow_send;
    } else if (draw < 19) {
        c.plan = Plan::slow_read;
        c.slow_reads = static_cast<unsigned>(chance_.between(1, 12));
    }
}

void Clients::put_request(Client& c) {
    choose_plan(c);
    std::string& head = line_;
    const char* method = "GET";
    std::string query = "?id=" + c.id_text;
    switch (c.operation) {
        case Operation::head:
            method = "HEAD";
            break;
        case Operation::options:
            method = "OPTIONS";
            break;
        case Operation::put:
        case Operation::put_conditional:
            method = "PUT";
            break;
        case Operation::part:
            method = "PUT";
            query += "&partNumber=" + std::to_string(c.part) + "&uploadId=" + c.upload_id;
            break;
        case Operation::remove:
            method = "DELETE";
            break;
        case Operation::create:
            method = "POST";
            query += "&uploads";
            break;
        case Operation::complete:
            method = "POST";
            query += "&uploadId=" + c.upload_id;
            break;
        case Operation::get:
        case Operation::range:
        case Operation::tunnel:
            break;
    }
    choose_session(c);
    if (!c.session.empty()) {
        query += "&sessionid=" + c.session;
    }
    --c.requests_left;
    c.is_last = c.requests_left == 0 || c.is_http_10 || c.plan == Plan::half_close;
    head = method;
    head += " /bucket/object-" + std::to_string(chance_.below(100000)) + query;
    head += c.is_http_10 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n";
    head += "Host: s3.soak.test\r\nUser-Agent: soak\r\nx-soak-id: " + c.id_text + "\r\n";
    if (c.is_last && !c.is_http_10 && chance_.permille(500)) {
        head += "Connection: close\r\n";
    }
    if (c.operation == Operation::tunnel) {
        head += "Connection: upgrade\r\nUpgrade: websocket\r\n";
    } else if (is_long(c) && c.operation == Operation::get) {
        head += "x-soak-slow: " + std::to_string(milliseconds_of(c)) + "\r\n";
    }
    if (c.operation == Operation::range) {
        head += "Range: bytes=" + std::to_string(c.range_first) + "-" +
                std::to_string(c.range_last) + "\r\n";
    }
    if (c.operation == Operation::put_conditional) {
        head += "If-None-Match: *\r\n";
    }
    const bool has_body = c.operation == Operation::put ||
                          c.operation == Operation::put_conditional ||
                          c.operation == Operation::part || c.operation == Operation::complete;
    if (has_body) {
        head += "x-soak-digest: " + sha256_of(hash_, c.upload) + "\r\n";
        c.is_chunked = chance_.permille(300);
        head += c.is_chunked ? "Transfer-Encoding: chunked\r\n"
                             : "Content-Length: " + std::to_string(c.upload.size()) + "\r\n";
        c.holds_body = !c.upload.empty() && !is_long(c) && chance_.permille(80);
        if (c.holds_body) {
            head += "Expect: 100-continue\r\n";
            c.send_body_at = c.moved_at + kContinueAfter;
            loop_.wake(c.token, c.send_body_at);
        }
    } else if (c.operation == Operation::create) {
        head += "Content-Length: 0\r\n";
    }
    head += "\r\n";
    c.out.text(head);
    if (has_body && !c.holds_body) {
        put_body(c);
    } else if (!has_body && c.plan == Plan::half_close) {
        c.out.end(false);
    }
    if (is_long(c) && c.plan == Plan::slow_send) {
        // The head goes out at once: it has a time limit of its own.
        c.out.slow_down(head.size() + 1, c.upload.size() / (kPauses + 1), kPauses,
                        milliseconds_of(c) / kPauses);
    } else if (c.plan == Plan::slow_send) {
        c.out.slow_down(chance_.below(c.out.size()), c.out.size() / 6 + 1, 5,
                        chance_.between(1, 40));
    }
}

// Half of the clients use a session for a while, the rest their address; multipart uploads also
// their uploadId.
void Clients::choose_session(Client& c) {
    if (c.session_left == 0) {
        c.session_left = static_cast<unsigned>(chance_.between(1, 100));
        c.session = chance_.permille(500) ? text_of(chance_.next()) : "";
        c.key = kNoKey;
        if (!c.session.empty() && crowd_.keys > 0) {
            c.key = chance_.below(crowd_.keys);
            c.session = "key-" + std::to_string(c.key);
        }
    }
    --c.session_left;
}

void Clients::put_body(Client& c) {
    c.holds_body = false;
    const std::size_t head = c.out.size();
    if (c.is_chunked) {
        c.out.chunked(c.upload, c.upload.size() / (1 + chance_.below(20)) + 1);
    } else {
        c.out.body(c.upload);
    }
    if (c.plan == Plan::upload_fin || c.plan == Plan::upload_reset) {
        c.out.cut(head + chance_.below(c.out.size() - head));
        c.out.end(c.plan == Plan::upload_reset);
    } else if (c.plan == Plan::half_close) {
        c.out.end(false);
    }
}

bool Clients::send(Client& c) {
    if (c.is_connecting) {
        int error = 0;
        socklen_t length = sizeof error;
        sockaddr_in peer{};
        socklen_t peer_length = sizeof peer;
        ::getsockopt(c.fd, SOL_SOCKET, SO_ERROR, &error, &length);
        if (error != 0) {
            end_request(c, Outcome::refused, false, std::strerror(error));
            return false;
        }
        if (::getpeername(c.fd, reinterpret_cast<sockaddr*>(&peer), &peer_length) != 0) {
            return true;  // not yet
        }
        c.is_connecting = false;
        c.moved_at = now_ms();
        slowest_connect_ = std::max(slowest_connect_, c.moved_at - c.dialled_at);
    }
    if (c.holds_body && now_ms() >= c.send_body_at) {
        put_body(c);
    }
    if (c.cannot_send || c.out.is_done()) {
        return true;
    }
    const std::size_t before = c.out.sent();
    const Script::Result result = c.out.send(c.fd);
    if (c.out.sent() != before) {
        c.moved_at = now_ms();
    }
    switch (result) {
        case Script::Result::done:
        case Script::Result::blocked:
            break;
        case Script::Result::paused:
            loop_.wake(c.token, c.out.wake_at());
            break;
        case Script::Result::finned:
            if (c.plan == Plan::upload_fin) {
                end_request(c, Outcome::aborted, false);
                return false;
            }
            break;
        case Script::Result::ended:
            if (c.plan == Plan::upload_reset && c.out.is_done()) {
                end_request(c, Outcome::aborted, false);
                return false;
            }
            // An answer may have arrived before the peer ended.
            c.cannot_send = true;
            c.is_readable = true;
            break;
    }
    const bool is_sent = c.out.is_done() && !c.holds_body;
    if (is_sent && c.plan_at == 0 &&
        (c.plan == Plan::download_fin || c.plan == Plan::download_reset)) {
        end_request(c, Outcome::aborted_late, false);
        return false;
    }
    return true;
}

bool Clients::read(Client& c) {
    std::size_t room = buffer_.size();
    if (c.slow_reads > 0) {
        --c.slow_reads;
        room = 700;
        c.read_again_at = now_ms() + chance_.between(1, 40);
    }
    const ssize_t got = ::recv(c.fd, buffer_.data(), room, 0);
    if (got < 0 && errno == EAGAIN) {
        c.is_readable = false;
        c.read_again_at = 0;
        return true;
    }
    if (got <= 0) {
        if (got == 0) {
            c.in.end_of_stream();
        }
        if (c.has_head && c.in.state() == Message::State::done && !is_in_tunnel(c)) {
            judge(c);
        } else if (c.plan == Plan::upload_fin || c.plan == Plan::upload_reset) {
            end_request(c, Outcome::aborted, false);
        } else {
            end_request(c, Outcome::cut, false);
        }
        return false;
    }
    c.moved_at = now_ms();
    // A short read drained the socket; further bytes cause an event.
    c.is_readable = c.has_peer_ended || static_cast<std::size_t>(got) == room;
    return feed(c, {buffer_.data(), static_cast<std::size_t>(got)});
}

bool Clients::feed(Client& c, std::string_view bytes) {
    while (!bytes.empty()) {
        const bool had_head = c.in.state() != Message::State::head;
        if (is_in_tunnel(c)) {
            c.got += bytes.size();
            if (!c.echo.starts_with(bytes)) {
                end_request(c, Outcome::corrupt, false, "echo");
                return false;
            }
            c.echo.erase(0, bytes.size());
            return true;
        }
        bytes.remove_prefix(c.in.take(bytes, [&c](std::string_view piece) {
            c.got += piece.size();
            if (c.is_error) {
                c.error_text.append(
                    piece.substr(0, kErrorLimit - std::min(kErrorLimit, c.error_text.size())));
            } else {
                c.check.add(piece);
            }
        }));
        if (c.in.state() == Message::State::broken) {
            end_request(c, Outcome::malformed, false, c.in.problem());
            return false;
        }
        if (!had_head && c.in.state() != Message::State::head && !on_head(c)) {
            return false;
        }
        if (is_in_tunnel(c)) {
            continue;
        }
        if (c.in.state() == Message::State::done && c.has_head) {
            if (!bytes.empty()) {
                end_request(c, Outcome::malformed, false, "bytes behind the answer");
            } else {
                judge(c);
            }
            return false;
        }
    }
    if (c.has_head && c.got >= c.plan_at &&
        (c.plan == Plan::download_fin || c.plan == Plan::download_reset)) {
        end_request(c, c.out.is_done() && !c.holds_body ? Outcome::aborted_late : Outcome::aborted,
                    false);
        return false;
    }
    return true;
}

// The head of an interim or a final response.
bool Clients::on_head(Client& c) {
    if (c.in.status() == 101 && c.operation == Operation::tunnel) {
        c.has_head = true;
        c.is_from_node = true;
        c.send_body_at = 0;
        c.echo.clear();
        return true;
    }
    if (c.in.status() < 200) {
        if (c.is_http_10 || c.in.status() == 101) {
            end_request(c, Outcome::malformed, false, "an interim response nobody can expect");
            return false;
        }
        if (c.in.status() == 100 && c.holds_body) {
            put_body(c);
        }
        c.in.expect_response(c.operation != Operation::head);
        return true;
    }
    c.has_head = true;
    const int status = c.in.status();
    const int wanted = c.operation == Operation::range    ? 206
                       : c.operation == Operation::remove ? 204
                                                          : 200;
    c.is_from_node = c.in.count("x-soak-id") > 0;
    c.is_error = status != wanted || c.operation == Operation::tunnel;
    if (c.key != kNoKey && c.operation < Operation::create) {
        const unsigned long node =
            std::strtoul(std::string(c.in.field("x-soak-node")).c_str(), nullptr, 10);
        nodes_of_key_[c.key] |= c.is_from_node ? std::uint64_t{1} << (node & 63) : 0;
    }
    if (c.is_from_node) {
        c.is_wrong = c.in.field("x-soak-id") != c.id_text || (c.is_error && status < 500);
    } else {
        // The proxy's own answers are errors with a request id.
        c.is_wrong = status < 400 || c.in.field("x-amz-request-id").empty();
    }
    if (!c.is_error && c.operation == Operation::head) {
        // Contradictory framing fields without a body frame nothing and must not be relayed.
        const std::string length = c.in.count("x-soak-odd-framing") > 0
                                       ? std::string()
                                       : std::to_string(c.expected.size());
        c.is_wrong = c.is_wrong || c.in.field("content-length") != length;
        c.check.begin({});
    } else if (!c.is_error) {
        c.check.begin(c.expected);
    }
    return true;
}

// The answer is complete.
void Clients::judge(Client& c) {
    // A late 100 would be taken for the answer to the next request, and the unsent rest of this
    // request for its beginning.
    const bool could_keep = !c.is_last && !c.holds_body && c.out.is_done() && !c.cannot_send;
    const bool keeps = could_keep && !c.in.closes();
    told_to_leave_ += could_keep && !keeps ? 1 : 0;
    if (c.is_wrong) {
        end_request(c, Outcome::corrupt, false, "head");
        return;
    }
    if (c.is_error) {
        const bool has_body = c.operation != Operation::head;
        const bool names_it =
            !c.is_from_node ||
            c.error_text.find("<Id>" + c.id_text + "</Id></Error>") != std::string::npos;
        if (has_body && (!names_it || !c.error_text.ends_with("</Error>"))) {
            end_request(c, Outcome::corrupt, false, "body of an error");
            return;
        }
        end_request(c, c.is_from_node ? Outcome::error_of_node : Outcome::error_of_proxy, keeps);
        return;
    }
    const bool has_digest = c.operation != Operation::head && c.operation != Operation::remove;
    if (has_digest && !c.check.ends_right(c.in.field("x-soak-digest"))) {
        end_request(c, Outcome::corrupt, false, "body");
        return;
    }
    end_request(c, Outcome::ok, keeps);
}

void Clients::end_request(Client& c, Outcome outcome, bool keeps, const char* why) {
    const bool is_violation = outcome >= Outcome::corrupt;
    const bool was_busy = std::exchange(c.is_busy, false);
    const bool is_limited = was_busy && is_slow_down(c, outcome);
    const bool is_late = was_busy && is_overdue(c, outcome);
    slow_downs_ += is_limited ? 1 : 0;
    if (is_late) {
        ++overdue_;
        oldest_overdue_ = std::max(oldest_overdue_, now_ms() - c.begun_at);
    }
    const bool is_told = crowd_.is_steady && outcome != Outcome::ok && !is_limited && !is_late &&
                         told_++ < kToldFailures;
    if (is_violation || is_told) {
        std::fprintf(stderr,
                     "soak_client: %s: %s (%s) %s %s: status %d, %llu body bytes of %zu; to %s, "
                     "dialled %llu ms ago\n",
                     time_of_day().c_str(), kOutcomeNames[static_cast<std::size_t>(outcome)], why,
                     kOperationNames[static_cast<std::size_t>(c.operation)], c.id_text.c_str(),
                     c.in.status(), static_cast<unsigned long long>(c.got), c.expected.size(),
                     c.target.c_str(), static_cast<unsigned long long>(now_ms() - c.dialled_at));
    }
    if (was_busy || is_violation) {
        const int status = c.has_head ? c.in.status() : 0;
        pending_.push_back({c.id, static_cast<std::uint8_t>(outcome),
                            static_cast<std::uint8_t>(c.operation),
                            static_cast<std::uint16_t>(status), static_cast<std::uint32_t>(c.got)});
        if (pending_.size() >= 4096) {
            flush();
        }
        ++counts_[static_cast<std::size_t>(c.operation)][static_cast<std::size_t>(outcome)];
        ++ended_;
    }
    const bool is_abort = outcome == Outcome::aborted || outcome == Outcome::aborted_late;
    const bool is_failure = outcome != Outcome::ok && !is_abort;
    calm_failed_ += c.is_calm && is_failure;
    bytes_down_ += c.got;
    bytes_up_ += c.out.sent();
    const bool is_done = is_quick_ && c.role == Role::slow;
    if (c.fd >= 0 && (!keeps || is_done)) {
        // Thousands of orderly closes a second would fill the kernel's table of TIME_WAIT.
        const bool is_one_of_many = c.role == Role::fresh && outcome == Outcome::ok;
        disconnect(c, is_one_of_many || c.plan == Plan::upload_reset ||
                          (is_abort && c.plan == Plan::download_reset));
    }
    go_on_with_upload(c, outcome == Outcome::ok);
    c.begin_at = is_failure ? now_ms() + chance_.between(10, 120) : 0;
    if (c.role == Role::idle) {
        c.begin_at = now_ms() + chance_.between(5'000, 20'000);
    }
    c.plan = Plan::none;
}

void Clients::go_on_with_upload(Client& c, bool ok) {
    if (c.role == Role::idle) {
        return;
    }
    if (c.operation == Operation::create && ok) {
        c.upload_id = text_of(scatter(c.id));
        c.part = 1;
        c.parts = static_cast<unsigned>(chance_.between(1, 4));
        c.part_failures = 0;
    } else if (c.operation == Operation::part) {
        if (ok) {
            ++c.part;
        } else if (++c.part_failures > 3) {
            c.upload_id.clear();
        }
    } else if (c.operation == Operation::complete) {
        c.upload_id.clear();
    }
}

void Clients::flush() {
    const char* data = reinterpret_cast<const char*>(pending_.data());
    std::size_t left = pending_.size() * sizeof(Record);
    while (left > 0) {
        const ssize_t written = ::write(records_, data, left);
        if (written <= 0) {
            std::perror("soak_client: records");
            std::exit(3);
        }
        data += written;
        left -= static_cast<std::size_t>(written);
    }
    pending_.clear();
}

void Clients::print(bool has_ended) {
    const auto number = [](std::uint64_t value) { return std::to_string(value); };
    std::array<std::uint64_t, kOutcomes> sums{};
    for (const auto& row : counts_) {
        for (std::size_t i = 0; i < kOutcomes; ++i) {
            sums[i] += row[i];
        }
    }
    std::string text =
        "{\"ended\": " + std::string(has_ended ? "true" : "false") +
        ", \"ms\": " + number(now_ms() - started_at_) + ", \"begun\": " + number(begun_) +
        ", \"requests\": " + number(ended_) + ", \"calm\": " + number(calm_begun_) +
        ", \"calm_failed\": " + number(calm_failed_) +
        ", \"connections\": " + number(connections_) +
        ", \"slowest_connect_ms\": " + number(slowest_connect_) +
        ", \"idle_closed\": " + number(idle_closed_) +
        ", \"told_to_leave\": " + number(told_to_leave_) +
        ", \"slow_downs\": " + number(slow_downs_) + ", \"overdue\": " + number(overdue_) +
        ", \"oldest_overdue_ms\": " + number(oldest_overdue_) +
        ", \"bytes_up\": " + number(bytes_up_) + ", \"bytes_down\": " + number(bytes_down_) +
        ", \"outcomes\": {";
    for (std::size_t i = 0; i < kOutcomes; ++i) {
        text += (i == 0 ? "\"" : ", \"") + std::string(kOutcomeNames[i]) + "\": " + number(sums[i]);
    }
    text += "}, \"operations\": {";
    for (std::size_t i = 0; i < kOperations; ++i) {
        std::uint64_t sum = 0;
        for (const std::uint64_t count : counts_[i]) {
            sum += count;
        }
        text += (i == 0 ? "\"" : ", \"") + std::string(kOperationNames[i]) + "\": [" + number(sum) +
                ", " + number(counts_[i][static_cast<std::size_t>(Outcome::ok)]) + "]";
    }
    text += "}";
    if (has_ended) {
        text += ", \"nodes_of_keys\": [";
        for (std::size_t i = 0; i < nodes_of_key_.size(); ++i) {
            text += (i == 0 ? "" : ", ") + number(nodes_of_key_[i]);
        }
        text += "]";
    }
    std::puts((text + "}").c_str());
    std::fflush(stdout);
}

// NAME=NUMBER. False for another name.
bool read_number(const std::string& text, Crowd& crowd) {
    const std::size_t equals = text.find('=');
    const std::string name = text.substr(0, equals);
    const std::array<std::pair<std::string_view, std::size_t*>, 12> known{
        {{"fresh", &crowd.fresh},
         {"idle", &crowd.idle},
         {"slow", &crowd.slow},
         {"slow_ms", &crowd.slow_ms},
         {"slow_apart_ms", &crowd.slow_apart_ms},
         {"medium", &crowd.medium},
         {"medium_ms", &crowd.medium_ms},
         {"tunnel", &crowd.tunnel},
         {"tunnel_ms", &crowd.tunnel_ms},
         {"keys", &crowd.keys},
         {"crowded", &crowd.crowded},
         {"grace_ms", &crowd.grace_ms}}};
    const auto found = std::find_if(known.begin(), known.end(),
                                    [&](const auto& item) { return item.first == name; });
    if (found == known.end() || equals == std::string::npos) {
        return false;
    }
    *found->second = std::strtoull(text.c_str() + equals + 1, nullptr, 10);
    crowd.is_steady = true;
    return true;
}

}  // namespace
}  // namespace soak

namespace soak {
namespace {

// With the acknowledgement that ends a handshake and the first data on two processors, Linux may
// find no socket for the data and answer with a reset: it looks up without a lock while it replaces
// the request by the socket (inet_ehash_insert). On one processor they come one after the other.
void stay_on_this_processor() {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<std::size_t>(::sched_getcpu()), &one);
    ::sched_setaffinity(0, sizeof one, &one);
}

}  // namespace
}  // namespace soak

int main(int argc, char** argv) {
    soak::Crowd crowd;
    sockaddr_in address{};
    bool is_right = argc >= 5 && soak::read_address(argv[1], address);
    for (int i = 5; is_right && i < argc; ++i) {
        is_right = soak::read_number(argv[i], crowd);
    }
    if (!is_right) {
        std::fprintf(stderr,
                     "usage: soak_client 127.…:PORT RECORDS CONNECTIONS SEED [NAME=NUMBER…]\n");
        return 2;
    }
    crowd.mixed = std::strtoull(argv[3], nullptr, 10);
    std::signal(SIGPIPE, SIG_IGN);
    soak::stay_on_this_processor();
    soak::Clients clients(argv[1], argv[2], crowd, std::strtoull(argv[4], nullptr, 10));
    clients.run();
    return 0;
}
