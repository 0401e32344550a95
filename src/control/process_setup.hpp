// What a start asks of the operating system besides sockets: descriptors, processors, the user to
// run as. Called once by the thread that starts the server.
#pragma once

#include <csignal>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace s3gate::control {

// Raises the soft RLIMIT_NOFILE to the hard one and returns what holds then.
std::uint64_t raise_descriptor_limit();

// Processors this process may run on (sched_getaffinity); never empty.
std::vector<int> allowed_processors();

// Whole processors that the cgroup v2 quotas of this process and its ancestors amount to, rounded
// up; nullopt without a quota. The arguments are /sys/fs/cgroup and /proc/self/cgroup but for
// tests.
std::optional<unsigned> cgroup_processors(const std::string& mount, const std::string& membership);

// min(affinity, quota), at least 1.
unsigned automatic_worker_count();

// Threads started while this lives run on one processor only.
class ProcessorPin {
  public:
    explicit ProcessorPin(int processor);
    ~ProcessorPin();
    ProcessorPin(const ProcessorPin&) = delete;
    ProcessorPin& operator=(const ProcessorPin&) = delete;

  private:
    std::vector<int> before_;
};

// Threads started while this lives receive no signals: those are the control thread's.
class SignalsBlocked {
  public:
    SignalsBlocked();
    ~SignalsBlocked();
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;

  private:
    sigset_t before_;
};

// From here on no signal that operators or the kernel send by habit ends or stops the process;
// SIGQUIT ends it as SIGTERM does, without a core, until the control loop drains for both. A signal
// that somebody handles already (a profiler that was preloaded) stays theirs.
void disarm_signals();

// Of them those that tell other servers to do something; the control loop says what they do here.
// Of the process: with a controlling terminal some are the terminal's business and stay ignored.
std::vector<int> signals_of_other_servers();

// As root: makes the file at `path`, owned by `user`, unless something stands there already (then
// its owner is the administrator's business). Without it a log opened before the change of user
// could not be reopened after it. Failures are left to whoever opens the log.
void create_log_for(const std::string& user, const std::string& path);

// No program this process might ever start gains rights by it (set-user-ID, file capabilities).
// Holds for this thread and those it makes: to be called while there is no other. Throws
// std::runtime_error.
void forbid_new_privileges();

// Gives up root for `user`: groups, group, user, for good. Throws std::runtime_error with the
// reason.
void drop_privileges(const std::string& user);

std::string host_name();

}  // namespace s3gate::control
