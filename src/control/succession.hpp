// The place of this process among those that serve at the same addresses in turn: what it takes
// over from the process before, the old processes that it commands, and its own successor
// (docs/architecture.md, "Upgrade"). Owned by the control loop. Control thread only.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "commands.hpp"
#include "deployment.hpp"
#include "hand_over.hpp"
#include "name_service.hpp"
#include "old_processes.hpp"
#include "s3gate/control/server.hpp"
#include "s3gate/state/board.hpp"
#include "s3gate/state/client_table.hpp"
#include "successor.hpp"
#include "successor_link.hpp"

namespace s3gate::control {

class Succession {
  public:
    // A new process that does not serve by then is killed.
    static constexpr base::Duration kLongestStart = std::chrono::seconds{60};

    // The successor's answer that it is main; it has that long.
    static constexpr base::Duration kLongestAnswer = std::chrono::seconds{1};

    // They outlive the object.
    struct Parts {
        boost::asio::io_context& context;
        Server::Lineage& lineage;
        state::Board& board;
        state::ClientTable& clients;
        Deployment& deployment;
        Overrides& overrides;
        const NameService& names;
        // The reason why no upgrade is possible now; empty if one is.
        std::function<std::string()> obstacle;
        std::function<bool()> is_on_standby;
        std::function<std::optional<HandOver::LogLevel>()> log_level;
        std::function<std::vector<HandOver::Alarm>()> alarms;
        // The service manager takes this process for its own.
        std::function<void()> on_main;
        // An operator's last command to the process before.
        std::function<void(bool is_on_standby)> on_standby;
        // The commands for servers have changed while this process started.
        std::function<void(const boost::json::array& overrides)> on_overrides;
        // Logs were opened anew while this process started.
        std::function<void()> on_reopen;
        // The process with that number accepts the clients from now on, but not those of the
        // listeners in `unused` (ListenerTable::take_named()).
        std::function<void(int pid, const std::set<std::string>& unused)> on_handed_over;
        // A link_command of the successor.
        std::function<void(std::string_view)> on_command;
        // No successor commands this process any more.
        std::function<void()> on_successor_end;
    };

    // `processes`: HandOver::processes.
    Succession(Parts parts, const std::vector<std::string>& processes);
    Succession(const Succession&) = delete;
    Succession& operator=(const Succession&) = delete;

    // Starts the binary that stands at this one's path now and hands over to it once it serves.
    // After a failure this process goes on as before. The outcome is logged too. One at a time.
    boost::asio::awaitable<CommandOutcome> upgrade();
    // Ends a successor that does not serve yet: this process stops.
    void cancel();
    // The logs were opened anew: a successor that starts may have the files of before.
    void note_reopen() { was_reopened_ = true; }
    // Call it when no worker runs any more: forgets the room that others hold.
    void end();
    OldProcesses& old_processes() { return old_processes_; }
    const OldProcesses& old_processes() const { return old_processes_; }

  private:
    boost::asio::awaitable<CommandOutcome> start_successor();
    std::string find_obstacle() const;
    boost::asio::awaitable<SuccessorPlan> plan();
    OldProcessReport report() const;
    // The report for the link, which most times has only what has changed.
    OldProcessReport next_report();
    void hand_over_to(Successor& successor);
    void take_command(std::string_view command);
    void take_room(std::string_view list);
    boost::asio::awaitable<void> wait_for_answer();
    // Adds a warning if the unit of the service has changed since the service was started.
    boost::asio::awaitable<void> judge_unit(CommandOutcome& outcome) const;

    Parts parts_;
    const std::function<std::shared_ptr<const state::Snapshot>()> snapshot_;
    OldProcesses old_processes_;
    RoomElsewhere others_;           // room of the successor and of other old processes, as it says
    Successor* starting_ = nullptr;  // while one starts
    bool was_on_standby_ = false;    // when it was started
    std::uint64_t overrides_then_ = 0;  // their version at that time
    bool was_reopened_ = false;         // the logs, since then
    bool has_answer_ = false;           // it is main
    bool has_ended_ = false;            // it, and whoever followed it
    std::int64_t mark_ = 0;             // link_command::kMark, the last one
    // For the link: the figures of the last report, and the reports since one had them all.
    ProcessFigures told_;
    unsigned told_changes_ = 0;
    std::unique_ptr<SuccessorLink> link_;  // once this process has handed over
};

// What the process before knew; nothing where there is none. A line in the log tells of a text that
// cannot be read.
HandOver inherited_state(const Server::Lineage& lineage);

// The backends that are not as fresh ones.
std::vector<HandOver::Backend> backends_of(const state::Snapshot& snapshot,
                                           const state::Board& board);
// Of groups that had requests with keys.
std::vector<HandOver::Sessions> sessions_of(const state::Snapshot& snapshot,
                                            const state::Board& board);
// Gives them to the first worker, before it runs. The others find them there.
void restore(const std::vector<HandOver::Sessions>& sessions, const state::Snapshot& snapshot,
             state::Board& board);
// Those that are not full.
std::vector<HandOver::Bucket> buckets_of(const state::Snapshot& snapshot,
                                         state::ClientTable& clients);
// Fills the table with those of sites that the snapshot has. Both processes have the same clock.
void restore(const std::vector<HandOver::Bucket>& buckets, const state::Snapshot& snapshot,
             state::ClientTable& clients);
// Puts them on the board. A verdict holds until a check of this process has one; a mark lasts as
// long as it would have.
void restore(const std::vector<HandOver::Backend>& backends, const state::Snapshot& snapshot,
             state::Board& board);

}  // namespace s3gate::control
