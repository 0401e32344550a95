#include "s3gate/proxy/worker_handle.hpp"

#include <utility>

#include "worker.hpp"

namespace s3gate::proxy {

void WorkerHandle::post_snapshot(std::shared_ptr<const state::Snapshot> snapshot) const {
    worker_->reactor.submit([worker = worker_, snapshot = std::move(snapshot)]() mutable {
        worker->use_snapshot(std::move(snapshot));
    });
}

void WorkerHandle::post_backend_down(state::CellId backend) const {
    worker_->reactor.submit([worker = worker_, backend] { worker->backend_down(backend); });
}

void WorkerHandle::post_client(int descriptor, std::shared_ptr<const Listener> listener) const {
    // Counted at once: a worker that is late with its messages would else be given too many.
    worker_->shared.board->add_arriving(worker_->index, 1);
    worker_->reactor.submit([worker = worker_, descriptor, listener = std::move(listener)] {
        worker->shared.board->add_arriving(worker->index, -1);
        worker->receive_client(descriptor, *listener);
    });
}

void WorkerHandle::post_room(state::CellId group, state::CellId room, std::size_t hops) const {
    worker_->reactor.submit(
        [worker = worker_, group, room, hops] { worker->receive_room(group, room, hops); });
}

void WorkerHandle::post_drain() const {
    worker_->reactor.submit([worker = worker_] { worker->drain(); });
}

void WorkerHandle::post_stop() const {
    worker_->reactor.submit([worker = worker_] { worker->stop(); });
}

bool WorkerHandle::is_finished() const {
    return worker_->is_finished();
}

}  // namespace s3gate::proxy
