// The processes before this one in which clients are still served after an upgrade. They obey its
// commands and report what they still do. The other side is successor_link.hpp. Control thread.
#pragma once

#include <sys/types.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json/object.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "overrides.hpp"
#include "process_figures.hpp"
#include "room_elsewhere.hpp"
#include "s3gate/base/clock.hpp"
#include "s3gate/base/descriptor.hpp"
#include "s3gate/state/board.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::control {

// What an old process still does.
struct OldProcessReport {
    pid_t pid = 0;
    std::string version;
    std::int64_t connections = 0;
    std::int64_t requests = 0;  // in progress, tunnels included
    std::vector<HeldRoom> room;
    // In progress at each server that has some; nullopt from a version that does not say.
    std::optional<std::vector<HeldRoom>> at_servers = {};
    boost::json::object counters = {};  // as /status has them
    // What it and the processes in `ended` have counted. Most reports have only what has changed.
    std::optional<ProcessFigures> figures = {};
    bool has_all_figures = false;
    std::vector<pid_t> ended = {};
    std::int64_t mark = 0;  // the last kMark that it has read; 0 for none

    // In progress at that server. All of them, where it does not say.
    std::int64_t requests_at(const ServerKey& server) const;
};
std::string text_of(const OldProcessReport& report);
// nullopt for a text that is no report.
std::optional<OldProcessReport> read_report(std::string_view text);

// The commands, as they stand on the link: a line each.
namespace link_command {
inline constexpr std::string_view kReopenLogs = "reopen-logs";
// Finish the requests in progress, within shutdown_timeout.
inline constexpr std::string_view kDrain = "drain";
inline constexpr std::string_view kStop = "stop";
// End tunnels and endless answers; requests have their time.
inline constexpr std::string_view kHurry = "hurry";
// The answer to kYouAreMain.
inline constexpr std::string_view kIAmMain = "i-am-main";
// With a list as json_of(HeldRoom) makes it: the room that all other processes hold.
inline constexpr std::string_view kRoom = "room ";
// With a command for a server, as text_of(ServerKey) makes it: an operator's, for this process too.
inline constexpr std::string_view kOrder = "order ";
// With a number: the reports after it have that number, so they count what the commands before it
// have left.
inline constexpr std::string_view kMark = "mark ";
// The other way, before the reports. What an operator commanded while the successor started, with
// kReopenLogs:
inline constexpr std::string_view kStandby = "standby";
inline constexpr std::string_view kActive = "active";
// With all commands for servers, as Overrides::to_json() lists them.
inline constexpr std::string_view kOverrides = "overrides ";
// At last: the service manager takes the successor for its own now.
inline constexpr std::string_view kYouAreMain = "you-are-main";
}  // namespace link_command

class OldProcesses {
  public:
    // Where there are more, the oldest end their tunnels and endless answers.
    static constexpr std::size_t kMost = 4;
    // So many are never there: no upgrade is possible then. With requests of a minute and an
    // upgrade each ten seconds there are up to thirteen: where a head went out before the upgrade,
    // only the next answer can end the connection.
    static constexpr std::size_t kLimit = 16;

    struct Parts {
        boost::asio::io_context& context;
        // Room that they hold counts here, for the servers of the present snapshot.
        state::Board& board;
        std::function<std::shared_ptr<const state::Snapshot>()> snapshot;
        // Called once the service manager takes this process for its own, or when the process
        // before is gone.
        std::function<void()> on_main;
        // An operator's last command to the process before.
        std::function<void(bool is_on_standby)> on_standby;
        // The commands for servers have changed while this process started.
        std::function<void(const boost::json::array& overrides)> on_overrides;
        // Logs were opened anew while this process started, with files that it may have missed.
        std::function<void()> on_reopen;
    };
    explicit OldProcesses(Parts parts);
    ~OldProcesses();
    OldProcesses(const OldProcesses&) = delete;
    OldProcesses& operator=(const OldProcesses&) = delete;

    // Takes over the links to them, the oldest first. The last one is the process before; the
    // others report to that one until it says who is main.
    // `reports`: the last ones that the process before has, in the same order.
    void add(std::vector<base::Descriptor> links, std::vector<OldProcessReport> reports);
    // They have another successor: forgets them without a word.
    void release();
    bool empty() const;
    // Sends the command to all of them; one that is gone gets nothing.
    void tell_all(std::string_view command);
    // Waits until each has reported after the commands so far, for at most `limit`. True if each
    // has; a process of an earlier version, or one that is stuck, never does.
    boost::asio::awaitable<bool> await_reports(base::Duration limit) const;
    std::size_t size() const;
    // The room that all of them hold there.
    std::int32_t held_at(state::CellId cell) const;
    // Their last reports, the oldest first. A process that has not reported yet has no number.
    std::vector<OldProcessReport> reports() const;
    // What all earlier processes have counted, and what those that live still do.
    ProcessFigures figures() const;
    // Of them, those that have ended: this process speaks for them from now on.
    ProcessFigures ended_figures() const;
    std::vector<pid_t> ended() const;
    // True once each has told this process, and not only the one before, all that it has counted.
    bool have_told_figures() const;
    // A reload has published this snapshot: drops what was counted for servers and sites that it
    // lacks. The figures of this process begin at 0 where one returns. A sum that began above 0
    // would be taken for that many new requests.
    void forget_absent(const state::Snapshot& snapshot);
    // Copies of the links for a successor, the oldest first.
    std::vector<base::Descriptor> copy_links() const;

  private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace s3gate::control
