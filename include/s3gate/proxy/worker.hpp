// One worker: one thread, one event loop, its own listening sockets, pools, counters, log buffer.
// Everything a connection touches belongs to its worker; other threads reach it only through the
// post_… functions.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "s3gate/net/backend_pool.hpp"
#include "s3gate/net/buffer_pool.hpp"
#include "s3gate/net/reactor.hpp"
#include "s3gate/observe/access_log.hpp"
#include "s3gate/proxy/board.hpp"
#include "s3gate/proxy/client_table.hpp"
#include "s3gate/proxy/snapshot.hpp"

namespace s3gate::proxy {

class Worker;

// What all workers share; outlives them.
struct Shared {
    Board* board = nullptr;
    ClientTable* clients = nullptr;
    observe::LogWriter* access_log = nullptr;
    net::PipeBudget* pipes = nullptr;
    std::string hostname;
    std::uint64_t connection_limit = 0;  // clients, whole process
    std::size_t parked_limit = 0;        // parked backend connections per worker
    std::size_t replay_memory = 0;       // bytes per worker
    std::vector<Worker*> workers;
    // Workers whose listeners are open, and who may therefore still hand clients to others: nobody
    // ends before it is zero.
    std::atomic<std::size_t> listening{0};
};

// An open listening socket and the site it belongs to.
struct ListenSocket {
    int descriptor = -1;
    std::size_t site = 0;  // index into Snapshot::sites
    base::SocketAddress address;
};

class Worker {
  public:
    Worker(std::size_t index, Shared& shared, std::shared_ptr<const Snapshot> snapshot,
           std::vector<ListenSocket> listeners);
    ~Worker();

    // Starts the thread.
    void start();
    void join();

    // Any thread:
    void post_snapshot(std::shared_ptr<const Snapshot> snapshot);
    // A backend was taken down by a connect failure or timeout of its checks.
    void post_backend_down(std::uint32_t slot);
    // A client that another worker accepted.
    void post_client(int descriptor, std::size_t listener);
    // Room at a server that another worker gave up for a request waiting here; it is held already.
    // When nobody here can use it, up to `hops` further workers are asked.
    void post_room(std::uint32_t group, std::uint32_t cell, std::size_t hops);
    // Stops accepting, announces Connection: close, ends when nothing is left. Connections without
    // a request are closed after a quiet second, endless answers are ended after two.
    void post_drain();
    // Ends now: whatever is open is reset. The thread returns soon after.
    void post_stop();
    // True once the worker has drained (or stopped) and its thread is about to return.
    bool is_finished() const;
    // Requests cut short by post_stop(), and tunnels, which are not among them.
    std::uint64_t cut_requests() const;
    std::uint64_t cut_tunnels() const;
    // Endless answers (bucket notifications, traces) that the drain or the stop ended.
    std::uint64_t ended_answers() const;

    struct Impl;

  private:
    std::unique_ptr<Impl> impl_;
};

}  // namespace s3gate::proxy
