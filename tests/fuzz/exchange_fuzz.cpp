// The whole life of requests: clients, a worker and backends on a network in memory. The input is
// read as a script that controls them. An independent strict reader must always find that
//  - a request reaches backends as exactly one unambiguous message each, with the client's target,
//    end-to-end header lines and body, or is refused with a 4xx or a closed connection, and
//    nothing of it goes upstream;
//  - an answer is relayed as the backend sent it, or is visibly cut, or is a 5xx of our own; no
//    byte of it appears in another one;
//  - a request is repeated only as the table in docs/architecture.md allows;
//  - nothing hangs, is counted forever, leaked, or used after its end.
#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "exchange_sites.hpp"
#include "fuzz_target.hpp"
#include "simulated_network.hpp"
#include "simulated_worker.hpp"
#include "sloppy_reader.hpp"
#include "strict_reader.hpp"

namespace {

namespace fuzz = s3gate::fuzz;
namespace sim = s3gate::sim;
using sim::BodyFraming;
using sim::Endpoint;
using sim::FieldLine;
using sim::Message;
using sim::Network;
using sim::StrictReader;
using State = Message::State;

constexpr std::size_t kBackends = 4;
constexpr std::size_t kMaxClients = 4;
constexpr std::size_t kMaxOps = 160;
constexpr unsigned kMaxTicks = 800;
constexpr std::size_t kSizes[] = {0, 1, 5, 64, 65, 1000, 3000, 70000, 262144, 300000};
constexpr std::size_t kSmallHead = 1000;  // always allowed under kSmallLimits
constexpr std::size_t kMaxLarge = 3;      // bodies above 4 KiB per script, because they are slow

// The input as a script: bytes are taken from the front; after the end it yields zeros.
class Script {
  public:
    explicit Script(std::string_view bytes) : bytes_(bytes) {}
    bool is_over() const { return bytes_.empty(); }
    std::uint8_t byte() {
        if (bytes_.empty()) {
            return 0;
        }
        const auto value = static_cast<std::uint8_t>(bytes_.front());
        bytes_.remove_prefix(1);
        return value;
    }
    unsigned word() {
        const unsigned high = byte();
        return high << 8 | byte();
    }
    std::string_view take(std::size_t count) {
        const std::string_view taken = bytes_.substr(0, count);
        bytes_.remove_prefix(taken.size());
        return taken;
    }

  private:
    std::string_view bytes_;
};

sockaddr_storage ipv4(unsigned network, unsigned host, std::uint16_t port) {
    sockaddr_storage storage{};
    auto& address = reinterpret_cast<sockaddr_in&>(storage);
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(10u << 24 | network << 16 | host);
    return storage;
}

// A body that differs from every other body within every few bytes.
std::string body_of(unsigned id, std::size_t size) {
    std::string body(size, '\0');
    for (std::size_t i = 0; i < size; ++i) {
        body[i] = static_cast<char>('a' + (i * (id % 23 + 1) + id + i / 251) % 26);
    }
    return body;
}

std::string chunked(std::string_view body, std::size_t step, bool extensions,
                    std::string_view trailers) {
    std::string text;
    while (!body.empty()) {
        const std::string_view piece = body.substr(0, step);
        body.remove_prefix(piece.size());
        char size[32];
        std::snprintf(size, sizeof size, "%zx%s\r\n", piece.size(), extensions ? ";a=\"b\"" : "");
        text.append(size).append(piece).append("\r\n");
    }
    return text.append("0\r\n").append(trailers).append("\r\n");
}

// How a backend sends one answer.
struct Program {
    enum class Trigger { request, head, connect, some_body, never };
    enum class End { keep, finish, reset };
    Trigger trigger = Trigger::request;
    End end = End::keep;
    bool manual = false;      // sent only by operations of the script
    std::size_t segment = 0;  // bytes per round, 0 = all
    std::size_t cut = 0;      // the answer is cut here, 0 = complete
    std::string garbage;      // after the answer
    std::optional<std::string> raw;
    std::uint8_t status = 0;
    std::uint8_t framing = 0;
    std::uint8_t size = 2;
    std::uint8_t extra = 0;
    std::uint8_t interim = 0;
};

// A request that a backend received, and its answer.
struct Served {
    int client = -1;
    std::size_t index = 0;  // of the client's requests
    std::size_t conn = 0;
    std::size_t order = 0;
    StrictReader reader{StrictReader::Kind::request};
    Program program;
    bool triggered = false;
    // Unread bytes were on the connection at its use; they may belong to either answer.
    bool raced = false;
    std::size_t answer_begin = 0;  // in Endpoint::in
    std::size_t answer_end = SIZE_MAX;
    unsigned id = 0;
    std::size_t wanted_body = 0;
};

struct Conn {
    Endpoint* end = nullptr;
    std::size_t backend = 0;
    std::vector<std::size_t> served;
    std::size_t read = 0;  // of Endpoint::out, up to the end of the last complete request
    std::string pending;
    Program::End then = Program::End::keep;
    bool flush = false;  // send the pending bytes without operations
    std::size_t segment = 0;
    bool ended = false;
    bool tunnel = false;
};

struct Answer {
    StrictReader reader{StrictReader::Kind::response};
    std::vector<Message> interims;
};

struct Client {
    Endpoint* end = nullptr;
    std::string bytes;          // all bytes that it will send
    std::size_t delivered = 0;  // of it
    bool finished = false;
    bool gone = false;  // reset
    std::vector<StrictReader> requests;
    std::vector<Answer> answers;
    std::size_t answered = 0;  // complete final answers
    bool tunnel = false;
    std::size_t tunnel_at = 0;
};

bool is_read_method(std::string_view method) {
    return method == "GET" || method == "HEAD" || method == "OPTIONS";
}

std::string lower(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return out;
}

// The authority without an empty port or the scheme's own (RFC 3986 section 6.2.3).
std::string without_port(std::string authority, std::string_view own) {
    for (const std::string_view port : {std::string_view(":"), own}) {
        if (authority.ends_with(port)) {
            authority.resize(authority.size() - port.size());
            break;
        }
    }
    return authority;
}

class Play {
  public:
    explicit Play(std::string_view input) : script_(input) {}
    void run();

  private:
    // The play.
    void operation();
    void new_client();
    void add_request(Client& client);
    Program read_program();
    void deliver(Client& client, std::size_t count);
    void settle();
    bool step_conn(Conn& conn);
    int on_connect(Endpoint& end);
    void on_output(Endpoint& end);
    void read_upstream(std::size_t conn);
    void read_client(Client& client);
    const StrictReader* request_of(Client& client, std::size_t index);
    void trigger(Conn& conn, Served& served);
    std::string answer_text(const Program& program, unsigned id, bool to_head, bool wants_upgrade);
    std::size_t size_of(std::uint8_t code);
    void finish();

    void show() const;

    // The judgement.
    void judge_upstream(const Served& served);
    void judge_client(std::size_t number);
    void judge_reuse(const Served& last);
    void judge_answer(Client& client, std::size_t index, std::vector<const Served*>& attempts);
    void judge_attempts(const Message& request, const std::vector<const Served*>& attempts);
    void judge_tunnel(Client& client, std::size_t index, const Served& last);
    Message answer_of(const Served& served, bool to_head, bool consumed_only) const;
    bool has_continue(const Served& served) const;
    bool is_acceptable(const Served& served, const Message& answer) const;

    Script script_;
    unsigned options_ = 0;
    bool reloaded_ = false;
    bool disturbed_ = false;
    std::size_t large_ = 0;
    unsigned next_id_ = 1;
    Network network_;
    std::vector<Client> clients_;
    std::vector<Conn> conns_;
    std::vector<Served> served_;
    std::array<std::vector<Program>, kBackends> programs_;
    std::array<std::size_t, kBackends> next_program_{};
    std::array<std::uint8_t, kBackends> connect_mode_{};
    std::map<int, std::pair<bool, std::size_t>> owners_;  // descriptor: is a client, index
    Endpoint* listener_ = nullptr;
    std::unique_ptr<sim::SimulatedWorker> worker_;
};

std::size_t Play::size_of(std::uint8_t code) {
    std::size_t size = kSizes[code % std::size(kSizes)];
    if (size > 4096 && ++large_ > kMaxLarge) {
        size = 1000;
    }
    return size;
}

void Play::new_client() {
    if (clients_.size() >= kMaxClients || listener_->closed) {
        return;
    }
    Client& client = clients_.emplace_back();
    client.end = &network_.open(false);
    client.end->peer = ipv4(0, static_cast<unsigned>(clients_.size()), 40000);
    client.end->local = ipv4(0, 200, 9000);
    owners_[client.end->fd] = {true, clients_.size() - 1};
    network_.connect_client(*listener_, *client.end);
}

void Play::add_request(Client& client) {
    static constexpr const char* kMethods[] = {"GET",    "PUT",     "HEAD",  "POST",
                                               "DELETE", "OPTIONS", "PATCH", "CONNECT"};
    static constexpr const char* kTargets[] = {"/b/k",
                                               "/b/k?uploadId=U1&partNumber=3",
                                               "/b/k?sessionid=s%31",
                                               "http://h.example/b/k?x=1",
                                               "*",
                                               "http://h.example",
                                               "//",
                                               "/b/k#f",
                                               "h:80",
                                               "/b/\xc3\xa4 k"};
    const std::uint8_t method = script_.byte();
    const std::uint8_t target = script_.byte();
    const unsigned fields = script_.word();
    const std::uint8_t framing = script_.byte();
    const std::uint8_t size = script_.byte();
    const unsigned id = next_id_++;
    std::string text;
    if ((method & 0x40) != 0) {
        text += "\r\n";
    }
    text += kMethods[method % 8];
    text += " ";
    text += kTargets[target % std::size(kTargets)];
    text += (method & 0x80) != 0 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n";
    text += "X-Id: " + std::to_string(id) + "\r\n";
    const auto has = [&](unsigned bit) { return (fields >> bit & 1u) != 0; };
    if (!has(0)) {
        text += "Host: h.example\r\n";
    }
    if (has(1)) {
        text += "Connection: close\r\n";
    }
    if (has(2)) {
        text += "Expect: 100-continue\r\n";
    }
    if (has(3)) {
        text += "Connection: upgrade\r\nUpgrade: websocket\r\n";
    }
    if (has(4)) {
        text += "If-None-Match: *\r\n";
    }
    if (has(5)) {
        text += "x-amz-copy-source: /b/other\r\n";
    }
    if (has(6)) {
        text += "X-Real-IP: 10.0.0.9\r\nX-Forwarded-For: 1.2.3.4\r\nForwarded: for=x\r\n";
    }
    if (has(7)) {
        text += "Connection: x-hop, Host\r\nX-Hop: " + std::to_string(id) + "\r\n";
    }
    if (has(8)) {
        text += "TE: trailers\r\nKeep-Alive: 5\r\nProxy-Authorization: p\r\n";
    }
    if (has(9)) {
        text += "Host: other.example\r\n";
    }
    if (has(10)) {
        text += "Transfer_Encoding: chunked\r\n";
    }
    if (has(11)) {
        text += "Connection: keep-alive\r\n";
    }
    if (has(12)) {
        text += "User-Agent: u\r\nAccept-Language: a\r\nReferer: r\r\n";
    }
    if (has(13)) {
        text += "X-Folded: a\r\n b\r\n";
    }
    if (has(14)) {
        text += "X-Long: " + std::string(1100, 'l') + "\r\n";
    }
    if (has(15)) {
        text += "Content-Type: t\r\nAuthorization: AWS4 x\r\nx-amz-date: d\r\n";
    }
    const std::size_t length = framing % 8 == 0 ? 0 : size_of(size);
    const std::string body = body_of(id, length);
    const std::size_t step = size < 128 ? 7000 : 3;
    const std::string declared = "Content-Length: " + std::to_string(length) + "\r\n";
    switch (framing % 8) {
        case 0:
            text += "\r\n";
            break;
        case 1:
            text += declared + "\r\n" + body;
            break;
        case 2:
            text += "Transfer-Encoding: chunked\r\n\r\n" +
                    chunked(std::string_view(body).substr(0, step == 3 ? 1000 : body.size()), step,
                            false, "");
            break;
        case 3:
            text += "Transfer-Encoding: Chunked\r\nTrailer: x-sum\r\n\r\n" +
                    chunked(body, 7000, true, "x-sum: 1\r\nContent-Length: 3\r\nHost: z\r\n");
            break;
        case 4:
            text += declared + "Transfer-Encoding: chunked\r\n\r\n" + body;
            break;
        case 5:
            text += declared + declared + "\r\n" + body;
            break;
        case 6:
            text += "Transfer-Encoding: gzip, chunked\r\n\r\n" + chunked(body, 7000, false, "");
            break;
        default:
            text += "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n";
            break;
    }
    client.bytes += text;
}

Program Play::read_program() {
    Program program;
    const std::uint8_t how = script_.byte();
    program.trigger = static_cast<Program::Trigger>(how % 5);
    program.end = static_cast<Program::End>(how / 5 % 3);
    program.manual = how / 15 % 2 != 0;
    const std::uint8_t shape = script_.byte();
    program.status = script_.byte();
    program.framing = script_.byte();
    program.size = script_.byte();
    program.extra = script_.byte();
    program.interim = script_.byte();
    if ((shape & 1) != 0) {
        program.segment = 1u + script_.byte();
    }
    if ((shape & 2) != 0) {
        program.cut = 1u + script_.word();
    }
    if ((shape & 4) != 0) {
        static constexpr const char* kGarbage[] = {
            "x", "\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Bad: 1\r\n\r\nevil",
            "HTTP/1.1 100 Continue\r\n\r\n"};
        program.garbage = kGarbage[script_.byte() % 4];
    }
    if ((shape & 8) != 0) {
        program.raw = script_.take(script_.byte());
    }
    const bool plain = program.trigger != Program::Trigger::never && !program.manual &&
                       program.end == Program::End::keep && shape == 0 && program.framing % 16 < 4;
    disturbed_ = disturbed_ || !plain;
    return program;
}

std::string Play::answer_text(const Program& program, unsigned id, bool to_head,
                              bool wants_upgrade) {
    static constexpr int kStatuses[] = {200, 204, 304, 206, 403, 404, 500, 503,
                                        502, 504, 429, 101, 307, 412, 200, 503};
    std::string text;
    if ((program.interim & 1) != 0) {
        text += "HTTP/1.1 100 Continue\r\n\r\n";
    }
    if ((program.interim & 2) != 0) {
        text += "HTTP/1.1 103 Early Hints\r\nLink: " + std::to_string(id) + "\r\n\r\n";
    }
    if ((program.interim & 4) != 0) {
        text += "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\nX-A: b\r\n\r\n";
    }
    if (program.interim == 0xff) {
        for (int i = 0; i < 40; ++i) {
            text += "HTTP/1.1 102 Processing\r\n\r\n";
        }
    }
    if (program.raw) {
        return text + *program.raw;
    }
    const int status = kStatuses[program.status % 16];
    const bool old = (program.framing & 0x10) != 0;
    text += old ? "HTTP/1.0 " : "HTTP/1.1 ";
    text += std::to_string(status);
    text += (program.extra & 0x80) != 0 ? " \r\n" : " Said So\r\n";
    text += "X-Tag: " + std::to_string(id) + "\r\n";
    if (status == 101) {
        if (wants_upgrade || (program.extra & 1) != 0) {
            text += "Connection: upgrade\r\nUpgrade: websocket\r\n";
        }
        return text + "\r\n" + body_of(id, 7);
    }
    if ((program.extra & 1) != 0) {
        text += "Connection: close\r\n";
    }
    if ((program.extra & 2) != 0) {
        text += "Connection: keep-alive, x-hop\r\nX-Hop: h\r\nKeep-Alive: 3\r\n";
    }
    if ((program.extra & 4) != 0) {
        text += "x-minio-error-code: SlowDown\r\n";
    }
    if ((program.extra & 8) != 0) {
        text += "x-amz-request-id: B" + std::to_string(id) + "\r\nETag: \"e\"\r\n";
    }
    if ((program.extra & 16) != 0) {
        text += "X-Session-ID: backend\r\nUpgrade: h2c\r\n";
    }
    const std::string body = body_of(id + 1000, size_of(program.size));
    const std::string declared = "Content-Length: " + std::to_string(body.size()) + "\r\n";
    switch (program.framing & 0x0f) {
        case 0:
            text += declared + "\r\n";
            return to_head || status == 204 || status == 304 ? text : text + body;
        case 1:
            text += "Transfer-Encoding: chunked\r\n\r\n";
            return to_head || status == 204 || status == 304
                       ? text
                       : text + chunked(body, 5000, false, "");
        case 2:
            text += "Transfer-Encoding: chunked\r\n\r\n";
            return to_head || status == 204 || status == 304
                       ? text
                       : text + chunked(body, 70, true, "x-sum: 2\r\nConnection: a\r\n");
        case 3:
            text += "Content-Length: 0\r\n\r\n";
            return text;
        case 4:
            return text + "\r\n" + (to_head ? "" : body);  // until the connection closes
        case 5:
            return text + declared + "Transfer-Encoding: chunked\r\n\r\n" + body;
        case 6:
            return text + declared + "Content-Length: 1\r\n\r\n" + body;
        case 7:
            return text + "Transfer-Encoding: gzip, chunked\r\n\r\n" + body;
        case 8:
            return text + "Content_Length: 3\r\n\r\n" + body;
        case 9:
            return text + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nfffffffffffffffff\r\n";
        case 10:
            return text + "X-Bad\n" + declared + "\r\n" + body;
        case 11:
            return text + declared + "\r\n" + body;  // also where a body is forbidden
        case 12:
            return text + "X-Long: " + std::string(1100, 'l') + "\r\n" + declared + "\r\n" + body;
        case 13:
            return text + declared + "X-Folded: a\r\n b\r\n\r\n" + body;
        case 14:
            return text + "Transfer-Encoding: chunked\r\n\r\n5\r\nhel";
        default:
            return text + "Content-Length: +5\r\n\r\nhello";
    }
}

int Play::on_connect(Endpoint& end) {
    const auto& address = reinterpret_cast<const sockaddr_in&>(end.peer);
    const std::size_t backend = (ntohl(address.sin_addr.s_addr) & 0xff) - 1;
    FUZZ_CHECK(backend < kBackends && ntohs(address.sin_port) == 9000);
    const std::uint8_t mode = connect_mode_[backend];
    if (mode == 2) {
        return ECONNREFUSED;
    }
    if (mode == 3) {
        return EADDRNOTAVAIL;
    }
    Conn& conn = conns_.emplace_back();
    conn.end = &end;
    conn.backend = backend;
    owners_[end.fd] = {false, conns_.size() - 1};
    std::vector<Program>& programs = programs_[backend];
    if (mode == 0 && next_program_[backend] < programs.size() &&
        programs[next_program_[backend]].trigger == Program::Trigger::connect) {
        // The backend sends before a request; the request is not known yet.
        const Program& program = programs[next_program_[backend]];
        conn.pending = answer_text(program, next_id_++, false, false);
        conn.flush = true;
    }
    return mode == 0 ? 0 : EINPROGRESS;
}

void Play::on_output(Endpoint& end) {
    const auto [is_client, index] = owners_.at(end.fd);
    if (is_client) {
        read_client(clients_[index]);
    } else {
        read_upstream(index);
    }
}

const StrictReader* Play::request_of(Client& client, std::size_t index) {
    std::vector<StrictReader>& known = client.requests;
    if (known.empty()) {
        known.emplace_back(StrictReader::Kind::request);
        known.back().empty_lines = 2;
    }
    for (;;) {
        known.back().advance(client.bytes, false);
        if (known.size() > index) {
            return &known[index];
        }
        if (!known.back().message.is_complete()) {
            return nullptr;
        }
        known.emplace_back(StrictReader::Kind::request, known.back().message.end);
        known.back().empty_lines = 2;
    }
}

void Play::read_client(Client& client) {
    while (!client.tunnel) {
        const std::string& out = client.end->out;
        if (client.answers.empty() || client.answers.back().reader.message.is_complete()) {
            const std::size_t at =
                client.answers.empty() ? 0 : client.answers.back().reader.message.end;
            if (at == out.size()) {
                return;
            }
            client.answers.emplace_back().reader = StrictReader(StrictReader::Kind::response, at);
        }
        Answer& answer = client.answers.back();
        const StrictReader* request = request_of(client, client.answers.size() - 1);
        answer.reader.to_head = request != nullptr && request->message.state != State::invalid &&
                                request->message.method == "HEAD";
        answer.reader.advance(out, false);
        const Message& message = answer.reader.message;
        FUZZ_CHECK(message.state != State::invalid && !message.is_oddly_framed);
        if (!message.is_complete()) {
            return;
        }
        if (message.status == 101) {
            client.tunnel = true;
            client.tunnel_at = message.end;
        } else if (message.status < 200) {
            const std::size_t end = message.end;
            answer.interims.push_back(message);
            answer.reader = StrictReader(StrictReader::Kind::response, end);
            if (end == out.size()) {
                return;
            }
            continue;
        }
        ++client.answered;
    }
}

void Play::read_upstream(std::size_t number) {
    for (;;) {
        Conn& conn = conns_[number];
        if (conn.tunnel) {
            return;
        }
        const std::string& out = conn.end->out;
        if (conn.served.empty() || served_[conn.served.back()].reader.message.is_complete()) {
            if (conn.read == out.size()) {
                return;
            }
            if (!conn.served.empty()) {
                Served& last = served_[conn.served.back()];
                judge_reuse(last);
                last.answer_end = conn.end->in.size();
                conn.pending.clear();  // its unsent bytes are lost
            }
            Served& served = served_.emplace_back();
            served.conn = number;
            served.order = served_.size() - 1;
            served.reader = StrictReader(StrictReader::Kind::request, conn.read);
            served.answer_begin = conn.served.empty() ? 0 : conn.end->in.size();
            served.raced = conn.end->unread() && !conn.served.empty();
            served.id = next_id_++;
            std::vector<Program>& programs = programs_[conn.backend];
            std::size_t& next = next_program_[conn.backend];
            if (next < programs.size()) {
                served.program = programs[next++];
            }
            conn.served.push_back(served.order);
        }
        Served& served = served_[conn.served.back()];
        const bool had_head = served.reader.message.has_head();
        served.reader.advance(out, false);
        const Message& message = served.reader.message;
        FUZZ_CHECK(message.state != State::invalid);
        if (!had_head && message.has_head()) {
            const std::string_view ip = message.find("x-real-ip");
            FUZZ_CHECK(message.count("x-real-ip") == 1 && ip.starts_with("10.0.0."));
            served.client = ip.back() - '1';
            FUZZ_CHECK(served.client >= 0 && served.client < static_cast<int>(clients_.size()) &&
                       ip.size() == 8);
            served.index = clients_[static_cast<std::size_t>(served.client)].answered;
            if (message.count("upgrade") > 0) {
                conn.tunnel = message.is_complete();
            }
            judge_upstream(served);
        }
        if (!message.is_complete()) {
            return;
        }
        conn.read = message.end;
        if (conn.tunnel) {
            return;
        }
    }
}

// Decides whether the backend answers at this point of the request.
void Play::trigger(Conn& conn, Served& served) {
    const Message& message = served.reader.message;
    bool due = false;
    switch (served.program.trigger) {
        case Program::Trigger::request:
        case Program::Trigger::connect:
            due = message.is_complete();
            break;
        case Program::Trigger::head:
            due = message.has_head();
            break;
        case Program::Trigger::some_body:
            due = message.is_complete() || message.payload.size() > 3;
            break;
        case Program::Trigger::never:
            break;
    }
    // A backend that wants Expect asks for the body.
    if (!due && !served.triggered && message.has_head() &&
        message.lists("expect", "100-continue") && served.wanted_body == 0 &&
        served.program.trigger == Program::Trigger::request && (served.program.interim & 8) == 0) {
        served.wanted_body = 1;
        conn.pending += "HTTP/1.1 100 Continue\r\n\r\n";
        conn.flush = true;
        return;
    }
    if (!due || served.triggered) {
        return;
    }
    served.triggered = true;
    const bool spoke_early = served.program.trigger == Program::Trigger::connect &&
                             conn.served.size() == 1 && !conn.end->in.empty();
    if (!spoke_early) {
        std::string text = answer_text(served.program, served.id, message.method == "HEAD",
                                       message.count("upgrade") > 0);
        if (served.program.cut > 0) {
            text.resize(std::min(text.size(), served.program.cut));
        }
        conn.pending += text;
        if (served.program.cut == 0) {
            conn.pending += served.program.garbage;
        }
    }
    conn.then = served.program.end;
    const bool until_close = !served.program.raw && (served.program.framing & 0x0f) == 4;
    if (conn.then == Program::End::keep && until_close) {
        conn.then = Program::End::finish;
    }
    // At most about a hundred pieces.
    conn.segment = served.program.segment == 0
                       ? 0
                       : std::max(served.program.segment, conn.pending.size() / 200);
    conn.flush = !served.program.manual;
}

bool Play::step_conn(Conn& conn) {
    if (conn.ended || conn.end->connecting) {
        return false;
    }
    if (!conn.served.empty()) {
        trigger(conn, served_[conn.served.back()]);
    }
    if (!conn.flush) {
        return false;
    }
    bool moved = false;
    if (!conn.pending.empty()) {
        const std::size_t count =
            conn.segment == 0 ? conn.pending.size() : std::min(conn.segment, conn.pending.size());
        network_.deliver(*conn.end, std::string_view(conn.pending).substr(0, count));
        conn.pending.erase(0, count);
        moved = true;
    }
    if (conn.pending.empty() && conn.then != Program::End::keep) {
        conn.ended = true;
        if (conn.then == Program::End::finish) {
            network_.finish(*conn.end);
            conn.end->peer_closed = !conn.tunnel;
        } else {
            network_.reset(*conn.end, ECONNRESET);
        }
        moved = true;
    }
    return moved;
}

void Play::settle() {
    for (unsigned round = 0;; ++round) {
        FUZZ_CHECK(round < 20000);  // the network comes to rest
        worker_->turn();
        bool moved = (network_.has_edges() || worker_->is_busy()) && !worker_->is_finished();
        for (std::size_t i = 0; i < conns_.size(); ++i) {
            moved = step_conn(conns_[i]) || moved;
        }
        if (!moved) {
            return;
        }
    }
}

void Play::deliver(Client& client, std::size_t count) {
    if (client.finished || client.gone) {
        return;
    }
    const std::string_view rest = std::string_view(client.bytes).substr(client.delivered, count);
    client.delivered += rest.size();
    network_.deliver(*client.end, rest);
}

void Play::operation() {
    const std::uint8_t code = script_.byte();
    const bool quiet = (code & 0x80) != 0;  // the worker gets no turn after this operation
    const std::uint8_t who = script_.byte();
    if (clients_.empty()) {
        new_client();
    }
    if (clients_.empty()) {
        return;
    }
    Client& client = clients_[who % clients_.size()];
    const std::size_t backend = who % kBackends;
    Conn* const conn = conns_.empty() ? nullptr : &conns_[conns_.size() - 1 - who % conns_.size()];
    switch (code % 32) {
        case 0:
        case 1:
        case 2:
            add_request(client);
            deliver(client, SIZE_MAX);
            break;
        case 3:
        case 4:
            add_request(client);
            break;
        case 5:
            client.bytes += script_.take(script_.byte());
            break;
        case 6:
            deliver(client, script_.byte());
            break;
        case 7:
            deliver(client, SIZE_MAX);
            break;
        case 8:
            disturbed_ = true;
            deliver(client, SIZE_MAX);
            client.finished = true;
            network_.finish(*client.end);
            break;
        case 9:
            disturbed_ = true;
            client.gone = true;
            network_.reset(*client.end, client.finished ? EPIPE : ECONNRESET);
            break;
        case 10:
            disturbed_ = true;
            client.end->room = script_.word();
            break;
        case 11:
            network_.give_room(*client.end, 1u + script_.word());
            break;
        case 12:
        case 13:
        case 14:
            programs_[backend].push_back(read_program());
            break;
        case 15: {
            // The same answer from every backend.
            const Program program = read_program();
            for (std::vector<Program>& programs : programs_) {
                programs.push_back(program);
            }
            break;
        }
        case 16:
            if (conn != nullptr && !conn->ended) {
                const std::size_t count =
                    std::min<std::size_t>(1u + script_.byte(), conn->pending.size());
                network_.deliver(*conn->end, std::string_view(conn->pending).substr(0, count));
                conn->pending.erase(0, count);
            }
            break;
        case 17:
            if (conn != nullptr) {
                conn->flush = true;
            }
            break;
        case 18:
            disturbed_ = true;
            if (conn != nullptr && !conn->ended) {
                conn->ended = true;
                if ((who & 0x40) != 0) {
                    network_.reset(*conn->end, ECONNRESET);
                } else {
                    network_.finish(*conn->end);
                    conn->end->peer_closed = (who & 0x20) == 0;
                }
            }
            break;
        case 19:
            disturbed_ = true;
            if (conn != nullptr) {
                conn->end->room = script_.word();
            }
            break;
        case 20:
            if (conn != nullptr) {
                network_.give_room(*conn->end, 1u + script_.word());
            }
            break;
        case 21:
        case 22:
            disturbed_ = true;
            for (unsigned i = 0; i < 1u + who % 12; ++i) {
                network_.now += sim::kTick;
                settle();
            }
            break;
        case 23: {
            disturbed_ = true;
            const bool up = (who & 0x40) != 0;
            worker_->set_up(backend, up);
            if (!up && (who & 0x20) != 0) {
                worker_->take_down({static_cast<std::uint32_t>(backend), 0});
            }
            break;
        }
        case 24:
            disturbed_ = true;
            connect_mode_[backend] = script_.byte() % 5;
            break;
        case 25:
            if (conn != nullptr && conn->end->connecting) {
                network_.end_connect(*conn->end, (who & 0x40) != 0 ? ECONNREFUSED : 0);
            }
            break;
        case 26: {
            // Replaces, inserts or removes one byte of the client's unsent bytes.
            const std::size_t left = client.bytes.size() - client.delivered;
            const std::size_t at = script_.word();
            const std::uint8_t byte = script_.byte();
            if (left > 0) {
                const std::size_t place = client.delivered + at % left;
                if ((who & 0x40) != 0) {
                    client.bytes.erase(place, 1u + byte % 8);
                } else if ((who & 0x20) != 0) {
                    client.bytes.insert(place, 1, static_cast<char>(byte));
                } else {
                    client.bytes[place] = static_cast<char>(byte);
                }
                client.requests.clear();  // read anew
            }
            break;
        }
        case 27:
            reloaded_ = true;
            worker_->use_snapshot(fuzz::snapshot_of(script_.word()));
            break;
        case 28:
            new_client();
            break;
        case 29:
            disturbed_ = true;
            network_.sockets_fail = (who & 0x40) != 0;
            network_.pipe_capacity = (who & 0x20) != 0 ? 4096 : 65536;
            break;
        case 30:
            if ((who & 0x60) == 0x60) {
                disturbed_ = true;
                worker_->drain();
            }
            break;
        default:
            if ((who & 0x70) == 0x70) {
                disturbed_ = true;
                worker_->stop();
            }
            break;
    }
    if (!quiet) {
        settle();
    }
}

// Prints the traffic of every connection, to study a find.
void Play::show() const {
    const auto text = [](const char* what, std::size_t number, std::string_view bytes) {
        std::fprintf(stderr, "--- %s %zu, %zu bytes\n%.*s\n", what, number, bytes.size(),
                     static_cast<int>(std::min<std::size_t>(bytes.size(), 600)), bytes.data());
    };
    for (std::size_t i = 0; i < clients_.size(); ++i) {
        const Client& client = clients_[i];
        text("client says", i, std::string_view(client.bytes).substr(0, client.delivered));
        text(client.end->reset_out ? "client hears, then a reset" : "client hears", i,
             client.end->out);
    }
    for (std::size_t i = 0; i < conns_.size(); ++i) {
        text(conns_[i].end->reset_out ? "backend hears, then a reset" : "backend hears",
             conns_[i].backend, conns_[i].end->out);
        text(conns_[i].end->reset_in ? "backend says, then a reset" : "backend says",
             conns_[i].backend, conns_[i].end->in);
    }
}

void Play::run() {
    options_ = script_.word();
    network_.on_connect = [this](Endpoint& end) { return on_connect(end); };
    network_.on_output = [this](Endpoint& end) { on_output(end); };
    clients_.reserve(kMaxClients);
    listener_ = &network_.open(true);
    sim::WorkerSetup setup;
    setup.listener = listener_->fd;
    setup.hostname = "fuzz-proxy";
    setup.parked_limit = 3;
    setup.replay_memory = 100 * 1024;
    // One per round: with a handful of clients, some must wait for their turn.
    setup.begins_per_round = 1;
    setup.has_access_log = false;
    worker_ = std::make_unique<sim::SimulatedWorker>(fuzz::snapshot_of(options_), setup);
    for (std::size_t i = 0; i < kMaxOps && !script_.is_over(); ++i) {
        operation();
    }
    finish();
    if (std::getenv("S3GATE_FUZZ_SHOW") != nullptr) {
        show();
    }
    for (std::size_t i = 0; i < clients_.size(); ++i) {
        judge_client(i);
    }
    worker_.reset();
    FUZZ_CHECK(network_.open_descriptors() == 0);
}

// All peers finish; then the worker must end by itself.
void Play::finish() {
    settle();
    for (Client& client : clients_) {
        deliver(client, SIZE_MAX);
        network_.give_room(*client.end, Endpoint::kPlenty);
    }
    for (Conn& conn : conns_) {
        conn.flush = true;
        network_.give_room(*conn.end, Endpoint::kPlenty);
        if (connect_mode_[conn.backend] != 4) {
            network_.end_connect(*conn.end, 0);
        }
    }
    network_.sockets_fail = false;
    settle();
    for (unsigned tick = 0; worker_->clients() > 0; ++tick) {
        FUZZ_CHECK(tick < kMaxTicks);  // no peer waits forever
        network_.now += sim::kTick;
        for (Conn& conn : conns_) {
            if (connect_mode_[conn.backend] == 1) {
                network_.end_connect(*conn.end, 0);
            }
        }
        settle();
    }
    FUZZ_CHECK(worker_->leftovers().empty());
}

// ---------------------------------------------------------------------------------------------

// Names for one connection, or names that the proxy writes itself.
bool is_ours_to_write(std::string_view name) {
    static constexpr std::string_view kNames[] = {"connection",          "keep-alive",
                                                  "proxy-connection",    "proxy-authenticate",
                                                  "proxy-authorization", "te",
                                                  "transfer-encoding",   "x-real-ip",
                                                  "x-forwarded-for",     "x-forwarded-proto",
                                                  "x-forwarded-host",    "x-forwarded-port",
                                                  "x-forwarded-prefix",  "x-forwarded-server",
                                                  "forwarded",           "upgrade",
                                                  "http2-settings"};
    return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

// True for a name that some servers take for one of those: they read "_" and other signs as "-".
bool looks_like_ours(std::string_view name) {
    std::string plain(name);
    for (char& c : plain) {
        c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '-';
    }
    return is_ours_to_write(plain);
}

// Forbidden trailers: framing, routing, authentication, changes of the meaning.
bool is_barred_trailer(std::string_view name) {
    return looks_like_ours(name) || name == "host" || name == "authorization" || name == "range" ||
           name == "expect" || name == "cookie" || name == "trailer" ||
           name.starts_with("content-") || name.starts_with("if-");
}

// Names that a Connection field must not remove.
bool is_protected(std::string_view name) {
    return name == "host" || name == "authorization" || name == "range" || name == "expect" ||
           name == "cookie" || name == "trailer" || name.starts_with("x-amz-") ||
           name.starts_with("content-") || name.starts_with("if-");
}

// The received part of `sent` must be its lines, in order, without those that may be removed.
template <class MayGo>
void check_lines(const Message& sent, const Message& got, const MayGo& may_go) {
    std::size_t at = 0;
    for (const FieldLine& field : got.fields) {
        if (is_ours_to_write(field.name) || may_go(field)) {
            continue;
        }
        while (at < sent.fields.size() && sent.fields[at].line != field.line) {
            const FieldLine& missing = sent.fields[at];
            FUZZ_CHECK(looks_like_ours(missing.name) || may_go(missing) ||
                       (sent.lists("connection", missing.name) && !is_protected(missing.name)));
            ++at;
        }
        FUZZ_CHECK(at < sent.fields.size());
        ++at;
    }
    for (; at < sent.fields.size(); ++at) {
        const FieldLine& missing = sent.fields[at];
        FUZZ_CHECK(looks_like_ours(missing.name) || may_go(missing) ||
                   (sent.lists("connection", missing.name) && !is_protected(missing.name)));
    }
}

// Judges the head that has just reached a backend.
void Play::judge_upstream(const Served& served) {
    const Message& got = served.reader.message;
    Client& client = clients_[static_cast<std::size_t>(served.client)];
    const StrictReader* reader = request_of(client, served.index);
    FUZZ_CHECK(reader != nullptr);
    const Message& sent = reader->message;
    FUZZ_CHECK(sent.head_end > 0 && sent.head_end <= client.delivered);
    FUZZ_CHECK(got.begin == served.reader.message.begin && got.minor == 1);
    FUZZ_CHECK(got.method == sent.method && got.method != "CONNECT");
    std::string target = sent.target;
    const std::string start = lower(target.substr(0, 8));
    const std::size_t scheme = start.starts_with("http://") ? 7 : start == "https://" ? 8 : 0;
    if (scheme > 0) {
        const std::size_t end = target.find_first_of("/?", scheme);
        const std::string authority = target.substr(scheme, end - scheme);
        const std::string port = scheme == 7 ? ":80" : ":443";
        FUZZ_CHECK(without_port(lower(authority), port) ==
                   without_port(lower(sent.find("host")), port));
        target = end == std::string::npos ? "" : target.substr(end);
        if (target.empty() && sent.method == "OPTIONS") {
            target = "*";
        } else if (target.empty() || target[0] != '/') {
            target = "/" + target;
        }
    }
    FUZZ_CHECK(got.target == target);
    FUZZ_CHECK(got.target[0] == '/' || (got.target == "*" && got.method == "OPTIONS"));
    FUZZ_CHECK(got.framing == sent.framing && got.length == sent.length);
    FUZZ_CHECK(got.count("host") == 1);
    const bool needs_host = sent.count("host") == 0;
    check_lines(sent, got, [&](const FieldLine& field) {
        return (field.name == "host" && needs_host) || (field.name == "expect" && sent.minor == 0);
    });
    FUZZ_CHECK(got.count("x-forwarded-for") == 1 && got.count("x-forwarded-proto") == 1);
    FUZZ_CHECK(got.find("x-forwarded-for") == got.find("x-real-ip"));
    FUZZ_CHECK(got.count("te") + got.count("keep-alive") + got.count("forwarded") == 0);
    FUZZ_CHECK(got.count("connection") == (got.count("upgrade") > 0 ? 1u : 0u));
    FUZZ_CHECK(got.count("upgrade") == 0 || sent.lists("connection", "upgrade"));
    // The most lenient reader sees the same framing.
    const fuzz::SloppyHead sloppy =
        fuzz::read_sloppily(std::string_view(conns_[served.conn].end->out).substr(got.begin));
    FUZZ_CHECK(sloppy.complete && sloppy.hosts == 1);
    FUZZ_CHECK(sloppy.codings == (got.framing == BodyFraming::chunked ? 1u : 0u));
    FUZZ_CHECK(sloppy.lengths.size() == (got.framing == BodyFraming::length ? 1u : 0u));
    FUZZ_CHECK(sloppy.end == got.head_end - got.begin);
}

// The final answer in the bytes that a backend sent (or that the worker took).
Message Play::answer_of(const Served& served, bool to_head, bool consumed_only) const {
    const Conn& conn = conns_[served.conn];
    const Endpoint& end = *conn.end;
    std::size_t stop = std::min(served.answer_end, end.in.size());
    if (consumed_only) {
        stop = std::min(stop, end.in_taken);
    }
    const std::string_view stream = std::string_view(end.in).substr(0, stop);
    const bool ended = end.fin_in && !end.reset_in && served.answer_end == SIZE_MAX;
    bool had_odd_interim = false;
    std::size_t at = std::min(served.answer_begin, stream.size());
    for (;;) {
        StrictReader reader(StrictReader::Kind::response, at);
        reader.to_head = to_head;
        reader.softens_controls = true;
        reader.advance(stream, ended);
        if (reader.message.is_complete() && reader.message.status < 200 &&
            reader.message.status != 101) {
            at = reader.message.end;
            had_odd_interim = had_odd_interim || reader.message.is_oddly_framed;
            continue;
        }
        reader.message.follows_odd_interim = had_odd_interim;
        return reader.message;
    }
}

bool Play::has_continue(const Served& served) const {
    const Endpoint& end = *conns_[served.conn].end;
    const std::size_t stop = std::min({served.answer_end, end.in.size(), end.in_taken});
    return stop > served.answer_begin &&
           std::string_view(end.in)
                   .substr(served.answer_begin, stop - served.answer_begin)
                   .find(" 100 ") != std::string_view::npos;
}

// False for an unambiguous answer that the proxy still refuses.
bool Play::is_acceptable(const Served& served, const Message& answer) const {
    const bool small = reloaded_ || (options_ & fuzz::kSmallLimits) != 0;
    const bool to_head = served.reader.message.method == "HEAD";
    const bool has_lookalike =
        std::any_of(answer.fields.begin(), answer.fields.end(),
                    [](const FieldLine& field) { return sim::looks_like_framing(field.name); });
    return (!has_lookalike || answer.is_bodyless(to_head)) && served.program.interim != 0xff &&
           !(small && answer.head_end - answer.begin > kSmallHead);
}

// The connection was reused: `last` must have been complete, without surplus, and without an
// announced end.
void Play::judge_reuse(const Served& last) {
    if (last.raced) {
        return;
    }
    const Message answer = answer_of(last, last.reader.message.method == "HEAD", true);
    FUZZ_CHECK(answer.is_complete() && answer.framing != BodyFraming::until_close);
    FUZZ_CHECK(answer.end == conns_[last.conn].end->in_taken);
    FUZZ_CHECK(!answer.is_oddly_framed && !answer.follows_odd_interim);
    FUZZ_CHECK(!answer.lists("connection", "close"));
    FUZZ_CHECK(answer.minor == 1 || answer.lists("connection", "keep-alive"));
}

// True if the proxy made this answer itself.
bool is_own(const Message& answer) {
    if (answer.find("content-type") != "application/xml" || answer.count("x-tag") != 0 ||
        answer.find("x-amz-request-id").size() != 16) {
        return false;
    }
    for (const FieldLine& field : answer.fields) {
        if (field.name != "x-amz-request-id" && field.name != "retry-after" &&
            field.name != "content-type" && field.name != "content-length" &&
            field.name != "date" && field.name != "connection") {
            return false;
        }
    }
    return true;
}

// A Content-Length without a body must be the backend's, and only where it is allowed.
void check_length_field(const Message& said, const Message& got) {
    if (got.framing != BodyFraming::none || got.count("content-length") == 0) {
        return;
    }
    const std::string_view length = got.find("content-length");
    FUZZ_CHECK(got.count("content-length") == 1 && got.status >= 200 && got.status != 204);
    FUZZ_CHECK(got.count("transfer-encoding") == 0 && said.count("transfer-encoding") == 0);
    FUZZ_CHECK(said.lists("content-length", length));
    for (const FieldLine& field : said.fields) {
        // A list has digits, commas and white space, and only this number.
        FUZZ_CHECK(field.name != "content-length" ||
                   (field.value.find(length) != std::string::npos &&
                    field.value.find_first_not_of("0123456789, \t") == std::string::npos));
    }
}

void Play::judge_attempts(const Message& request, const std::vector<const Served*>& attempts) {
    const bool read = is_read_method(request.method);
    const bool has_body = request.framing == BodyFraming::chunked || request.length > 0;
    const bool expects = request.minor == 1 && request.lists("expect", "100-continue") && has_body;
    const std::string target = lower(request.target);
    const bool is_part = request.method == "PUT" && has_body &&
                         request.count("x-amz-copy-source") == 0 &&
                         target.find("uploadid=") != std::string::npos &&
                         target.find("partnumber=") != std::string::npos;
    const bool is_simple = (request.method == "PUT" || request.method == "DELETE") &&
                           request.count("if-match") + request.count("if-none-match") +
                                   request.count("x-amz-copy-source") ==
                               0;
    std::size_t complete = attempts.empty() ? 0 : 1;
    unsigned blind = 0;
    for (std::size_t i = 0; i + 1 < attempts.size(); ++i) {
        const Served& failed = *attempts[i];
        const Message& seen = failed.reader.message;
        const Message answer = answer_of(failed, request.method == "HEAD", true);
        // The proxy decides by the head; faults in the body come later.
        const bool has_answer = answer.head_end > 0 && is_acceptable(failed, answer);
        const int status = has_answer ? answer.status : 0;
        const bool untouched =
            expects && seen.payload.empty() && !seen.is_complete() && !has_continue(failed);
        FUZZ_CHECK(reloaded_ || (options_ & fuzz::kRetryNothing) == 0);
        if (failed.raced) {
            continue;
        }
        if (status == 503) {
            FUZZ_CHECK(reloaded_ || (options_ & fuzz::kRetryNoStatus) == 0);
            FUZZ_CHECK(read || is_simple || untouched);
        } else if (status == 500 || status == 502 || status == 504) {
            FUZZ_CHECK(reloaded_ || (options_ & fuzz::kRetryNoStatus) == 0);
            FUZZ_CHECK(read);
        } else {
            // The proxy may refuse even a complete, well-formed head (too long, an unasked 101). If
            // the limit was another one meanwhile, it is unknown whether a long head was too long;
            // then its status may be the reason.
            const bool unsure =
                reloaded_ && answer.head_end > 0 && answer.head_end - answer.begin > kSmallHead;
            FUZZ_CHECK(untouched || (read && !has_body) || is_part ||
                       (unsure && (read || is_simple)));
            blind += untouched || read ? 0 : 1;
        }
        ++complete;
    }
    FUZZ_CHECK(blind <= 1);
    FUZZ_CHECK(complete <= 4 + attempts.size() / 2);
    FUZZ_CHECK(attempts.size() <= kBackends + 1);
}

void Play::judge_answer(Client& client, std::size_t index, std::vector<const Served*>& attempts) {
    const Answer& given = client.answers[index];
    const Message& got = given.reader.message;
    const StrictReader* reader = request_of(client, index);
    const bool is_last = index + 1 == client.answers.size();
    if (reader == nullptr || reader->message.head_end == 0) {
        // The head is ambiguous: it was refused, if there was an answer at all.
        FUZZ_CHECK(attempts.empty() && given.interims.empty() && is_last);
        FUZZ_CHECK(!got.has_head() || (is_own(got) && got.status >= 400 && got.status < 500));
        return;
    }
    const Message& request = reader->message;
    const bool to_head = request.method == "HEAD";
    for (const Message& interim : given.interims) {
        FUZZ_CHECK(request.minor == 1);
        FUZZ_CHECK(interim.status != 100 || request.lists("expect", "100-continue"));
        FUZZ_CHECK(interim.status != 100 || interim.fields.empty());
        FUZZ_CHECK(interim.status == 100 || !attempts.empty());
    }
    FUZZ_CHECK(std::count_if(given.interims.begin(), given.interims.end(),
                             [](const Message& one) { return one.status == 100; }) <= 1);
    if (!got.has_head()) {
        FUZZ_CHECK(is_last);
        return;
    }
    FUZZ_CHECK(got.is_complete() || is_last);
    if (is_own(got)) {
        FUZZ_CHECK(got.status >= 400 && got.status != 500);
        if (got.status < 500) {
            FUZZ_CHECK(is_last && got.lists("connection", "close"));
            for (const Served* attempt : attempts) {
                FUZZ_CHECK(!attempt->reader.message.is_complete());
            }
        }
        return;
    }
    FUZZ_CHECK(!attempts.empty());
    const Served& last = *attempts.back();
    if (last.raced) {
        return;
    }
    const Message said = answer_of(last, to_head, false);
    FUZZ_CHECK(said.head_end > 0);
    FUZZ_CHECK(said.status == got.status && got.minor == 1);
    const std::string reason = said.reason.substr(0, said.reason.find_last_not_of(" \t") + 1);
    FUZZ_CHECK(reason.empty() || got.reason == said.reason);
    const bool session = ((options_ & fuzz::kSession) != 0 || reloaded_);
    check_lines(said, got, [&](const FieldLine& field) {
        return (field.name == "x-session-id" && session) ||
               (field.name == "content-length" &&
                (said.status == 204 || said.status == 101 || said.is_oddly_framed)) ||
               (said.is_oddly_framed && sim::looks_like_framing(field.name));
    });
    check_length_field(said, got);
    if (got.status == 101) {
        FUZZ_CHECK(request.lists("connection", "upgrade") && request.count("upgrade") > 0);
        judge_tunnel(client, index, last);
        return;
    }
    FUZZ_CHECK(said.payload.starts_with(got.payload));
    const bool orderly = client.end->fin_out && !client.end->reset_out;
    const bool looks_complete =
        got.is_complete() || (got.framing == BodyFraming::until_close && orderly);
    if (looks_complete) {
        FUZZ_CHECK(said.is_complete() && said.payload.size() == got.payload.size());
    }
    for (const FieldLine& trailer : got.trailers) {
        FUZZ_CHECK(std::any_of(said.trailers.begin(), said.trailers.end(),
                               [&](const FieldLine& one) { return one.line == trailer.line; }));
        FUZZ_CHECK(!is_barred_trailer(trailer.name));
    }
}

// Both directions of a tunnel carry the bytes of the other side, from the first byte on.
void Play::judge_tunnel(Client& client, std::size_t index, const Served& last) {
    const Conn& conn = conns_[last.conn];
    const std::string_view sent =
        std::string_view(client.bytes).substr(request_of(client, index)->message.end);
    const std::string_view got = std::string_view(conn.end->out).substr(last.reader.message.end);
    FUZZ_CHECK(sent.starts_with(got));
    const Message said = answer_of(last, false, false);
    FUZZ_CHECK(std::string_view(conn.end->in)
                   .substr(said.end)
                   .starts_with(std::string_view(client.end->out).substr(client.tunnel_at)));
}

void Play::judge_client(std::size_t number) {
    Client& client = clients_[number];
    FUZZ_CHECK(client.end->ended());
    std::size_t last_order = 0;
    std::size_t last_index = 0;
    std::map<std::size_t, std::vector<const Served*>> attempts;
    for (const Served& served : served_) {
        if (served.client != static_cast<int>(number)) {
            continue;
        }
        FUZZ_CHECK(served.order >= last_order && served.index >= last_index);
        last_order = served.order;
        last_index = served.index;
        attempts[served.index].push_back(&served);
        const Message& sent = request_of(client, served.index)->message;
        const Message& got = served.reader.message;
        FUZZ_CHECK(std::string_view(sent.payload).starts_with(got.payload));
        if (got.is_complete()) {
            FUZZ_CHECK(sent.is_complete() && sent.end <= client.delivered);
            FUZZ_CHECK(got.payload.size() == sent.payload.size());
            for (const FieldLine& trailer : got.trailers) {
                FUZZ_CHECK(
                    std::any_of(sent.trailers.begin(), sent.trailers.end(),
                                [&](const FieldLine& one) { return one.line == trailer.line; }));
                FUZZ_CHECK(!is_barred_trailer(trailer.name));
            }
        } else {
            // The body was cut, and the backend must notice.
            FUZZ_CHECK(conns_[served.conn].end->ended());
        }
    }
    for (std::size_t i = 0; i < client.answers.size(); ++i) {
        judge_answer(client, i, attempts[i]);
    }
    for (const auto& [index, list] : attempts) {
        if (!list.empty()) {
            judge_attempts(request_of(client, index)->message, list);
        }
    }
    // If all peers kept to the rules, every request has an answer.
    for (std::size_t i = 0; !disturbed_; ++i) {
        const StrictReader* reader = request_of(client, i);
        if (reader == nullptr || !reader->message.is_complete()) {
            break;
        }
        FUZZ_CHECK(client.answers.size() > i);
        const Message& answer = client.answers[i].reader.message;
        // A 1.0 client cannot learn the length of a chunked body: only an orderly end of the
        // connection tells that the body is complete.
        FUZZ_CHECK(answer.is_complete() ||
                   (answer.framing == BodyFraming::until_close && reader->message.minor == 0 &&
                    client.end->fin_out && !client.end->reset_out));
        if (answer.status == 101 || answer.lists("connection", "close") ||
            reader->message.lists("connection", "close") || reader->message.minor == 0) {
            break;
        }
    }
}

}  // namespace

FUZZ_TARGET(input) {
    if (input.size() <= 4096) {
        Play(input).run();
    }
}
