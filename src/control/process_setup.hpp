// Setup of the process at its start, besides sockets: descriptors, processors, user. Called once by
// the thread that starts the server.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace s3gate::control {

// Raises the soft RLIMIT_NOFILE to the hard one and returns the limit in effect.
std::uint64_t raise_descriptor_limit();

// Processors this process may run on (sched_getaffinity); never empty.
std::vector<int> allowed_processors();

// Processors that the cgroup v2 quotas of this process and its ancestors allow, rounded up; nullopt
// without a quota. The arguments are /sys/fs/cgroup and /proc/self/cgroup except in tests.
std::optional<unsigned> cgroup_processors(const std::string& mount, const std::string& membership);

// min(affinity, quota), at least 1.
unsigned automatic_worker_count();

// Threads started while this object lives run on one processor only.
class ProcessorPin {
  public:
    explicit ProcessorPin(int processor);
    ~ProcessorPin();
    ProcessorPin(const ProcessorPin&) = delete;
    ProcessorPin& operator=(const ProcessorPin&) = delete;

  private:
    std::vector<int> before_;
};

// Threads started while this object lives receive no signals; the control thread handles them.
class SignalsBlocked {
  public:
    SignalsBlocked();
    ~SignalsBlocked();
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;

  private:
    sigset_t before_;
};

// After this call common signals of operators and of the kernel neither end nor stop the process.
// SIGQUIT ends it as SIGTERM does, without a core, until the control loop drains for both. A signal
// that has a handler already (of a preloaded profiler) keeps it.
void disarm_signals();

// Signals that command other servers to do something; the control loop logs what they do here. With
// a controlling terminal some of them belong to the terminal and stay ignored.
std::vector<int> signals_of_other_servers();

// As root, where `user` is set and `target` is a path: makes the file with the owner `user`, unless
// something exists there; then the administrator decides its owner. Otherwise a log opened before
// the change of user could not be reopened after it. Failures show when the log is opened.
void prepare_log(const std::string& user, const std::string& target);

// Programs that this process starts gain no rights (set-user-ID, file capabilities). Applies to
// this thread and the threads it makes: call it before there are others. Throws std::runtime_error.
void forbid_new_privileges();

// nullopt if there is none of this name.
std::optional<uid_t> user_number(const std::string& user);

// Gives up root for `user` permanently: groups, group, user. Throws std::runtime_error with the
// reason.
void drop_privileges(const std::string& user);

std::string host_name();

// Gives free memory of the heap back to the system, on a thread of its own. Generations and logs
// are built and freed on several threads, each with an arena of malloc(3): without this, what they
// leave free there stays with the process, and grows over thousands of reloads. Any thread.
void release_free_memory();

}  // namespace s3gate::control
