// Reads the configuration again and serves with it, or says why not: SIGHUP and `s3gate ctl
// reload`. One at a time. Control thread; nothing here blocks it.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "commands.hpp"
#include "deployment.hpp"
#include "health_checker.hpp"
#include "name_service.hpp"
#include "operators.hpp"
#include "overrides.hpp"
#include "s3gate/base/clock.hpp"
#include "s3gate/config/model.hpp"
#include "s3gate/proxy/worker_handle.hpp"
#include "timer.hpp"

namespace s3gate::control {

class Reloader {
  public:
    struct Parts {
        boost::asio::io_context& context;
        Deployment& deployment;
        NameService& names;
        HealthChecker& checker;
        Overrides& overrides;
        const std::vector<proxy::WorkerHandle>& workers;
        // The reason why no reload is possible now; empty if one is. Called more than once for a
        // reload.
        std::function<std::string()> obstacle;
        // Called when another configuration serves, with the users of its admin.operators. Returns
        // a warning for the operator, or nothing.
        std::function<std::string(Operators)> published;
    };

    explicit Reloader(const Parts& parts);
    Reloader(const Reloader&) = delete;
    Reloader& operator=(const Reloader&) = delete;

    // Reloads that wait for their turn. One more is refused: a process that sends SIGHUP for ever
    // must not fill the memory while a disk hangs.
    static constexpr std::size_t kMostWaiting = 64;

    // As Commands::reload() and Commands::confirm() say. The outcome is logged too.
    boost::asio::awaitable<CommandOutcome> reload(std::optional<base::Duration> confirm);
    CommandOutcome confirm();
    // Runs `work`, which logs its outcome, while no reload runs. `task`: its name, a literal.
    boost::asio::awaitable<CommandOutcome> exclusively(
        std::string_view task, std::function<boost::asio::awaitable<CommandOutcome>()> work);

    // True after a reload that was not confirmed: the configuration that serves is not the last
    // good one that was read from the disk.
    bool is_undone() const { return is_undone_; }
    // The time at which a reload is undone unless it is confirmed; nullopt if none waits.
    std::optional<base::TimePoint> confirm_until() const;
    // "reload" while one reads files or waits for names, or the task of exclusively(); else empty.
    std::string_view running() const { return turns_->is_taken ? turns_->task : ""; }
    // The keys whose values in the configuration that serves hold after a restart only.
    std::vector<std::string> pending_restart() const;

  private:
    class Turn;
    // What a reload needs and the loop must not wait for: files, rings, logs, users.
    struct Draft {
        GenerationParts parts;  // without a configuration where there are problems
        Operators operators{{}};
        std::vector<config::Problem> problems = {};
        std::vector<config::Problem> warnings = {};
    };
    // Any thread; blocks. `before`: the generation that serves.
    static Draft read_draft(const std::string& file,
                            const std::shared_ptr<const state::Snapshot>& before);
    static Draft draft_of(std::shared_ptr<const config::Config> config,
                          const std::shared_ptr<const state::Snapshot>& before,
                          const ReplacedLogs& kept = {});
    // A reload that waits to be confirmed.
    struct Trial {
        std::shared_ptr<const config::Config> before;
        base::Duration limit;
        base::TimePoint end;
    };

    boost::asio::awaitable<void> wait_for_turn();
    // Waits until all workers serve with what was published; a worker that hangs ends the wait.
    boost::asio::awaitable<void> wait_for_workers();
    boost::asio::awaitable<CommandOutcome> read_and_use(std::optional<base::Duration> confirm);
    boost::asio::awaitable<void> know_names(const config::Config& config);
    // Serves with it. Returns a warning for the operator, or nothing.
    std::string publish(Provision provision, Operators operators, Leavers leavers);
    CommandOutcome use(Draft draft, const state::Resolution& resolution,
                       std::optional<base::Duration> confirm);
    void begin_trial(std::shared_ptr<const config::Config> before, base::Duration limit);
    void await_trial_end();
    boost::asio::awaitable<void> end_trial();
    // Throws if the configuration before cannot serve now. `trial` must live until the end.
    boost::asio::awaitable<void> undo(const Trial& trial);

    // Shared with the coroutines: a stop leaves some unfinished, and these end with the context,
    // after this object.
    struct Turns {
        explicit Turns(boost::asio::io_context& context) : ended(context, base::TimePoint::max()) {}
        bool is_taken = false;
        std::string_view task;
        std::size_t waiting = 0;
        Timer ended;  // never expires; cancelled when a reload ends
    };

    Parts parts_;
    std::shared_ptr<Turns> turns_;
    std::optional<Trial> trial_;
    Timer trial_end_;
    std::shared_ptr<const config::Config> first_;  // the configuration of the start
    bool is_undone_ = false;
};

}  // namespace s3gate::control
