// What the daemon serves: the present generation with its listeners and logs. A new one is
// provisioned whole, which may fail and then changes nothing, and published; then the parts that
// only the old one had are retired (docs/architecture.md, "Generations"). Control thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "health_checker.hpp"
#include "listener_table.hpp"
#include "operational_log.hpp"
#include "s3gate/config/model.hpp"
#include "s3gate/net/buffer_pool.hpp"
#include "s3gate/observe/access_log.hpp"
#include "s3gate/proxy/publication.hpp"
#include "s3gate/proxy/shared.hpp"
#include "s3gate/state/board.hpp"
#include "s3gate/state/slot_directory.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::control {

// Log writers of a configuration that another one replaced; null where the target stayed, and for
// a log that goes to stderr.
struct ReplacedLogs {
    std::shared_ptr<observe::LogWriter> access_log;
    std::shared_ptr<observe::LogWriter> log;
};

// The parts of a generation that take long to build, or that wait for a disk or for the host's user
// database.
struct GenerationParts {
    std::shared_ptr<const config::Config> config;
    state::Rings rings;
    std::shared_ptr<observe::LogWriter> access_log;  // null where the target stays
    std::shared_ptr<observe::LogWriter> log;         // the same
    std::vector<std::string> problems;               // of the logs
};
// `before`: the generation that serves, whose rings and log targets may serve again; null for the
// start, when the operational log is open already. `kept`: those of `config`, if it comes back; its
// targets are not opened again, which may be impossible now. Any thread; blocks.
GenerationParts build_parts(std::shared_ptr<const config::Config> config,
                            const std::shared_ptr<const state::Snapshot>& before,
                            const ReplacedLogs& kept = {});

// A generation that could be published at once.
struct Provision {
    std::shared_ptr<const state::Snapshot> snapshot;
    std::vector<proxy::Listening> listening;
    ListenerTable::Listeners admin;
    std::shared_ptr<observe::LogWriter> access_log;
    std::shared_ptr<observe::LogWriter> log;  // null where the target stays
    ListenerTable::Findings findings;         // with a problem it must not be published
};

// What becomes of listeners and log writers that the new generation does not have.
enum class Leavers : std::uint8_t {
    close,
    keep,  // until close_leavers(): the old configuration may come back
};

class Deployment {
  public:
    // Other parts of the daemon; they outlive the deployment.
    struct Parts {
        boost::asio::io_context& context;
        state::Board& board;
        net::PipeBudget& pipes;
        OperationalLog& log;
        std::uint64_t descriptors = 0;  // RLIMIT_NOFILE
        std::size_t workers = 1;
        SocketStore* store = nullptr;  // null: nobody keeps listening sockets
        // Called for listeners that are over, of any kind: if the control thread accepts from it,
        // it has to stop, and to close the sockets.
        std::function<void(proxy::Listener&)> on_close = {};
        // Called with each generation before the workers learn of it.
        std::function<void(const state::Snapshot&)> on_snapshot = {};
    };

    explicit Deployment(const Parts& parts);
    Deployment(const Deployment&) = delete;
    Deployment& operator=(const Deployment&) = delete;

    // The findings begin with the problems of `parts`; where there are some, no socket is opened.
    Provision provision(GenerationParts parts, const state::Resolution& resolution);
    // Before provision() of the first generation: sockets that it may use.
    void inherit(InheritedSockets sockets, Heritage heritage) {
        listeners_.inherit(std::move(sockets), heritage);
    }
    // For the successor of a process that still serves: until then its new sockets do not listen.
    // Throws std::system_error.
    void listen() { listeners_.listen(); }
    // Of the sockets that it inherited and does not use; see ListenerTable::unused().
    const std::set<std::string>& unused_sockets() const { return listeners_.unused(); }
    // Call it as root before begin(), if the process becomes another user.
    void give_sockets_to(uid_t user) const { listeners_.give_to(user); }
    // For the first generation, before there are workers: they begin with publication().
    void begin(Provision provision);
    // From now on the listening sockets outlive a crash. Call it once the workers accept clients.
    void keep_sockets() { listeners_.keep(); }
    // Copies of them with their names, for a successor.
    std::vector<PassedSocket> copy_sockets() const { return listeners_.copies(); }
    // Those that close soon; see ListenerTable::closing().
    std::vector<BoundSocket> closing_sockets() const { return listeners_.closing(); }
    // From now on they end with this process. Call it before the workers close them.
    void release_sockets() { listeners_.release(); }
    // Clients that connect from now on are refused; operators are not. Call it while the workers'
    // sockets are open.
    void refuse_clients() const;
    // `checker` checks the peers of the new generation; new servers of a group that was there
    // before are down until their first check.
    void publish(Provision provision, Leavers leavers,
                 const std::vector<proxy::WorkerHandle>& workers, HealthChecker& checker);
    // Publishes the present configuration with other addresses. False when the board has no room
    // for them; the first time of several in a row is a line in the log.
    bool use_addresses(const state::Resolution& resolution,
                       const std::vector<proxy::WorkerHandle>& workers, HealthChecker& checker);
    void close_leavers(const std::vector<proxy::WorkerHandle>& workers);
    // A successor accepts the clients from now on. Its sockets are closed here, which nobody
    // notices. Those of the names in `unused` leave as in a reload.
    void hand_over(const std::set<std::string>& unused,
                   const std::vector<proxy::WorkerHandle>& workers);
    // After hand_over(): true once no worker accepts clients of the sockets that both have.
    bool has_handed_over() const { return handed_over_.expired(); }
    // The log writers that publish() kept with Leavers::keep.
    const ReplacedLogs& kept_logs() const { return kept_logs_; }
    // Opens the logs' files anew, also those of the kept writers: they may be used again.
    void reopen_logs();
    // Call it about once a second: frees generations and log writers that have no user left.
    void collect();
    // Call it when no worker runs any more: the access log writes its queued lines.
    void end();

    const proxy::Publication& publication() const { return *publication_; }
    // Those of admin.listen.
    const ListenerTable::Listeners& admin_listeners() const { return admin_listeners_; }
    const std::shared_ptr<const state::Snapshot>& snapshot() const {
        return publication_->snapshot;
    }
    const config::Config& config() const { return *snapshot()->config; }
    // True if every worker serves new requests with the present publication.
    bool is_taken_over() const;
    // The number of the present generation; 1 at the start.
    std::uint64_t number() const { return number_; }
    std::chrono::system_clock::time_point loaded_at() const { return loaded_at_; }
    // Why the addresses of the last use_addresses() are not used; empty if they are.
    const std::string& addresses_problem() const { return addresses_problem_; }
    // Earlier generations that still serve requests or connections.
    std::size_t old_generations() const { return directory_.generations() - 1; }
    // All those that collect() has freed.
    std::uint64_t freed_generations() const { return directory_.freed_generations(); }

  private:
    ReplacedLogs take(Provision provision);
    ListenerTable::Listeners published_listeners() const;
    void announce(const std::vector<proxy::WorkerHandle>& workers, HealthChecker& checker,
                  const state::Snapshot& before);
    void hold_back_new_peers(const state::Snapshot& before, const HealthChecker& checker);
    proxy::WorkerLimits limits_of(const config::Config& config) const;
    void retire(std::shared_ptr<observe::LogWriter> writer);
    void close_later(ListenerTable::Listeners leavers,
                     const std::vector<proxy::WorkerHandle>& workers);
    void close(const ListenerTable::Listeners& listeners) const;

    Parts parts_;
    state::SlotDirectory directory_;
    ListenerTable listeners_;
    std::shared_ptr<const proxy::Publication> publication_;
    ListenerTable::Listeners admin_listeners_;
    std::weak_ptr<const ListenerTable::Listeners> handed_over_;  // the workers have it
    // Log writers of earlier configurations: the workers still hand them their last lines.
    // One that is used again stays here.
    std::vector<std::shared_ptr<observe::LogWriter>> old_writers_;
    ReplacedLogs kept_logs_;
    std::string addresses_problem_;
    std::uint64_t published_ = 0;  // publications
    std::uint64_t number_ = 0;
    std::chrono::system_clock::time_point loaded_at_;
};

}  // namespace s3gate::control
