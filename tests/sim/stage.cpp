#include "stage.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cerrno>
#include <set>
#include <sstream>
#include <utility>

#include "access_lines.hpp"
#include "check.hpp"
#include "s3gate/policy/affinity_key.hpp"

namespace s3gate::sim {
namespace {

constexpr const char* kClientIp = "10.0.0.1";
constexpr std::uint16_t kPort = 9000;
constexpr const char* kAddress = "0.0.0.0:80";
constexpr const char* kOtherAddress = "0.0.0.0:81";
constexpr unsigned kMaxRounds = 20000;
// The longest wait when no requests come any more: a lingering close.
constexpr seconds kLongestEnd{6};

std::string address_of(std::size_t node) {
    return "10.1.0." + std::to_string(node + 1);
}

sockaddr_storage ipv4(const char* ip, std::uint16_t port) {
    sockaddr_storage storage{};
    auto& address = reinterpret_cast<sockaddr_in&>(storage);
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    SIM_CHECK(::inet_pton(AF_INET, ip, &address.sin_addr) == 1);
    return storage;
}

// True if the ring sends a client's requests to the nodes in the order of their names.
bool is_in_order(const state::Group& group) {
    policy::KeyInput input;
    input.client_ip = kClientIp;
    input.salt = group.balance->salt;
    policy::RingWalk walk = policy::start_walk(group.ring, policy::fingerprint(input));
    for (std::uint32_t expected = 0; expected < group.servers.size(); ++expected) {
        const auto next = policy::walk_to_usable(
            group.ring, walk, [&](std::uint32_t server) { return server >= expected; });
        if (next != expected) {
            return false;
        }
    }
    return true;
}

}  // namespace

Stage::Stage(std::size_t nodes, const Change& change, WorkerSetup setup) {
    build(nodes, change);
    network_.on_connect = [this](Endpoint& end) { return on_connect(end); };
    network_.on_output = [](Endpoint&) {};
    listener_ = &network_.open(true);
    setup.listener = listener_->fd;
    worker_ = std::make_unique<SimulatedWorker>(snapshot_, setup);
}

Stage::~Stage() {
    for (ClientPeer& client : clients_) {
        if (!client.is_closed()) {
            network_.reset(*client.end, ECONNRESET);
        }
    }
    settle();
    for (milliseconds passed{0}; worker_->clients() > 0 && passed < kLongestEnd; passed += kTick) {
        advance(kTick);
    }
    EXPECT_EQ(worker_->clients(), 0u) << "clients that never end";
    EXPECT_EQ(worker_->leftovers(), "");
    worker_->drain();
    settle();
    EXPECT_TRUE(worker_->is_finished());
    worker_.reset();
    EXPECT_EQ(network_.open_descriptors(), 0u);
}

void Stage::build(std::size_t nodes, const Change& change) {
    for (std::size_t i = 0; i < nodes; ++i) {
        Node& node = nodes_.emplace_back();
        node.name = static_cast<char>('a' + i);
        node.usual = says(answer(200, "from " + node.name));
    }
    // With many nodes the order does not matter.
    const bool wants_order = nodes <= 4;
    for (unsigned salt = 0;; ++salt) {
        SIM_CHECK(salt < 2000);
        auto made = std::make_shared<config::Config>();
        config::Site& site = made->sites.emplace_back();
        site.name = "site";
        site.listen.emplace_back().address = *base::SocketAddress::parse(kAddress);
        site.backends.name = "group";
        for (std::size_t i = 0; i < nodes; ++i) {
            config::Server& server = site.backends.servers.emplace_back();
            server.text = nodes_[i].name;
            server.host = address_of(i);
            server.port = kPort;
        }
        site.balance.key = {{config::KeySource::Kind::fingerprint, {}}};
        site.balance.salt = std::to_string(salt);
        if (change) {
            change(site);
        }
        // As the reader of the configuration does.
        for (config::Server& server : site.backends.servers) {
            if (server.max_connections == 0) {
                server.max_connections = site.backends.max_connections;
            }
        }
        names_ = std::make_unique<state::Board>(1);
        directory_ = std::make_unique<state::SlotDirectory>(*names_);
        config_ = std::move(made);
        snapshot_ = state::build_snapshot(config_, {}, *directory_);
        const state::Group& built = snapshot_->sites[0].default_group();
        if (!wants_order || built.ring.empty() || is_in_order(built)) {
            return;
        }
    }
}

void Stage::each(const std::function<void(Node&)>& change) {
    std::for_each(nodes_.begin(), nodes_.end(), change);
}

int Stage::on_connect(Endpoint& end) {
    const auto& address = reinterpret_cast<const sockaddr_in&>(end.peer);
    const std::size_t index = (ntohl(address.sin_addr.s_addr) & 0xff) - 1;
    const Node& node = nodes_.at(index);
    if (node.door == Node::Door::refuse) {
        return ECONNREFUSED;
    }
    Visit& visit = visits_.emplace_back();
    visit.end = &end;
    visit.node = index;
    end.room = node.room;
    return node.door == Node::Door::open ? 0 : EINPROGRESS;
}

Visit& Stage::visit(char name) {
    SIM_CHECK(visits(name) > 0);
    return visit(name, visits(name) - 1);
}

Visit& Stage::visit(char name, std::size_t nth) {
    for (Visit& visit : visits_) {
        if (nodes_[visit.node].name[0] == name && nth-- == 0) {
            return visit;
        }
    }
    SIM_CHECK(false && "no such connection");
    std::abort();
}

std::size_t Stage::visits(char name) const {
    return static_cast<std::size_t>(
        std::count_if(visits_.begin(), visits_.end(),
                      [&](const Visit& visit) { return nodes_[visit.node].name[0] == name; }));
}

ClientPeer& Stage::client() {
    ClientPeer& client = clients_.emplace_back();
    client.end = &network_.open(false);
    client.end->peer = ipv4(kClientIp, static_cast<std::uint16_t>(40000 + clients_.size()));
    client.end->local = ipv4("10.0.0.200", kPort);
    network_.connect_client(*listener_, *client.end);
    settle();
    return client;
}

ClientPeer& Stage::ask(std::string_view text) {
    ClientPeer& asking = client();
    say(asking, text);
    return asking;
}

std::vector<std::string> Stage::pieces(std::string_view text) const {
    std::set<std::size_t> at;
    const std::size_t line_end = text.find("\r\n");
    const std::size_t head_end = text.find("\r\n\r\n");
    if (split == Split::bytes) {
        for (std::size_t i = 1; i < text.size(); ++i) {
            at.insert(i);
        }
    } else if (split == Split::cuts) {
        at = {1, text.size() - 1};
        if (head_end != std::string_view::npos) {
            at.insert({line_end + 1, line_end + 2, head_end + 3, head_end + 4, head_end + 5});
        }
    }
    at.insert(text.size());
    std::vector<std::string> made;
    std::size_t from = 0;
    for (const std::size_t to : at) {
        if (to > from && to <= text.size()) {
            made.emplace_back(text.substr(from, to - from));
            from = to;
        }
    }
    return made;
}

void Stage::say(ClientPeer& client, std::string_view text) {
    client.said += text;
    for (const std::string& piece : pieces(text)) {
        network_.deliver(*client.end, piece);
        settle();
    }
}

void Stage::say(Visit& visit, std::string_view text) {
    for (const std::string& piece : pieces(text)) {
        network_.deliver(*visit.end, piece);
        settle();
    }
}

void Stage::fin(ClientPeer& client) {
    network_.finish(*client.end);
    settle();
}

void Stage::rst(ClientPeer& client) {
    network_.reset(*client.end, ECONNRESET);
    settle();
}

void Stage::fin(Visit& visit) {
    visit.end->peer_closed = true;
    half_close(visit);
}

void Stage::half_close(Visit& visit) {
    network_.finish(*visit.end);
    settle();
}

void Stage::rst(Visit& visit) {
    network_.reset(*visit.end, ECONNRESET);
    settle();
}

void Stage::take(Endpoint& end, std::size_t bytes) {
    network_.give_room(end, bytes);
    settle();
}

void Stage::let_in(Visit& visit) {
    network_.end_connect(*visit.end, 0);
    settle();
}

void Stage::turn_away(Visit& visit) {
    network_.end_connect(*visit.end, ECONNREFUSED);
    settle();
}

void Stage::reconfigure(const Change& change) {
    auto made = std::make_shared<config::Config>(*config_);
    change(made->sites[0]);
    config_ = std::move(made);
    resolve();
}

void Stage::resolve() {
    snapshot_ = state::build_snapshot(config_, {}, *directory_);
    worker_->use_snapshot(snapshot_);
    settle();
}

void Stage::leave_address(const Change& change) {
    reconfigure([&change](config::Site& site) {
        site.listen[0].address = *base::SocketAddress::parse(kOtherAddress);
        if (change) {
            change(site);
        }
    });
}

void Stage::close_listener() {
    worker_->close_listener();
    settle();
}

void Stage::return_to_address() {
    const auto with_address = [](config::Site& site) {
        site.listen[0].address = *base::SocketAddress::parse(kAddress);
    };
    config::Config back = *config_;
    with_address(back.sites[0]);
    listener_ = &network_.open(true);
    const auto made = std::make_shared<const config::Config>(std::move(back));
    worker_->add_listener(listener_->fd,
                          state::build_snapshot(made, {}, *directory_)->addresses[0]);
    reconfigure(with_address);
}

const state::GroupServer& Stage::server(char name) const {
    return snapshot_->sites[0].default_group().servers[static_cast<std::size_t>(name - 'a')];
}

state::CellId Stage::backend(char name) const {
    return snapshot_->sites[0].default_group().peers[server(name).first_peer].id();
}

state::CellId Stage::group() const {
    return snapshot_->sites[0].default_group().id();
}

state::CellId Stage::room(char name) const {
    return server(name).room;
}

void Stage::set_up(char name, bool up) {
    worker_->set_up(slot_of(name), up);
}

void Stage::take_down(char name) {
    worker_->set_up(slot_of(name), false);
    worker_->take_down(backend(name));
    settle();
}

void Stage::command(char name, state::Override what) {
    worker_->command(backend(name), what);
    settle();
}

void Stage::drain() {
    worker_->drain();
    settle();
}

void Stage::stop() {
    worker_->stop();
    settle();
}

void Stage::advance(milliseconds time) {
    for (milliseconds passed{0}; passed < time; passed += kTick) {
        network_.now += kTick;
        settle();
    }
}

void Stage::settle() {
    for (unsigned round = 0;; ++round) {
        SIM_CHECK(round < kMaxRounds);  // the stage comes to rest
        worker_->turn();
        bool moved = (network_.has_edges() || worker_->is_busy()) && !worker_->is_finished();
        for (Visit& visit : visits_) {
            read(visit);
            moved = step(visit) || moved;
        }
        for (ClientPeer& client : clients_) {
            read(client);
        }
        if (!moved) {
            return;
        }
    }
}

// Reads the worker's requests to a node.
void Stage::read(Visit& visit) {
    for (;;) {
        const std::size_t at = visit.requests.empty() ? 0 : visit.request().end;
        if (visit.requests.empty() || visit.request().is_complete()) {
            const bool in_tunnel = !visit.requests.empty() && visit.request().count("upgrade") > 0;
            if (at == visit.heard().size() || in_tunnel) {
                return;
            }
            Node& node = nodes_[visit.node];
            ++node.asked;
            visit.requests.emplace_back(StrictReader::Kind::request, at);
            visit.reply = node.usual;
            if (!node.replies.empty()) {
                visit.reply = std::move(node.replies.front());
                node.replies.pop_front();
            }
            visit.has_asked = visit.has_replied = false;
        }
        visit.requests.back().advance(visit.heard(), false);
        SIM_CHECK(visit.request().state != Message::State::invalid);
        if (!visit.request().is_complete()) {
            return;
        }
    }
}

// True if the node sent or did something.
bool Stage::step(Visit& visit) {
    if (!visit.requests.empty() && !visit.has_replied && visit.request().has_head() &&
        visit.reply.when != Reply::When::never) {
        const Message& message = visit.request();
        if (visit.reply.when == Reply::When::head || message.is_complete()) {
            visit.has_replied = true;
            std::string text = visit.reply.text;
            if (message.method == "HEAD") {
                text.resize(std::min(text.size(), text.find("\r\n\r\n") + 4));
            }
            for (std::string& piece : pieces(text)) {
                visit.pending.push_back(std::move(piece));
            }
            visit.then = visit.reply.then;
        } else if (visit.reply.asks && !visit.has_asked &&
                   message.lists("expect", "100-continue")) {
            visit.has_asked = true;
            visit.pending.emplace_back("HTTP/1.1 100 Continue\r\n\r\n");
        }
    }
    if (!visit.pending.empty()) {
        network_.deliver(*visit.end, visit.pending.front());
        visit.pending.pop_front();
        return true;
    }
    switch (std::exchange(visit.then, Reply::Then::keep)) {
        case Reply::Then::keep:
            return false;
        case Reply::Then::fin:
            network_.finish(*visit.end);
            visit.end->peer_closed = true;
            return true;
        case Reply::Then::rst:
            network_.reset(*visit.end, ECONNRESET);
            return true;
    }
    return false;
}

// Reads the worker's answers to a client.
void Stage::read(ClientPeer& client) {
    while (!client.in_tunnel) {
        const bool is_new = client.answers.empty() || client.answers.back().message().is_complete();
        const std::size_t at = client.answers.empty() ? 0 : client.answers.back().message().end;
        if (is_new) {
            if (at == client.heard().size()) {
                return;
            }
            client.answers.emplace_back().reader = StrictReader(StrictReader::Kind::response, at);
        }
        // The request decides whether its answer has a body.
        std::vector<StrictReader>& requests = client.requests;
        while (requests.size() < client.answers.size()) {
            const std::size_t from = requests.empty() ? 0 : requests.back().message.end;
            requests.emplace_back(StrictReader::Kind::request, from);
            requests.back().advance(client.said, false);
        }
        Answer& last = client.answers.back();
        last.reader.to_head = requests[client.answers.size() - 1].message.method == "HEAD";
        last.reader.advance(client.heard(), client.is_finished());
        SIM_CHECK(last.message().state != Message::State::invalid);
        if (!last.message().is_complete()) {
            return;
        }
        if (last.message().status == 101) {
            client.in_tunnel = true;
        } else if (last.message().status < 200) {
            last.interims.push_back(last.message().status);
            last.reader = StrictReader(StrictReader::Kind::response, last.message().end);
        }
    }
}

std::vector<Record> Stage::records() {
    worker_->flush_log();
    std::vector<Record> made;
    std::istringstream lines(take_access_lines());
    for (std::string line; std::getline(lines, line);) {
        const boost::json::object fields = boost::json::parse(line).as_object();
        const auto text = [&fields](const char* name) {
            return std::string(fields.at(name).as_string());
        };
        Record& record = made.emplace_back();
        record.status = static_cast<int>(fields.at("status").as_int64());
        record.tries = static_cast<int>(fields.at("tries").as_int64());
        record.error = text("error");
        record.response_time = fields.at("responsetime").to_number<double>();
        if (!fields.at("queued").is_null()) {
            record.queued = fields.at("queued").as_int64();
        }
        std::istringstream addresses(text("upstreamaddr"));
        for (std::string address; std::getline(addresses, address, ' ');) {
            for (std::size_t i = 0; i < nodes_.size(); ++i) {
                if (address.starts_with(address_of(i) + ":")) {
                    record.nodes += nodes_[i].name;
                }
            }
        }
    }
    return made;
}

Record Stage::record() {
    const std::vector<Record> made = records();
    EXPECT_EQ(made.size(), 1u) << "lines of the access log";
    return made.empty() ? Record{} : made.front();
}

std::string request(std::string_view method, std::string_view target, std::string_view fields) {
    std::string text(method);
    text.append(" ").append(target).append(" HTTP/1.1\r\nHost: storage.example\r\n");
    return text.append(fields).append("\r\n");
}

std::string request_with(std::string_view body, std::string_view method, std::string_view target,
                         std::string_view fields) {
    const std::string length = "Content-Length: " + std::to_string(body.size()) + "\r\n";
    return request(method, target, length + std::string(fields)).append(body);
}

std::string answer(int status, std::string_view body, std::string_view fields) {
    std::string text = "HTTP/1.1 " + std::to_string(status) + " Said So\r\n";
    text.append(fields).append("Content-Length: ").append(std::to_string(body.size()));
    return text.append("\r\n\r\n").append(body);
}

std::string error_answer(int status, std::string_view code) {
    std::string body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>";
    body.append(code).append("</Code><Message>m</Message></Error>");
    return answer(status, body, "Content-Type: application/xml\r\n");
}

Reply says(std::string text, Reply::Then then) {
    Reply reply;
    reply.text = std::move(text);
    reply.then = then;
    return reply;
}

Reply silence() {
    Reply reply;
    reply.when = Reply::When::never;
    return reply;
}

Reply dies(Reply::Then how) {
    return says("", how);
}

}  // namespace s3gate::sim
