// A worker as everybody else sees it, the control side and the other workers: what it can be told.
// Any thread, as long as the worker lives. Each post_… returns at once; the worker does it on its
// own thread, in the order in which it was told, and not at all once it has finished. What is said
// of a cell that was given back meanwhile does nothing.
#pragma once

#include <cstddef>
#include <memory>

#include "s3gate/state/board.hpp"

namespace s3gate::state {
struct Snapshot;
}

namespace s3gate::proxy {

class Listener;
class Worker;

class WorkerHandle {
  public:
    explicit WorkerHandle(Worker& worker) : worker_(&worker) {}

    void post_snapshot(std::shared_ptr<const state::Snapshot> snapshot) const;
    // A backend was taken down by a connect failure or timeout of its checks.
    void post_backend_down(state::CellId backend) const;
    // A client that another worker accepted; `descriptor` is the worker's from now on.
    void post_client(int descriptor, std::shared_ptr<const Listener> listener) const;
    // Room at a server that another worker gave up for a request waiting here; it is held already.
    // When nobody here can use it, up to `hops` further workers are asked.
    void post_room(state::CellId group, state::CellId room, std::size_t hops) const;
    // Stops accepting, announces Connection: close, ends when nothing is left. Connections without
    // a request are closed after a quiet second, endless answers are ended after two.
    void post_drain() const;
    // Ends now: whatever is open is reset. The worker finishes soon after.
    void post_stop() const;
    // True once the worker has drained (or stopped) and its thread is about to return.
    bool is_finished() const;

  private:
    Worker* worker_;
};

}  // namespace s3gate::proxy
