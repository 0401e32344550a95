// A listener's socket in the readiness set of one worker: takes clients in, or hands them to a
// worker with fewer of them. One thread.
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

    // Accepts from now on; false for want of kernel memory.
    bool open();
    // Closes this worker's socket; once is enough, twice does no harm.
    void close();
    const Listener& listener() const { return *listener_; }
    void on_events(std::uint32_t events) override;
    // Tries again after a pause for want of descriptors; also takes what one turn left behind.
    void on_tick();
    // Takes everything in the queue: called before the socket is closed, so that no client that got
    // through the handshake is reset.
    void empty_queue();

  private:
    // What is to be done after one call of accept().
    enum class Next : std::uint8_t { go_on, wait, pause };
    void accept_clients();
    Next accept_one(int socket);
    void go_on_later();

    Worker& worker_;
    std::shared_ptr<Listener> listener_;
    bool is_pending_ = false;  // there may be clients that no event will tell of
    bool lacks_descriptors_ = false;
};

}  // namespace s3gate::proxy
