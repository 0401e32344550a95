// State that all workers share. The control side makes it before they start; it outlives them.
#pragma once

#include <atomic>
#include <cstddef>
#include <string>
#include <vector>

#include "s3gate/net/buffer_pool.hpp"
#include "s3gate/proxy/worker_handle.hpp"
#include "s3gate/state/board.hpp"
#include "s3gate/state/client_table.hpp"

namespace s3gate::proxy {

struct Shared {
    state::Board* board = nullptr;
    state::ClientTable* clients = nullptr;
    net::PipeBudget* pipes = nullptr;
    std::string hostname;
    std::vector<WorkerHandle> workers;  // by index
    // Workers whose listeners are open. They may still hand clients to others, so no worker ends
    // before this is zero.
    std::atomic<std::size_t> listening{0};
};

}  // namespace s3gate::proxy
