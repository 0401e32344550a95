// The process before this one in an upgrade, as its successor sees it. The other side is
// successor.hpp. Before there are other threads, then control thread.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "s3gate/base/descriptor.hpp"

namespace s3gate::control {

// The variable that a successor is started with: descriptors, "READY:STATE:LINK:LINK…". The links
// are those to the old processes, the oldest first; the last one is the process before.
inline constexpr const char* kUpgradeVariable = "S3GATE_UPGRADE";

// What the new process says, a line each. Any version of s3gate must understand them.
namespace successor_line {
inline constexpr std::string_view kPid = "pid ";        // its number, at first
inline constexpr std::string_view kUnused = "unused ";  // a listener_name()
inline constexpr std::string_view kServing = "serving";
inline constexpr std::string_view kFailed = "failed ";  // the reason, at last
}  // namespace successor_line

class Predecessor {
  public:
    // Nothing where this process was not started by an upgrade. Else the process continues as
    // another one, whose parent is the service manager; the process that called it ends. Call it as
    // early as possible: there must be no other thread, and descriptors of systemd are read after
    // it. A start that cannot go on ends here, and has told why.
    static std::optional<Predecessor> detach();

    // The state of the process before; nullopt if it cannot be read.
    std::optional<std::string> state() const;
    // Tells it that this process serves: from now on it accepts no client. `unused`: the listeners
    // that it has to close (ListenerTable::unused()).
    void tell_serving(const std::set<std::string>& unused);
    // Tells it why this process ends without having served.
    void tell_failure(const std::string& reason);
    // The connections on which the old processes take commands, the oldest first.
    std::vector<base::Descriptor> take_links() { return std::move(links_); }

  private:
    Predecessor(base::Descriptor ready, base::Descriptor state,
                std::vector<base::Descriptor> links);
    void tell(const std::string& line) const;

    base::Descriptor ready_;
    base::Descriptor state_;
    std::vector<base::Descriptor> links_;
};

}  // namespace s3gate::control
