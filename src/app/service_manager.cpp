#include "service_manager.hpp"

#include <fcntl.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <utility>

namespace s3gate::app {
namespace {

// Microseconds. A systemd that hangs delays the start of a service that it has just started.
constexpr std::uint64_t kLongestBarrier = 5'000'000;

}  // namespace

ServiceManager::ServiceManager() : has_watchdog_(::sd_watchdog_enabled(0, nullptr) > 0) {}

bool ServiceManager::runs_this_process() {
    return std::getenv("INVOCATION_ID") != nullptr && std::getenv("NOTIFY_SOCKET") != nullptr;
}

std::vector<control::PassedSocket> ServiceManager::take_sockets(bool is_upgrade) {
    char** names = nullptr;
    const int count = ::sd_listen_fds_with_names(1, &names);
    std::vector<control::PassedSocket> passed;
    for (int i = 0; i < count; ++i) {
        passed.push_back({names[i], base::Descriptor(SD_LISTEN_FDS_START + i)});
        std::free(names[i]);
    }
    std::free(names);
    if (!passed.empty() && !is_upgrade) {
        control::claim(passed, *this);
        ::sd_notify_barrier(0, kLongestBarrier);
    }
    return passed;
}

control::Server::Hooks ServiceManager::hooks() {
    control::Server::Hooks hooks;
    hooks.ready = [](void*) { ::sd_notify(0, "READY=1\nSTATUS=serving"); };
    hooks.stopping = [](void*) {
        ::sd_notify(0, "STOPPING=1\nSTATUS=finishing the requests in progress");
    };
    hooks.alive = [](void* self) {
        if (static_cast<const ServiceManager*>(self)->has_watchdog_) {
            ::sd_notify(0, "WATCHDOG=1");
        }
    };
    // Several times the interval of the calls: a stop that hangs is ended soon after its last sign.
    hooks.still_stopping = [](void*) { ::sd_notify(0, "EXTEND_TIMEOUT_USEC=10000000"); };
    hooks.succeeded = [](void*, int pid) {
        ::sd_notify(0, ("MAINPID=" + std::to_string(pid)).c_str());
    };
    hooks.context = this;
    return hooks;
}

void ServiceManager::keep(const std::string& name, int socket) {
    const std::string message = "FDSTORE=1\nFDNAME=" + name;
    ::sd_pid_notify_with_fds(0, 0, message.c_str(), &socket, 1);
}

void ServiceManager::drop(const std::string& name) {
    ::sd_notify(0, ("FDSTOREREMOVE=1\nFDNAME=" + name).c_str());
}

// As sd_notify_barrier(3) does, without the wait.
base::Descriptor ServiceManager::fence() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        return {};
    }
    base::Descriptor ours(ends[0]);
    const base::Descriptor theirs(ends[1]);
    const int descriptor = theirs.get();
    return ::sd_pid_notify_with_fds(0, 0, "BARRIER=1", &descriptor, 1) > 0 ? std::move(ours)
                                                                           : base::Descriptor();
}

}  // namespace s3gate::app
