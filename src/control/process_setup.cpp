#include "process_setup.hpp"

#include <fcntl.h>
#include <grp.h>
#include <malloc.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "s3gate/base/descriptor.hpp"
#include "s3gate/base/text.hpp"

namespace s3gate::control {
namespace {

[[noreturn]] void throw_errno(const std::string& what, int code) {
    throw std::runtime_error(what + ": " + std::generic_category().message(code));
}

// cpu.max: "max 100000" or "150000 100000".
std::optional<unsigned> quota_of(const std::string& file) {
    std::ifstream in(file);
    std::string quota;
    std::string period;
    if (!(in >> quota >> period)) {
        return std::nullopt;
    }
    const auto microseconds = base::parse_decimal(quota);
    const auto of = base::parse_decimal(period);
    if (!microseconds || !of || *of == 0) {
        return std::nullopt;
    }
    return static_cast<unsigned>(
        std::clamp<std::uint64_t>((*microseconds + *of - 1) / *of, 1, 4096));
}

// The path of the line "0::/path" (cgroup v2).
std::string cgroup_path(const std::string& membership) {
    std::ifstream in(membership);
    for (std::string line; std::getline(in, line);) {
        if (line.starts_with("0::/")) {
            return line.substr(3);
        }
    }
    return {};
}

}  // namespace

std::uint64_t raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 1024;
    }
    if (limit.rlim_cur < limit.rlim_max) {
        const rlimit raised{limit.rlim_max, limit.rlim_max};
        if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) {
            return raised.rlim_cur;
        }
    }
    return limit.rlim_cur;
}

std::vector<int> allowed_processors() {
    // On a machine with more processors than cpu_set_t has bits the call fails with EINVAL, so the
    // set grows.
    for (std::size_t sets = 1; sets <= 64; sets *= 2) {
        std::vector<cpu_set_t> mask(sets);
        const std::size_t bytes = sets * sizeof(cpu_set_t);
        if (::sched_getaffinity(0, bytes, mask.data()) == 0) {
            std::vector<int> out;
            for (std::size_t i = 0; i < bytes * 8; ++i) {
                if (CPU_ISSET_S(i, bytes, mask.data())) {
                    out.push_back(static_cast<int>(i));
                }
            }
            return out;
        }
        if (errno != EINVAL) {
            break;
        }
    }
    return {0};
}

std::optional<unsigned> cgroup_processors(const std::string& mount, const std::string& membership) {
    std::string path = cgroup_path(membership);
    std::optional<unsigned> smallest;
    // A quota of any ancestor applies as well.
    while (!path.empty()) {
        const auto quota = quota_of(mount + path + "/cpu.max");
        if (quota && (!smallest || *quota < *smallest)) {
            smallest = quota;
        }
        path.resize(path == "/" ? 0 : std::max<std::size_t>(path.rfind('/'), 1));
    }
    return smallest;
}

unsigned automatic_worker_count() {
    const auto processors = static_cast<unsigned>(allowed_processors().size());
    const auto quota = cgroup_processors("/sys/fs/cgroup", "/proc/self/cgroup");
    return std::max(1U, std::min(processors, quota.value_or(processors)));
}

namespace {

void set_affinity(const std::vector<int>& processors) {
    const int highest = *std::ranges::max_element(processors);
    std::vector<cpu_set_t> mask(static_cast<std::size_t>(highest) / CPU_SETSIZE + 1);
    const std::size_t bytes = mask.size() * sizeof(cpu_set_t);
    for (const int processor : processors) {
        CPU_SET_S(static_cast<std::size_t>(processor), bytes, mask.data());
    }
    // If the processor is gone meanwhile, the thread runs on any other.
    ::pthread_setaffinity_np(::pthread_self(), bytes, mask.data());
}

}  // namespace

ProcessorPin::ProcessorPin(int processor) : before_(allowed_processors()) {
    set_affinity({processor});
}

ProcessorPin::~ProcessorPin() {
    set_affinity(before_);
}

SignalsBlocked::SignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
}

SignalsBlocked::~SignalsBlocked() {
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

namespace {

void use_if_default(int number, void (*handler)(int)) {
    struct sigaction present{};
    if (::sigaction(number, nullptr, &present) == 0 && present.sa_handler == SIG_DFL) {
        ::signal(number, handler);
    }
}

extern "C" void end_as_terminated(int) {
    ::signal(SIGTERM, SIG_DFL);
    ::raise(SIGTERM);
}

bool has_terminal() {
    return bool(base::Descriptor(::open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC)));
}

}  // namespace

void disarm_signals() {
    // Signals of timers, descriptors and power: the daemon requests none of them, and each would
    // end the process. SIGXFSZ: a log that reached RLIMIT_FSIZE is a failed write. SIGTTIN,
    // SIGTTOU: a daemon in the background of a terminal must not be stopped by its log.
    for (const int number :
         {SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR, SIGXFSZ,
#ifdef SIGSTKFLT
          SIGSTKFLT,
#endif
          SIGTTIN, SIGTTOU}) {
        use_if_default(number, SIG_IGN);
    }
    for (int number = SIGRTMIN; number <= SIGRTMAX; ++number) {
        use_if_default(number, SIG_IGN);
    }
    use_if_default(SIGQUIT, end_as_terminated);
}

std::vector<int> signals_of_other_servers() {
    std::vector<int> out;
    // A terminal sends SIGWINCH whenever its window changes. A handled SIGTTOU would recur with
    // every attempt to write to the terminal.
    if (!has_terminal()) {
        out = {SIGWINCH, SIGTTIN, SIGTTOU};
    }
    return out;
}

void prepare_log(const std::string& user, const std::string& target) {
    if (user.empty() || ::geteuid() != 0 || !target.starts_with('/')) {
        return;
    }
    const passwd* entry = ::getpwnam(user.c_str());
    if (entry == nullptr) {
        return;
    }
    // O_EXCL follows no symbolic link: in a directory of another user only a new file of ours can
    // change its owner.
    const base::Descriptor log(
        ::open(target.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640));
    if (log && ::fchown(log.get(), entry->pw_uid, entry->pw_gid) != 0) {
        ::unlink(target.c_str());
    }
}

void forbid_new_privileges() {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        throw_errno("PR_SET_NO_NEW_PRIVS", errno);
    }
}

std::optional<uid_t> user_number(const std::string& user) {
    const passwd* entry = ::getpwnam(user.c_str());
    return entry == nullptr ? std::nullopt : std::optional(entry->pw_uid);
}

void drop_privileges(const std::string& user) {
    errno = 0;
    const passwd* entry = ::getpwnam(user.c_str());
    if (entry == nullptr) {
        const int code = errno;
        throw std::runtime_error(
            "user " + user + ": " +
            (code == 0 ? "there is none of this name" : std::generic_category().message(code)));
    }
    const uid_t uid = entry->pw_uid;
    const gid_t gid = entry->pw_gid;
    // This order is required: without root the process could not give up its groups.
    if (::initgroups(user.c_str(), gid) != 0) {
        throw_errno("user " + user + ": initgroups", errno);
    }
    if (::setgid(gid) != 0) {
        throw_errno("user " + user + ": setgid", errno);
    }
    if (::setuid(uid) != 0) {
        throw_errno("user " + user + ": setuid", errno);
    }
    if (uid != 0 && ::setuid(0) == 0) {
        throw std::runtime_error("user " + user + ": root could be taken back");
    }
}

std::string host_name() {
    std::array<char, 256> name{};
    if (::gethostname(name.data(), name.size() - 1) != 0) {
        return "localhost";
    }
    return name.data();
}

void release_free_memory() {
    const SignalsBlocked blocked;
    try {
        std::thread([] { ::malloc_trim(0); }).detach();
    } catch (const std::system_error&) {
        // The memory stays with the process until the next time.
    }
}

}  // namespace s3gate::control
