#include "s3gate/proxy/worker_handle.hpp"

#include <utility>

#include "worker.hpp"

namespace s3gate::proxy {

void WorkerHandle::post_publication(std::shared_ptr<const Publication> publication) const {
    worker_->reactor.submit(
        [worker = worker_, publication = std::move(publication)] { worker->use(*publication); });
}

void WorkerHandle::post_listen() const {
    worker_->reactor.submit([worker = worker_] { worker->listen(); });
}

void WorkerHandle::post_close(std::shared_ptr<const Listener> listener) const {
    worker_->reactor.submit(
        [worker = worker_, listener = std::move(listener)] { worker->close_listener(*listener); });
}

void WorkerHandle::post_backend_down(state::CellId backend) const {
    worker_->reactor.submit([worker = worker_, backend] { worker->backend_down(backend); });
}

void WorkerHandle::post_forget_parked(state::CellId backend) const {
    worker_->reactor.submit([worker = worker_, backend] { worker->forget_parked(backend); });
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

void WorkerHandle::post_survey(std::shared_ptr<ClientSurvey> survey) const {
    worker_->reactor.submit(
        [worker = worker_, survey = std::move(survey)] { worker->answer(survey); });
}

void WorkerHandle::post_announce_close() const {
    worker_->reactor.submit([worker = worker_] { worker->announce_close(); });
}

void WorkerHandle::post_hand_over(std::shared_ptr<const Listeners> kept) const {
    worker_->reactor.submit(
        [worker = worker_, kept = std::move(kept)] { worker->hand_over(*kept); });
}

void WorkerHandle::post_hurry() const {
    worker_->reactor.submit([worker = worker_] { worker->hurry(); });
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
