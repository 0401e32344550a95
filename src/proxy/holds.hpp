// A request's shares of the board and of its worker, as objects that give them back at their end.
// Used on one worker's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "s3gate/state/board.hpp"
#include "worker.hpp"

namespace s3gate::proxy {

// Adds one to a cell of this worker's row; subtracts it at its end.
template <void (state::Board::*add)(std::size_t, std::uint32_t, std::int32_t)>
class BoardHold {
  public:
    BoardHold(Worker& worker, std::uint32_t cell) : worker_(worker), cell_(cell) {
        (worker.shared.board->*add)(worker.index, cell, 1);
    }
    ~BoardHold() { (worker_.shared.board->*add)(worker_.index, cell_, -1); }
    BoardHold(const BoardHold&) = delete;
    BoardHold& operator=(const BoardHold&) = delete;

  private:
    Worker& worker_;
    std::uint32_t cell_;
};

// One request at a backend.
using InFlightHold = BoardHold<&state::Board::add_in_flight>;
// One client request of a group.
using GroupRequestHold = BoardHold<&state::Board::add_group_requests>;
// One retry that counts against the budget.
using RetryHold = BoardHold<&state::Board::add_group_retries>;

// A request's room at a server with max_connections, held from the choice to the end of the answer.
// At its end the request that has waited longest gets the room. Holds nothing if the server has no
// limit.
class ServerRoom {
  public:
    ServerRoom() = default;
    // The room must be taken already. Group and server belong to the request's generation.
    ServerRoom(Worker& worker, const state::Group& group, const state::GroupServer& server)
        : worker_(&worker), group_(&group), server_(&server) {}
    ServerRoom(ServerRoom&& other) noexcept { swap(other); }
    ServerRoom& operator=(ServerRoom&& other) noexcept {
        swap(other);
        return *this;
    }
    ~ServerRoom() { release(); }

    // May be called more than once.
    void release() {
        if (worker_ != nullptr) {
            std::exchange(worker_, nullptr)->vacate(*group_, *server_);
        }
    }

  private:
    void swap(ServerRoom& other) noexcept {
        std::swap(worker_, other.worker_);
        std::swap(group_, other.group_);
        std::swap(server_, other.server_);
    }

    Worker* worker_ = nullptr;  // null while nothing is held
    const state::Group* group_ = nullptr;
    const state::GroupServer* server_ = nullptr;
};

// Use of a generation, which lives as long as a request uses it.
class GenerationHold {
  public:
    GenerationHold(Worker& worker, Generation& generation)
        : worker_(worker), generation_(generation) {
        Worker::borrow(generation);
    }
    ~GenerationHold() { worker_.give_back(generation_); }
    GenerationHold(const GenerationHold&) = delete;
    GenerationHold& operator=(const GenerationHold&) = delete;
    const Generation& operator*() const { return generation_; }
    Generation* operator->() const { return &generation_; }

  private:
    Worker& worker_;
    Generation& generation_;
};

// A share of the memory that a worker may use for replay buffers.
class ReplayHold {
  public:
    ReplayHold(Worker& worker, std::size_t bytes) : worker_(worker), bytes_(bytes) {
        worker.replay_used += bytes;
    }
    ~ReplayHold() { worker_.replay_used -= bytes_; }
    ReplayHold(const ReplayHold&) = delete;
    ReplayHold& operator=(const ReplayHold&) = delete;

  private:
    Worker& worker_;
    std::size_t bytes_;
};

}  // namespace s3gate::proxy
