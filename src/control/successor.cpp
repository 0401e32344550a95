#include "successor.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <string_view>
#include <system_error>
#include <utility>

#include "s3gate/base/text.hpp"
#include "s3gate/control/predecessor.hpp"
#include "timer.hpp"

namespace s3gate::control {

namespace asio = boost::asio;
using asio::local::stream_protocol;

namespace {

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
// The process that was started ends as soon as it has forked.
constexpr base::Duration kLongestReap = std::chrono::seconds{1};
constexpr base::Duration kReapPoll{5};
// The first descriptor that sd_listen_fds(3) passes.
constexpr int kFirstPassed = 3;

// Of sd_listen_fds(3), and ours: the new process gets others.
constexpr auto kOwnVariables = std::to_array<std::string_view>(
    {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID", kUpgradeVariable});

// A program that says more in one line is not s3gate.
constexpr std::size_t kLongestLine = 65536;

[[noreturn]] void fail(int code, const std::string& what) {
    throw std::system_error(code, std::generic_category(), what);
}

// Two ends; nobody else inherits them.
std::array<base::Descriptor, 2> make_pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        fail(errno, "pipe");
    }
    return {base::Descriptor(ends[0]), base::Descriptor(ends[1])};
}

std::array<base::Descriptor, 2> make_link() {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
        fail(errno, "socketpair");
    }
    return {base::Descriptor(ends[0]), base::Descriptor(ends[1])};
}

// The descriptors of a new program, numbered from kFirstPassed on in the order of the calls.
class Passing {
  public:
    explicit Passing(std::size_t count) : end_(kFirstPassed + static_cast<int>(count)) {
        ::posix_spawn_file_actions_init(&actions_);
    }
    ~Passing() { ::posix_spawn_file_actions_destroy(&actions_); }
    Passing(const Passing&) = delete;
    Passing& operator=(const Passing&) = delete;

    // Returns its number there.
    int pass(int descriptor) {
        // A source below `end_` would be overwritten before its turn.
        base::Descriptor copy(::fcntl(descriptor, F_DUPFD_CLOEXEC, end_));
        if (!copy) {
            fail(errno, "cannot copy a descriptor");
        }
        const int number = kFirstPassed + static_cast<int>(copies_.size());
        ::posix_spawn_file_actions_adddup2(&actions_, copy.get(), number);
        copies_.push_back(std::move(copy));
        return number;
    }
    // Call it after the last pass(). All other descriptors stay here: Asio's sockets have no
    // FD_CLOEXEC, and a client of one would wait for its end in vain.
    const posix_spawn_file_actions_t* actions() {
        ::posix_spawn_file_actions_addclosefrom_np(&actions_, end_);
        return &actions_;
    }

  private:
    int end_;
    std::vector<base::Descriptor> copies_;
    posix_spawn_file_actions_t actions_{};
};

// The new program handles its signals as if a shell had started it, whatever this thread does.
class FreshSignals {
  public:
    FreshSignals() {
        ::posix_spawnattr_init(&attributes_);
        ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        sigset_t signals;
        ::sigemptyset(&signals);
        ::posix_spawnattr_setsigmask(&attributes_, &signals);
        ::sigfillset(&signals);
        ::posix_spawnattr_setsigdefault(&attributes_, &signals);
    }
    ~FreshSignals() { ::posix_spawnattr_destroy(&attributes_); }
    FreshSignals(const FreshSignals&) = delete;
    FreshSignals& operator=(const FreshSignals&) = delete;
    const posix_spawnattr_t* attributes() const { return &attributes_; }

  private:
    posix_spawnattr_t attributes_{};
};

std::vector<std::string> environment_of(const SuccessorPlan& plan, const std::string& upgrade) {
    std::vector<std::string> out;
    for (char** item = environ; *item != nullptr; ++item) {
        const std::string_view text = *item;
        const std::string_view name = text.substr(0, text.find('='));
        if (std::ranges::find(kOwnVariables, name) == kOwnVariables.end()) {
            out.emplace_back(text);
        }
    }
    std::string names;
    for (const PassedSocket& item : plan.sockets) {
        names += (names.empty() ? "" : ":") + item.name;
    }
    out.push_back("LISTEN_FDS=" + std::to_string(plan.sockets.size()));
    out.push_back("LISTEN_FDNAMES=" + names);
    out.emplace_back("LISTEN_PID=0");  // predecessor.cpp writes the right one
    out.push_back(std::string(kUpgradeVariable) + "=" + upgrade);
    return out;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
    std::vector<char*> out;
    std::ranges::transform(texts, std::back_inserter(out), [](std::string& s) { return s.data(); });
    out.push_back(nullptr);
    return out;
}

pid_t spawn(SuccessorPlan plan, int ready, int link) {
    Passing passing(plan.sockets.size() + 3 + plan.links.size());
    for (const PassedSocket& item : plan.sockets) {
        passing.pass(item.socket.get());
    }
    std::string upgrade = std::to_string(passing.pass(ready));
    upgrade += ":" + std::to_string(passing.pass(plan.state.get()));
    for (const base::Descriptor& old : plan.links) {
        upgrade += ":" + std::to_string(passing.pass(old.get()));
    }
    upgrade += ":" + std::to_string(passing.pass(link));
    std::vector<std::string> environment = environment_of(plan, upgrade);
    const FreshSignals signals;
    pid_t child = 0;
    const int code =
        ::posix_spawn(&child, plan.program.c_str(), passing.actions(), signals.attributes(),
                      pointers_to(plan.arguments).data(), pointers_to(environment).data());
    if (code != 0) {
        fail(code, plan.program);
    }
    return child;
}

}  // namespace

Successor::Successor(asio::io_context& context, SuccessorPlan plan)
    : link_(context), said_(context) {
    auto [read_end, write_end] = make_pipe();
    auto [ours, theirs] = make_link();
    child_ = spawn(std::move(plan), write_end.get(), theirs.get());
    said_.assign(read_end.release());
    link_.assign(stream_protocol(), ours.release());
}

Successor::~Successor() {
    if (!is_serving_) {
        end_process();
    }
}

// Where the pipe is open the process still holds its end, so its number has no other owner yet.
void Successor::end_process() {
    if (!std::exchange(has_ended_, true) && pid_ > 0) {
        ::kill(pid_, SIGKILL);
    }
    if (child_ > 0) {
        ::kill(child_, SIGKILL);  // it may be a program that waits for the process
        ::waitpid(std::exchange(child_, 0), nullptr, 0);
    }
}

void Successor::cancel(std::string reason) {
    reason_ = std::move(reason);
    end_process();
    said_.cancel();
}

void Successor::take_line(std::string_view line) {
    if (line.starts_with(successor_line::kPid)) {
        line.remove_prefix(successor_line::kPid.size());
        pid_ = static_cast<pid_t>(base::parse_decimal(line).value_or(0));
    } else if (line.starts_with(successor_line::kUnused)) {
        unused_.emplace(line.substr(successor_line::kUnused.size()));
    } else if (line.starts_with(successor_line::kFailed)) {
        reason_ = line.substr(successor_line::kFailed.size());
    }
}

bool Successor::take_lines(std::string& text) {
    for (std::size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n')) {
        const std::string line = text.substr(0, end);
        text.erase(0, end + 1);
        if (line == successor_line::kServing) {
            return true;
        }
        take_line(line);
    }
    return false;
}

bool Successor::is_link_closed() {
    char first = 0;
    return ::recv(link_.native_handle(), &first, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

asio::awaitable<void> Successor::reap_child() {
    Timer pause(static_cast<asio::io_context&>(said_.get_executor().context()));
    const base::TimePoint end = base::Clock::now() + kLongestReap;
    while (child_ > 0 && child_ != pid_ && ::waitpid(child_, nullptr, WNOHANG) == 0) {
        if (base::Clock::now() >= end) {
            ::kill(child_, SIGKILL);
        }
        pause.expires_after(kReapPoll);
        co_await pause.async_wait(kTuple);
    }
    child_ = 0;
}

asio::awaitable<std::string> Successor::serves(base::Duration limit) {
    using asio::experimental::awaitable_operators::operator||;
    Timer deadline(static_cast<asio::io_context&>(said_.get_executor().context()), limit);
    std::string text;
    std::array<char, 4096> buffer{};
    while (!has_ended_) {
        auto some = co_await (said_.async_read_some(asio::buffer(buffer), kTuple) ||
                              deadline.async_wait(kTuple));
        if (some.index() == 1) {
            end_process();
            co_return "it did not serve within " +
                std::to_string(std::chrono::duration_cast<std::chrono::seconds>(limit).count()) +
                " s";
        }
        const auto& [error, size] = std::get<0>(some);
        text.append(buffer.data(), size);
        if (!has_ended_ && take_lines(text) && pid_ > 0) {
            co_await reap_child();
            is_serving_ = !has_ended_ && !is_link_closed();
            if (is_serving_) {
                co_return std::string();
            }
            has_ended_ = true;
            reason_ = reason_.empty() ? "it ended as soon as it served" : reason_;
        }
        has_ended_ = has_ended_ || static_cast<bool>(error);
        if (text.size() > kLongestLine) {
            end_process();
            reason_ = "it says what no version of s3gate says";
        }
    }
    end_process();
    co_return reason_.empty() ? "it ended before it served; the reason is in the log" : reason_;
}

std::string absolute_program(const std::string& name) {
    const auto absolute = [](const std::string& path) {
        const std::unique_ptr<char, decltype(&std::free)> folder(::getcwd(nullptr, 0), &std::free);
        return path.starts_with('/') || !folder ? path : std::string(folder.get()) + "/" + path;
    };
    if (name.find('/') != std::string::npos) {
        return absolute(name);
    }
    const char* const variable = std::getenv("PATH");
    std::string_view folders = variable == nullptr ? "" : variable;
    while (!folders.empty()) {
        const std::size_t end = std::min(folders.find(':'), folders.size());
        // An empty folder is the current one (POSIX.1-2017, 8.3).
        const std::string folder = end == 0 ? "." : std::string(folders.substr(0, end));
        const std::string path = absolute(folder + "/" + name);
        if (::access(path.c_str(), X_OK) == 0) {
            return path;
        }
        folders.remove_prefix(std::min(end + 1, folders.size()));
    }
    return {};
}

}  // namespace s3gate::control
