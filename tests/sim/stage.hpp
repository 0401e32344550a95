// A scenario on one simulated worker: a site, named nodes that act as told, clients, and time that
// passes on command. At the end of every scenario the worker must hold and count nothing.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "s3gate/config/model.hpp"
#include "s3gate/state/slot_directory.hpp"
#include "s3gate/state/snapshot.hpp"
#include "simulated_network.hpp"
#include "simulated_worker.hpp"
#include "strict_reader.hpp"

namespace s3gate::sim {

using std::chrono::milliseconds;
using std::chrono::seconds;

// How a peer's bytes are cut into segments. Between two segments the worker comes to rest.
enum class Split {
    whole,
    bytes,  // one by one
    cuts,   // after the first byte, in the first line's end, around the head's end, before the last
            // byte
};

// A node's reaction to one request.
struct Reply {
    enum class When {
        request,  // after the complete request
        head,     // after the request's head
        never,    // the scenario acts for the node
    };
    enum class Then { keep, fin, rst };

    std::string text;
    When when = When::request;
    Then then = Then::keep;
    bool asks = true;  // sends 100 for a request that expects it
};

// A connection of the worker to a node.
struct Visit {
    Endpoint* end = nullptr;
    std::size_t node = 0;
    std::vector<StrictReader> requests;
    Reply reply;  // to the last request
    bool has_asked = false;
    bool has_replied = false;
    std::deque<std::string> pending;
    Reply::Then then = Reply::Then::keep;

    // All bytes it received.
    const std::string& heard() const { return end->out; }
    const Message& request() const { return requests.back().message; }
    // Closed by the worker, with FIN or with a reset.
    bool is_cut() const { return end->reset_out; }
    bool is_closed() const { return end->ended(); }
};

struct Node {
    enum class Door { open, refuse, hang };
    std::string name;
    Door door = Door::open;
    std::deque<Reply> replies;  // for the next requests
    Reply usual;                // for all others
    // Bytes that a new connection takes before the node reads.
    std::size_t room = Endpoint::kPlenty;
    std::size_t asked = 0;  // requests whose first byte arrived
};

struct Answer {
    StrictReader reader{StrictReader::Kind::response};
    std::vector<int> interims;  // statuses of the interim answers before it
    const Message& message() const { return reader.message; }
};

struct ClientPeer {
    Endpoint* end = nullptr;
    std::string said;
    std::vector<StrictReader> requests;
    std::vector<Answer> answers;
    bool in_tunnel = false;

    const std::string& heard() const { return end->out; }
    bool is_closed() const { return end->ended(); }
    bool is_finished() const { return end->fin_out && !end->reset_out; }
    bool is_reset() const { return end->reset_out; }
    // Status of the last answer with a complete head; 0 if there is none.
    int status() const { return answers.empty() ? 0 : answers.back().message().status; }
    const std::string& body() const { return answers.back().message().payload; }
};

// One line of the access log.
struct Record {
    int status = 0;
    int tries = 0;
    std::string nodes;  // names of the tried nodes, in order
    std::string error;  // "-" = none
    std::int64_t queued = -1;
    double response_time = 0;
};

class Stage {
  public:
    using Change = std::function<void(config::Site&)>;

    // `nodes` nodes named a, b, c, … Every request goes to them in this order (a ketama ring with a
    // suitable salt). Defaults of the configuration, with the changes of `change`.
    explicit Stage(std::size_t nodes = 3, const Change& change = {}, WorkerSetup setup = {});
    ~Stage();
    Stage(const Stage&) = delete;
    Stage& operator=(const Stage&) = delete;

    Split split = Split::whole;

    Node& node(char name) { return nodes_.at(static_cast<std::size_t>(name - 'a')); }
    // The same for all nodes.
    void each(const std::function<void(Node&)>& change);
    // The latest connection to a node; `nth` counts from the first.
    Visit& visit(char name);
    Visit& visit(char name, std::size_t nth);
    std::size_t visits(char name) const;

    ClientPeer& client();
    // Connects and sends the text.
    ClientPeer& ask(std::string_view text);

    // Actions of peers; the worker comes to rest after each.
    void say(ClientPeer& client, std::string_view text);
    void say(Visit& visit, std::string_view text);
    void fin(ClientPeer& client);
    void rst(ClientPeer& client);
    void fin(Visit& visit);         // the node is gone: further bytes to it meet a reset
    void half_close(Visit& visit);  // it has sent all, and still reads
    void rst(Visit& visit);
    void take(Endpoint& end, std::size_t bytes = Endpoint::kPlenty);
    // Establishes or refuses a connect that the node's door kept waiting.
    void let_in(Visit& visit);
    void turn_away(Visit& visit);

    // A node's health by the checks; `take_down` also wakes the requests that wait for it.
    void set_up(char name, bool up);
    void take_down(char name);
    // What an operator commands for a node.
    void command(char name, state::Override what);
    bool is_marked(char name) const { return worker_->is_marked(slot_of(name)); }
    void drain();
    void stop();

    // Makes a generation with the changes of `change`; the worker uses it from now on. Nodes keep
    // their cells.
    void reconfigure(const Change& change);
    // A generation of the same configuration, as for other addresses of its names.
    void resolve();
    // A generation with another address instead of the clients', as well as the changes. The socket
    // stays open until close_listener().
    void leave_address(const Change& change = {});
    void close_listener();
    // A generation with the clients' address again, on a new socket.
    void return_to_address();
    // The current generation; a weak pointer does not keep it alive.
    std::weak_ptr<const state::Snapshot> generation() const { return snapshot_; }
    // A backend's cell, and its group's.
    state::CellId backend(char name) const;
    state::CellId group() const;
    // The cell of the room at a node.
    state::CellId room(char name) const;

    // Lets time pass, tick by tick.
    void advance(milliseconds time);
    void settle();

    // Lines of the access log since the last call.
    std::vector<Record> records();
    // The only one since the last call.
    Record record();

    SimulatedWorker& worker() { return *worker_; }
    Network& network() { return network_; }
    std::uint64_t count(state::Counter state::WorkerCounterCells::* counter) const {
        return worker_->total(counter);
    }

  private:
    void build(std::size_t nodes, const Change& change);
    int on_connect(Endpoint& end);
    void read(ClientPeer& client);
    void read(Visit& visit);
    bool step(Visit& visit);
    const state::GroupServer& server(char name) const;
    std::size_t slot_of(char name) const { return backend(name).index; }
    std::vector<std::string> pieces(std::string_view text) const;

    Network network_;
    Endpoint* listener_ = nullptr;
    // The cell names. Their numbers match the worker's own board, which has all cells from the
    // start.
    std::unique_ptr<state::Board> names_;
    std::unique_ptr<state::SlotDirectory> directory_;
    std::shared_ptr<const config::Config> config_;
    std::shared_ptr<const state::Snapshot> snapshot_;
    std::vector<Node> nodes_;
    std::deque<Visit> visits_;
    std::deque<ClientPeer> clients_;
    std::unique_ptr<SimulatedWorker> worker_;
};

// Text of requests and answers. `fields`: whole lines. A body gets a Content-Length.
std::string request(std::string_view method, std::string_view target = "/bucket/key",
                    std::string_view fields = "");
std::string request_with(std::string_view body, std::string_view method = "PUT",
                         std::string_view target = "/bucket/key", std::string_view fields = "");
std::string answer(int status, std::string_view body = "", std::string_view fields = "");
// An S3 error document with this code.
std::string error_answer(int status, std::string_view code);
// A node's reply of exactly this text.
Reply says(std::string text, Reply::Then then = Reply::Then::keep);
// A node that reads the request and sends nothing; the scenario acts for it.
Reply silence();
// A node that reads the request and closes without an answer.
Reply dies(Reply::Then how = Reply::Then::rst);

}  // namespace s3gate::sim
