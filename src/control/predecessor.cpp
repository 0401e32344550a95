#include "s3gate/control/predecessor.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string_view>
#include <system_error>
#include <utility>

#include "hand_over.hpp"
#include "s3gate/base/text.hpp"

namespace s3gate::control {
namespace {

// A descriptor that this process was started with; programs that it starts do not get it.
base::Descriptor inherited(std::string_view number) {
    const auto value = base::parse_decimal(number);
    const int descriptor = value && *value <= 1'000'000 ? static_cast<int>(*value) : -1;
    return ::fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0 ? base::Descriptor(descriptor)
                                                         : base::Descriptor();
}

std::vector<base::Descriptor> descriptors_of(std::string_view text) {
    std::vector<base::Descriptor> out;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(':'), text.size());
        out.push_back(inherited(text.substr(0, end)));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return out;
}

// systemd's variables name the process that they are for: the process before, or none yet.
void set_own_number(const char* variable) {
    if (std::getenv(variable) != nullptr) {
        ::setenv(variable, std::to_string(::getpid()).c_str(), 1);
    }
}

}  // namespace

Predecessor::Predecessor(base::Descriptor ready, base::Descriptor state,
                         std::vector<base::Descriptor> links)
    : ready_(std::move(ready)), state_(std::move(state)), links_(std::move(links)) {}

std::optional<Predecessor> Predecessor::detach() {
    const char* const text = std::getenv(kUpgradeVariable);
    if (text == nullptr) {
        return std::nullopt;
    }
    std::vector<base::Descriptor> passed = descriptors_of(text);
    ::unsetenv(kUpgradeVariable);
    if (passed.size() < 3) {
        return std::nullopt;
    }
    // The end of the parent makes the service manager the parent: systemd sees the end of a main
    // process only if that is its own child.
    const pid_t child = ::fork();
    const int code = errno;
    if (child > 0) {
        ::_exit(0);
    }
    set_own_number("LISTEN_PID");
    set_own_number("WATCHDOG_PID");
    base::Descriptor ready = std::move(passed[0]);
    base::Descriptor state = std::move(passed[1]);
    passed.erase(passed.begin(), passed.begin() + 2);
    Predecessor out(std::move(ready), std::move(state), std::move(passed));
    if (child < 0) {
        out.tell_failure("fork: " + std::generic_category().message(code));
        ::_exit(1);
    }
    out.tell(std::string(successor_line::kPid) + std::to_string(::getpid()));
    return out;
}

std::optional<std::string> Predecessor::state() const {
    return read_sealed_file(state_.get());
}

// A predecessor that is gone is no reason to end: this process has the sockets.
void Predecessor::tell(const std::string& line) const {
    const std::string text = line + "\n";
    for (std::size_t done = 0; done < text.size();) {
        const ssize_t some = ::write(ready_.get(), text.data() + done, text.size() - done);
        if (some < 0 && errno != EINTR) {
            return;
        }
        done += static_cast<std::size_t>(std::max<ssize_t>(some, 0));
    }
}

void Predecessor::tell_serving(const std::set<std::string>& unused) {
    for (const std::string& name : unused) {
        tell(std::string(successor_line::kUnused) + name);
    }
    tell(std::string(successor_line::kServing));
    ready_.close();
}

void Predecessor::tell_failure(const std::string& reason) {
    std::string line = reason;
    std::ranges::replace(line, '\n', ' ');
    tell(std::string(successor_line::kFailed) + line);
    ready_.close();
}

}  // namespace s3gate::control
