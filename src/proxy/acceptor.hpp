// One worker's part of a listener: its sockets, and the generation of its clients. A client that
// comes through a socket is kept, or handed to a worker with fewer. Lives until the last of its
// clients is gone. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "s3gate/net/reactor.hpp"
#include "s3gate/proxy/listener.hpp"

namespace s3gate::proxy {

struct AddressState;
class Generation;
class Worker;

class Acceptor final : public net::EventTarget {
  public:
    Acceptor(Worker& worker, std::shared_ptr<Listener> listener);
    ~Acceptor();
    Acceptor(const Acceptor&) = delete;
    Acceptor& operator=(const Acceptor&) = delete;

    // Accepts from now on; does nothing the second time. False without kernel memory.
    bool open();
    // Closes this worker's sockets, which resets clients in the queue. May be called twice.
    void close();
    // Accepts every client in the queue, then closes. While descriptors are short it waits for some
    // and closes later. Call it when no handshake begins any more.
    void close_when_empty();
    // True if this worker has no socket of it.
    bool is_closed() const;
    const Listener& listener() const { return *listener_; }

    // From now on requests of its clients begin with `generation`, the worker's present one;
    // `address` is the listener's address in it, or the wildcard that replaces it.
    void use(Generation& generation, const AddressState& address);
    // Call it when the present generation has neither. Keeps the last generation that had it
    // for the clients that are still connected.
    void leave();
    Generation& generation() const { return *generation_; }
    const AddressState& address() const { return *address_; }
    // Number of the last generation that lowered the bound on the site's connections; 0: none.
    std::uint32_t bound_fell_in() const { return bound_fell_in_; }
    // True if the address is no longer configured: a client's next answer is its last one.
    bool is_leaving() const { return is_leaving_; }
    // True if it has no client and will get none.
    bool is_over() const { return clients == 0 && listener_->is_closed(); }

    std::size_t clients = 0;  // of this worker; it counts them

    void on_events(std::uint32_t events) override;
    // Tries again after a pause for lack of descriptors, and accepts what the last turn left.
    void on_tick();

  private:
    // The step after a call of accept(); a later one is more urgent.
    enum class Next : std::uint8_t { wait, go_on, pause };
    // Calls visit(place) for each place of this worker's sockets.
    template <class Visit>
    void visit_places(Visit visit) const;
    void stay();
    bool has_queue() const;
    // Accepts what is there, or closes at last.
    void go_on();
    void accept_clients();
    Next accept_some(int socket);
    Next accept_one(int socket);
    void go_on_later();
    void set_lacking(bool lacks_descriptors);

    Worker& worker_;
    std::shared_ptr<Listener> listener_;
    Generation* generation_ = nullptr;       // borrowed while is_leaving_
    const AddressState* address_ = nullptr;  // of generation_
    std::uint32_t bound_fell_in_ = 0;
    bool is_leaving_ = false;
    bool is_open_ = false;
    bool is_pending_ = false;  // the queue may hold clients without a further event
    bool lacks_descriptors_ = false;
    bool closes_when_empty_ = false;
};

}  // namespace s3gate::proxy
