// A listener's socket in the event loop of one worker: accepts clients and keeps them or hands them
// to a worker with fewer. One thread.
#pragma once

#include <cstdint>
#include <memory>

#include "s3gate/net/reactor.hpp"
#include "s3gate/proxy/listener.hpp"

namespace s3gate::proxy {

class Worker;

class Acceptor final : public net::EventTarget {
  public:
    Acceptor(Worker& worker, std::shared_ptr<Listener> listener);
    ~Acceptor();
    Acceptor(const Acceptor&) = delete;
    Acceptor& operator=(const Acceptor&) = delete;

    // Accepts from now on. False without kernel memory.
    bool open();
    // Closes this worker's socket. May be called twice.
    void close();
    const Listener& listener() const { return *listener_; }
    void on_events(std::uint32_t events) override;
    // Tries again after a pause for lack of descriptors, and accepts what the last turn left.
    void on_tick();
    // Accepts every client in the queue. Called before the socket is closed: a close would reset
    // clients whose handshake has completed.
    void empty_queue();

  private:
    // The step after one call of accept().
    enum class Next : std::uint8_t { go_on, wait, pause };
    void accept_clients();
    Next accept_one(int socket);
    void go_on_later();

    Worker& worker_;
    std::shared_ptr<Listener> listener_;
    bool is_pending_ = false;  // the queue may hold clients without a further event
    bool lacks_descriptors_ = false;
};

}  // namespace s3gate::proxy
