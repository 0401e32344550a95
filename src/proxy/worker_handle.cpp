#include "worker_handle.hpp"

#include <utility>

#include "worker.hpp"

namespace s3gate::proxy {

void WorkerHandle::post_snapshot(std::shared_ptr<const Snapshot> snapshot) const {
    worker_->reactor.submit([worker = worker_, snapshot = std::move(snapshot)]() mutable {
        worker->use_snapshot(std::move(snapshot));
    });
}

void WorkerHandle::post_backend_down(std::uint32_t slot) const {
    worker_->reactor.submit([worker = worker_, slot] { worker->backend_down(slot); });
}

void WorkerHandle::post_client(int descriptor, std::shared_ptr<const Listener> listener) const {
    // Counted at once: a worker that is late with its messages would else be given too many.
    worker_->shared.board->add_arriving(worker_->index, 1);
    worker_->reactor.submit([worker = worker_, descriptor, listener = std::move(listener)] {
        worker->shared.board->add_arriving(worker->index, -1);
        worker->receive_client(descriptor, *listener);
    });
}

void WorkerHandle::post_room(std::uint32_t group, std::uint32_t cell, std::size_t hops) const {
    worker_->reactor.submit(
        [worker = worker_, group, cell, hops] { worker->receive_room(group, cell, hops); });
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
