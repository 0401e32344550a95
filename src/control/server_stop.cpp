// What a stop is: leave, drain, end. The first SIGTERM begins it, a further one shortens it.
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/error_code.hpp>
#include <chrono>
#include <string>
#include <utility>

#include "s3gate/base/descriptor.hpp"
#include "server_impl.hpp"

namespace s3gate::control {
namespace {

using boost::system::error_code;
using std::chrono::seconds;

constexpr base::Duration kFinishPoll{20};
// systemd answers within milliseconds, unless it reads its units at that moment.
constexpr base::Duration kLongestFence = seconds{1};
// A worker that ignores this limit after a stop has a bug; the process must still end.
constexpr base::Duration kLastResort = seconds{5};

}  // namespace

// The first signal drains, the second one stops at once, also while the drain waits for the store.
// One during shutdown_delay ends the delay.
void Server::Impl::end_or_stop(const char* signal) {
    if (lineage.predecessor) {
        give_up_start(signal);
    } else if (std::exchange(is_drained_by_link, false)) {
        spdlog::info("{}: draining already", signal);
    } else if (phase == Phase::handed_over) {
        begin_drain();
    } else if (phase == Phase::draining) {
        stop_now((std::string(signal) + " while draining").c_str());
    } else if (phase == Phase::leaving && config().shutdown_delay == base::Duration::zero()) {
        stop_now((std::string(signal) + " while the sockets leave systemd's store").c_str());
    } else if (phase == Phase::leaving) {
        spdlog::info("{} ends shutdown_delay", signal);
        begin_drain();
    } else if (phase != Phase::stopping) {
        call(hooks.stopping);
        begin_leaving();
    }
}

// Waits until nobody else holds the listening sockets: a client that connects after their close is
// refused, and does not wait in a queue that nobody reads.
void Server::Impl::begin_leaving() {
    phase = Phase::leaving;
    succession->cancel();
    for (const proxy::WorkerHandle& worker : shared.workers) {
        worker.post_announce_close();
    }
    release_sockets();
    if (!fence.is_open()) {
        begin_delay(config().shutdown_delay);
        return;
    }
    fence.async_wait(asio::posix::stream_descriptor::wait_read, [this](error_code) {
        fence_end.cancel();
        if (phase == Phase::leaving) {
            begin_delay(config().shutdown_delay);
        }
    });
    fence_end.expires_after(kLongestFence);
    fence_end.async_wait([this](error_code error) {
        if (!error) {
            spdlog::warn("systemd does not take the listening sockets out of its store");
            fence.close();
        }
    });
}

void Server::Impl::release_sockets() {
    deployment->release_sockets();
    if (base::Descriptor made = sockets.store ? sockets.store->fence() : base::Descriptor()) {
        fence.assign(made.release());
    }
}

// For `delay` all requests are served, but each answer is the last one of its connection. So few
// clients are left when the virtual IP leaves.
void Server::Impl::begin_delay(base::Duration delay) {
    if (delay == base::Duration::zero()) {
        begin_drain();
        return;
    }
    spdlog::info("leaving: serves on for {} s, each answer with Connection: close",
                 std::chrono::duration<double>(delay).count());
    delay_end.expires_after(delay);
    delay_end.async_wait([this](error_code error) {
        if (!error && phase == Phase::leaving) {
            begin_drain();
        }
    });
}

void Server::Impl::begin_drain() {
    const bool had_sockets = has_own_sockets();
    phase = Phase::draining;
    const base::Duration limit = config().shutdown_timeout;
    spdlog::info("draining: requests in progress have {} s",
                 std::chrono::duration<double>(limit).count());
    drain_end.expires_after(limit);
    drain_end.async_wait([this](error_code error) {
        if (!error) {
            stop_now("shutdown_timeout is over");
        }
    });
    // systemd may still hold the sockets: a client that connects must not depend on that.
    if (had_sockets) {
        deployment->refuse_clients();
    }
    for (const proxy::WorkerHandle& worker : shared.workers) {
        worker.post_drain();
    }
    succession->old_processes().tell_all(link_command::kDrain);
    await_end();
}

void Server::Impl::stop_now(const char* why) {
    if (phase == Phase::stopping) {
        return;
    }
    spdlog::info("stopping at once: {}", why);
    succession->cancel();
    if (lineage.predecessor) {  // it goes on, with the sockets and the old processes
        succession->old_processes().release();
    }
    if (phase == Phase::starting || phase == Phase::serving) {
        call(hooks.stopping);
        deployment->release_sockets();
    }
    if (phase != Phase::draining && has_own_sockets()) {
        deployment->refuse_clients();
    }
    await_end();
    phase = Phase::stopping;
    succession->old_processes().tell_all(link_command::kStop);
    for (const proxy::WorkerHandle& worker : shared.workers) {
        worker.post_stop();
    }
    drain_end.expires_after(kLastResort);
    drain_end.async_wait([this](error_code error) {
        if (error) {
            return;
        }
        if (std::ranges::all_of(shared.workers, &proxy::WorkerHandle::is_finished)) {
            spdlog::error("an old process does not end; giving up on it");
            context.stop();
            return;
        }
        spdlog::error("a worker does not end; giving up on it");
        ::_exit(kExitForced);
    });
}

void Server::Impl::await_end() {
    if (!std::exchange(awaits_end, true)) {
        spawn(await_workers());
    }
}

// Ends the control loop when the last worker and the last old process have finished.
asio::awaitable<void> Server::Impl::await_workers() {
    Timer pause(context);
    do {
        pause.expires_after(kFinishPoll);
        co_await pause.async_wait(asio::use_awaitable);
    } while (!std::ranges::all_of(shared.workers, &proxy::WorkerHandle::is_finished) ||
             !succession->old_processes().empty() || is_answering);
    context.stop();
}

int Server::Impl::end() {
    control_socket.reset();
    admin_listeners.reset();
    names->stop();
    checker->stop();
    proxy::CutShort cut;
    for (const auto& worker : workers) {
        const proxy::CutShort of_worker = worker->join();
        cut.requests += of_worker.requests;
        cut.tunnels += of_worker.tunnels;
        cut.endless += of_worker.endless;
    }
    are_running = false;
    succession->end();
    shared.workers.clear();
    workers.clear();
    const auto snapshot = deployment->snapshot();
    deployment->end();  // the access log writes the queued lines
    mark_watch.look(*snapshot, *board, base::Clock::now());
    repeated.flush(base::Clock::now());
    report_counters(counter_report->rest(base::Clock::now(), *snapshot));
    spdlog::info("{}", counter_report->totals());
    const int code = report_end(cut);
    return is_orphan ? kExitFailure : code;
}

// Logs what the end cut; returns the exit code.
int Server::Impl::report_end(const proxy::CutShort& cut) const {
    if (cut.tunnels > 0) {
        // Not a failure: a WebSocket may never end, so a drain cannot wait for it.
        spdlog::info("{} tunnel{} still open at the end of the drain and cut", cut.tunnels,
                     cut.tunnels == 1 ? " was" : "s were");
    }
    if (cut.endless > 0) {
        spdlog::info("{} answer{} that waited for events {} ended", cut.endless,
                     cut.endless == 1 ? "" : "s", cut.endless == 1 ? "was" : "were");
    }
    const std::string left = board->leftovers();
    if (cut.requests == 0 && cut.tunnels == 0 && !left.empty()) {
        spdlog::error("still counted as in flight after the last request: {}", left);
    }
    if (cut.requests > 0) {
        spdlog::warn("stopped; {} request{} cut short", cut.requests,
                     cut.requests == 1 ? " was" : "s were");
        return kExitForced;
    }
    spdlog::info("stopped");
    return kExitOk;
}

}  // namespace s3gate::control
