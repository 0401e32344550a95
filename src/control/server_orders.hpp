// The commands of operators for servers: drain, down, maintain and their ends. Checks them against
// the present generation, asks a node whether it may leave, and tells what is still in progress.
// Control thread only.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json/array.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "commands.hpp"
#include "old_processes.hpp"
#include "overrides.hpp"
#include "s3gate/base/clock.hpp"
#include "s3gate/proxy/worker_handle.hpp"
#include "s3gate/state/board.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::control {

class ServerOrders {
  public:
    // For a node's answer whether the cluster can do without it: it asks the others first.
    static constexpr base::Duration kLongestQuestion = std::chrono::seconds{10};
    // For the reports of old processes, which come four times a second.
    static constexpr base::Duration kLongestReports = std::chrono::seconds{2};

    // They outlive the object.
    struct Parts {
        boost::asio::io_context& context;
        state::Board& board;
        Overrides& overrides;
        std::function<std::shared_ptr<const state::Snapshot>()> snapshot;
        const std::vector<proxy::WorkerHandle>& workers;
        // It is asked for reports on what it was told before.
        OldProcesses& old_processes;
        // True where another process has the servers by now: an order would be lost.
        std::function<bool()> has_handed_over;
    };
    explicit ServerOrders(Parts parts) : parts_(std::move(parts)) {}
    ServerOrders(const ServerOrders&) = delete;
    ServerOrders& operator=(const ServerOrders&) = delete;

    boost::asio::awaitable<CommandOutcome> carry_out(ServerOrder order);
    // Takes over a command that the process with the servers has got.
    void follow(const ServerKey& server, state::Override command);

    // One object for each command, with the requests in progress.
    boost::json::array to_json() const;

  private:
    // A server that an order means.
    struct Target {
        const state::Site* site;
        const state::Group* group;
        const state::GroupServer* server;
    };

    std::vector<Target> find_targets(const state::Snapshot& snapshot,
                                     const ServerOrder& order) const;
    std::optional<std::string> find_obstacle(const ServerOrder& order,
                                             const std::vector<Target>& targets) const;
    bool is_last_usable(const Target& target) const;
    // The reason against the maintenance, and what the operator should know.
    struct Advice {
        std::string refusal;
        std::string note;
    };
    boost::asio::awaitable<Advice> ask_nodes(std::vector<Target> targets) const;
    CommandOutcome take_out(const ServerOrder& order, const std::vector<Target>& targets);
    CommandOutcome give_back(const ServerOrder& order, const std::vector<Target>& targets);
    void close_parked(const state::Group& group, const state::GroupServer& server) const;
    std::int64_t requests_at(const state::Group& group, const state::GroupServer& server) const;
    state::Override command_at(const Target& target) const;

    Parts parts_;
};

// The link_command for one server, and its inverse; nullopt for another text.
std::string text_of(const ServerKey& server, state::Override command);
struct LinkedOrder {
    ServerKey server;
    state::Override command;
};
std::optional<LinkedOrder> read_linked_order(std::string_view text);

}  // namespace s3gate::control
