// The interface of a worker for other threads: the control side and the other workers. Any thread,
// as long as the worker lives. Each post_… returns at once; the worker executes it on its own
// thread, in the order of the calls. After the worker has finished, messages are dropped. A message
// about a cell that has a new owner does nothing.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "s3gate/state/board.hpp"

namespace s3gate::proxy {

class ClientSurvey;
class Listener;
class Worker;
struct Publication;

class WorkerHandle {
  public:
    explicit WorkerHandle(Worker& worker) : worker_(&worker) {}

    // Serves new requests with it. Accepts nothing through its new listeners before post_listen():
    // a worker that got it first would hand clients to one that does not know the listener.
    void post_publication(std::shared_ptr<const Publication> publication) const;
    void post_listen() const;
    // Takes the last clients from this worker's socket of the listener and closes it.
    void post_close(std::shared_ptr<const Listener> listener) const;
    // The checks took a backend down because of a connect failure or a timeout.
    void post_backend_down(state::CellId backend) const;
    // The backend gets no further request: closes its parked connections.
    void post_forget_parked(state::CellId backend) const;
    // Hands over a client that another worker accepted. This worker owns `descriptor` from now on.
    void post_client(int descriptor, std::shared_ptr<const Listener> listener) const;
    // Hands over room at a server that another worker gave up; the room is still occupied. If no
    // request here can use it, the room passes on to up to `hops` further workers.
    void post_room(state::CellId group, state::CellId room, std::size_t hops) const;
    // Fills the worker's part of the survey, some clients in each round of the loop. A survey that
    // the worker has not finished yet gets no answer from it any more.
    void post_survey(std::shared_ptr<ClientSurvey> survey) const;
    // Announces Connection: close in every answer from now on.
    void post_announce_close() const;
    // Stops accepting from `kept`, because a successor has these sockets too, and announces
    // Connection: close. Ends after the last connection; none is closed for it. Other listeners
    // wait for post_close(). The worker lets `kept` go once it accepts no more.
    using Listeners = std::vector<std::shared_ptr<Listener>>;
    void post_hand_over(std::shared_ptr<const Listeners> kept) const;
    // After post_hand_over(): ends tunnels at once, and endless answers as a drain does. Requests
    // have their time, and connections without one stay open.
    void post_hurry() const;
    // Stops accepting, announces Connection: close, ends after the last connection. A connection
    // without a request is closed after one quiet second; an endless answer is ended after two
    // seconds.
    void post_drain() const;
    // Resets all open connections. The worker finishes soon after.
    void post_stop() const;
    // True once the worker has drained or stopped and its thread is about to return.
    bool is_finished() const;

  private:
    Worker* worker_;
};

}  // namespace s3gate::proxy
