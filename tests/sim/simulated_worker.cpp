#include "simulated_worker.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "check.hpp"
#include "exchange.hpp"
#include "s3gate/state/client_table.hpp"
#include "worker.hpp"

namespace s3gate::sim {

static_assert(kTick == net::kTickLength);

namespace {

constexpr std::size_t kPipes = 64;

}  // namespace

struct SimulatedWorker::Parts {
    // What the worker serves with: `publication` with a snapshot in it.
    proxy::Publication publication;
    std::vector<std::shared_ptr<proxy::Listener>> listeners;
    std::uint32_t listeners_made = 0;
    proxy::Publication with(std::shared_ptr<const state::Snapshot> snapshot) const {
        proxy::Publication made = publication;
        made.snapshot = std::move(snapshot);
        for (const auto& listener : listeners) {
            const std::vector<state::Address>& addresses = made.snapshot->addresses;
            const auto at =
                std::ranges::find(addresses, listener->identity(), &state::Address::identity);
            if (at != addresses.end()) {
                made.listening.push_back(
                    {listener, static_cast<std::uint32_t>(at - addresses.begin())});
            }
        }
        return made;
    }

    net::PipeBudget pipes{kPipes};
    state::ClientTable clients{1};
    state::Board board{1, kSlots, kGroups, kSites, kServers};
    proxy::Shared shared;
    std::unique_ptr<proxy::Worker> worker;
};

SimulatedWorker::SimulatedWorker(std::shared_ptr<const state::Snapshot> snapshot,
                                 const WorkerSetup& setup)
    : parts_(std::make_unique<Parts>()) {
    spdlog::set_level(spdlog::level::off);
    proxy::Shared& shared = parts_->shared;
    shared.board = &parts_->board;
    for (std::uint32_t group = 0; group < kGroups; ++group) {
        parts_->board.keep_seen_keys(group);
    }
    shared.pipes = &parts_->pipes;
    shared.hostname = setup.hostname;
    shared.clients = &parts_->clients;
    add_listener(setup.listener, snapshot->addresses.front());
    proxy::Publication& publication = parts_->publication;
    publication.access_log =
        std::make_shared<observe::LogWriter>(setup.has_access_log ? "stdout" : "off");
    publication.limits = {setup.connection_limit, setup.parked_limit, setup.replay_memory};
    parts_->worker = std::make_unique<proxy::Worker>(0, shared, parts_->with(std::move(snapshot)));
    if (setup.begins_per_round > 0) {
        parts_->worker->reactor.limit_begins(setup.begins_per_round);
    }
    parts_->worker->begin();
    parts_->worker->listen();
}

SimulatedWorker::~SimulatedWorker() {
    parts_->worker.reset();
    SIM_CHECK(parts_->pipes.in_use() == 0);
}

void SimulatedWorker::turn() {
    parts_->worker->reactor.turn(std::chrono::milliseconds{0});
}

bool SimulatedWorker::is_busy() const {
    return parts_->worker->reactor.is_busy();
}

void SimulatedWorker::use_snapshot(std::shared_ptr<const state::Snapshot> snapshot) {
    parts_->worker->use(parts_->with(std::move(snapshot)));
    parts_->worker->listen();
}

void SimulatedWorker::add_listener(int socket, const state::Address& address) {
    std::vector<base::Descriptor> sockets;
    sockets.emplace_back(socket);
    const auto index = parts_->listeners_made++;
    parts_->listeners.push_back(
        std::make_shared<proxy::Listener>(index, address, address.address, 1, std::move(sockets)));
}

void SimulatedWorker::close_listener() {
    const std::shared_ptr<proxy::Listener> left = parts_->listeners.front();
    parts_->listeners.erase(parts_->listeners.begin());
    parts_->worker->close_listener(*left);
}

void SimulatedWorker::set_up(std::size_t slot, bool up) {
    parts_->board.set_up(static_cast<std::uint32_t>(slot), up);
}

void SimulatedWorker::command(state::CellId backend, state::Override what) {
    parts_->board.set_override(backend.index, what);
    if (what > state::Override::keeps_sessions) {
        parts_->worker->forget_parked(backend);
    }
}

void SimulatedWorker::take_down(state::CellId backend) {
    parts_->worker->backend_down(backend);
}

void SimulatedWorker::hold_room(state::CellId room) {
    SIM_CHECK(parts_->board.try_occupy(room.index, 1000));
}

void SimulatedWorker::receive_room(state::CellId group, state::CellId room) {
    parts_->worker->receive_room(group, room, 1);
}

std::int32_t SimulatedWorker::held_room(state::CellId room) const {
    return parts_->board.occupied(room.index);
}

bool SimulatedWorker::is_marked(std::size_t slot) const {
    return policy::is_marked(parts_->board.passive(static_cast<std::uint32_t>(slot)));
}

void SimulatedWorker::drain() {
    parts_->worker->drain();
}

void SimulatedWorker::stop() {
    parts_->worker->stop();
}

void SimulatedWorker::flush_log() {
    parts_->worker->flush_log();
}

std::size_t SimulatedWorker::clients() const {
    return parts_->worker->client_count();
}

std::int64_t SimulatedWorker::requests() const {
    return parts_->board.group_requests(0);
}

std::int64_t SimulatedWorker::retries() const {
    return parts_->board.group_retries(0);
}

std::uint64_t SimulatedWorker::total(state::Counter state::WorkerCounterCells::* counter) const {
    return parts_->board.total(counter);
}

std::uint64_t SimulatedWorker::cut_requests() const {
    return parts_->worker->cut_short().requests;
}

std::uint64_t SimulatedWorker::cut_tunnels() const {
    return parts_->worker->cut_short().tunnels;
}

std::uint64_t SimulatedWorker::ended_answers() const {
    return parts_->worker->cut_short().endless;
}

bool SimulatedWorker::is_finished() const {
    return parts_->worker->reactor.is_stopped();
}

std::string SimulatedWorker::leftovers() const {
    const proxy::Worker& worker = *parts_->worker;
    std::string text = parts_->board.leftovers();
    const auto note = [&text](std::string_view what, bool is_left) {
        if (is_left) {
            text.append(text.empty() ? "" : "; ").append(what);
        }
    };
    note("a request in progress", worker.active_count() != 0);
    note("a waiting request", worker.waiting_count() != 0);
    note("a lingering close", worker.lingering != 0);
    note("replay memory", worker.replay_used != 0);
    note("a buffer", worker.buffers.in_use() != 0);
    note("a user of the generation", worker.generation_users() != 0);
    return text;
}

}  // namespace s3gate::sim
