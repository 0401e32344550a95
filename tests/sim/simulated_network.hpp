// The kernel's side of the data path, in memory: sockets, pipes, readiness and the monotonic clock.
// Programs are linked with --wrap for each call (tests/sim/CMakeLists.txt), so the daemon's objects
// run on it unchanged. Its descriptors are numbers that the kernel never gives out; calls on other
// descriptors go to the kernel. One thread.
//
// It keeps these properties of Linux: a receive is short only if the socket is drained;
// edge-triggered readiness reports the whole state at each edge; bytes before a reset stay
// readable; a reset is reported once, followed by an end; a close with unread bytes resets; a send
// into a full buffer is cut short, and an edge follows when there is room.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace s3gate::sim {

// One socket of the program under test, with the bytes from and to its peer.
struct Endpoint {
    static constexpr std::size_t kPlenty = SIZE_MAX;

    int fd = -1;
    sockaddr_storage local{};
    sockaddr_storage peer{};

    // From the peer.
    std::string in;
    std::size_t in_taken = 0;  // bytes of `in` that the program has received
    bool fin_in = false;
    bool reset_in = false;
    bool peer_closed = false;  // the peer is gone: further sends meet a reset
    int error = 0;             // pending, reported once
    bool connecting = false;

    // To the peer.
    std::string out;
    bool fin_out = false;
    bool reset_out = false;
    std::size_t room = kPlenty;  // bytes that can be sent until the buffer is full

    bool shut = false;
    bool closed = false;
    bool hard_close = false;
    bool starved = false;  // a send found no room: its return is an edge
    bool listening = false;
    std::deque<int> accept_queue;

    void* target = nullptr;
    std::uint32_t watched = 0;  // EPOLL… bits to report; errors and hang-ups are always reported
    bool edge = false;

    bool unread() const { return in_taken < in.size(); }
    bool ended() const { return fin_out || reset_out; }
};

class Network {
  public:
    static constexpr int kFirst = 1 << 20;

    Network();
    ~Network();
    Network(const Network&) = delete;
    Network& operator=(const Network&) = delete;
    static Network* current();

    Endpoint& open(bool listening);
    Endpoint* find(int fd);
    std::size_t count() const { return endpoints_.size(); }
    // Sockets and pipes that the program under test has not closed.
    std::size_t open_descriptors() const;
    // True if the program has not received all events yet.
    bool has_edges() const { return !edges_.empty(); }

    // Actions of the peer.
    void connect_client(Endpoint& listener, Endpoint& client);
    void deliver(Endpoint& to, std::string_view bytes);
    void finish(Endpoint& to);            // FIN
    void reset(Endpoint& to, int error);  // RST
    void give_room(Endpoint& to, std::size_t bytes);
    void end_connect(Endpoint& to, int error);  // 0: established

    std::chrono::steady_clock::time_point now{std::chrono::hours{1}};
    // Called at each connect(): 0, EINPROGRESS or an error.
    std::function<int(Endpoint&)> on_connect;
    // Called before each send: for events between the program's last look at the socket and its
    // send. May be empty.
    std::function<void(Endpoint&)> before_output;
    // Called with everything that the program sends.
    std::function<void(Endpoint&)> on_output;
    bool sockets_fail = false;  // socket() fails for lack of descriptors
    bool accepts_fail = false;  // accept() fails for the same reason
    std::size_t pipe_capacity = 1024 * 1024;

  private:
    friend struct Calls;
    struct Tube {
        std::string bytes;
        std::size_t taken = 0;
        bool open[2] = {true, true};
    };
    struct Descriptor {
        std::unique_ptr<Endpoint> endpoint;
        std::shared_ptr<Tube> tube;
        int end = 0;  // of the tube: 0 reads, 1 writes
        bool open = true;
    };
    // `cause` is the event of the kernel's wake-up (EPOLLIN for bytes, EPOLLOUT for room); an
    // endpoint that does not watch for it is not woken. 0 for an end, a reset and a finished
    // connect, which wake every endpoint.
    void edge(Endpoint& at, std::uint32_t cause);
    Descriptor* descriptor(int fd);

    std::vector<Descriptor> endpoints_;
    std::deque<int> edges_;
    int set_ = -1;  // the one epoll set that sockets are registered in
};

}  // namespace s3gate::sim
