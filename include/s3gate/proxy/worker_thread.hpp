// A worker and its thread. The control side makes, starts and joins it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>

#include "s3gate/proxy/worker_handle.hpp"

namespace s3gate::proxy {

struct Publication;
struct Shared;

// Numbers of what the end of a worker cut.
struct CutShort {
    std::uint64_t requests = 0;
    std::uint64_t tunnels = 0;  // not among the requests
    std::uint64_t endless = 0;  // answers (bucket notifications, traces) that a drain or stop ended
};

class WorkerThread {
  public:
    // It accepts clients from its start on.
    WorkerThread(std::size_t index, Shared& shared, const Publication& publication);
    ~WorkerThread();  // waits for the thread
    WorkerThread(const WorkerThread&) = delete;
    WorkerThread& operator=(const WorkerThread&) = delete;

    // Call it once.
    void start();
    // Waits until the worker has finished.
    CutShort join();
    // Valid as long as this object lives.
    WorkerHandle handle() const { return WorkerHandle(*worker_); }

  private:
    std::unique_ptr<Worker> worker_;
    std::thread thread_;
};

}  // namespace s3gate::proxy
