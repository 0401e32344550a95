#include "s3gate/proxy/worker_thread.hpp"

#include <utility>

#include "worker.hpp"

namespace s3gate::proxy {

WorkerThread::WorkerThread(std::size_t index, Shared& shared, const Publication& publication)
    : worker_(std::make_unique<Worker>(index, shared, publication)) {}

WorkerThread::~WorkerThread() {
    join();
}

void WorkerThread::start() {
    thread_ = std::thread([this] { worker_->run(); });
}

CutShort WorkerThread::join() {
    if (thread_.joinable()) {
        thread_.join();
    }
    return worker_->cut_short();
}

}  // namespace s3gate::proxy
