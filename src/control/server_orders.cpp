#include "server_orders.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <exception>
#include <set>
#include <utility>

#include "health_probe.hpp"
#include "s3gate/control/findings_json.hpp"
#include "s3gate/state/passive_marks.hpp"
#include "status_json.hpp"

namespace s3gate::control {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using Kind = ServerOrder::Kind;
using state::Override;

constexpr std::string_view kHereOnly = "; on this host only";
constexpr std::size_t kMostNames = 20;  // in a message

std::string_view name_of(Kind kind) {
    switch (kind) {
        case Kind::drain:
            return "drain";
        case Kind::undrain:
            return "undrain";
        case Kind::down:
            return "down";
        case Kind::up:
            return "up";
        case Kind::maintain:
            return "maintain";
        case Kind::end_maintenance:
            return "maintain --done";
    }
    return {};
}

bool takes_out(Kind kind) {
    return kind == Kind::drain || kind == Kind::down || kind == Kind::maintain;
}

Override override_of(const ServerOrder& order) {
    switch (order.kind) {
        case Kind::drain:
            return order.keeps_sessions ? Override::keeps_sessions : Override::drained;
        case Kind::down:
            return Override::down;
        case Kind::maintain:
            return Override::maintained;
        default:
            return Override::none;
    }
}

// The command that gives a server back.
Kind end_of(Override command) {
    return command == Override::down         ? Kind::up
           : command == Override::maintained ? Kind::end_maintenance
                                             : Kind::undrain;
}

// The state of a server by such a command, in messages.
std::string_view state_of(Override command) {
    switch (command) {
        case Override::none:
            return "in service";
        case Override::keeps_sessions:
            return "drained but for its sessions";
        case Override::drained:
            return "drained";
        case Override::down:
            return "down by command";
        case Override::maintained:
            return "in maintenance";
    }
    return {};
}

CommandOutcome refusal(const ServerOrder& order, const std::string& reason) {
    return {.is_done = false, .message = std::string(name_of(order.kind)) + " refused: " + reason};
}

std::string list_of(const std::set<std::string>& names) {
    std::string out;
    std::size_t shown = 0;
    for (const std::string& name : names) {
        if (shown++ == kMostNames) {
            return out + " and " + std::to_string(names.size() - kMostNames) + " more";
        }
        out += (out.empty() ? "" : ", ") + name;
    }
    return out;
}

std::string label(const state::Group& group, const state::GroupServer& server) {
    return state::label_of(group.name, *server.config, {});
}

std::string counted(std::int64_t requests) {
    return std::to_string(requests) + " request" + (requests == 1 ? "" : "s") + " in progress";
}

// Without the control characters that a terminal or a log would obey.
std::string quoted(const std::string& text) {
    return json::serialize(json_text(text));
}

// What the order does not find, and what there is in its place.
std::string unknown_server(const state::Snapshot& snapshot, const ServerOrder& order) {
    std::set<std::string> sites;
    std::set<std::string> servers;
    for (const state::Site& site : snapshot.sites) {
        sites.insert(site.config->name);
        if (!order.site.empty() && site.config->name != order.site) {
            continue;
        }
        for (const state::Group& group : site.groups) {
            for (const state::GroupServer& server : group.servers) {
                servers.insert(server.config->text);
            }
        }
    }
    if (!order.site.empty() && !sites.contains(order.site)) {
        return "there is no site " + quoted(order.site) + "; there are: " + list_of(sites);
    }
    return (order.site.empty() ? "no site has a server "
                               : "site " + order.site + " has no server ") +
           quoted(order.server) + "; there are: " + list_of(servers);
}

// Of the question whether the cluster has its quorum without the node.
ProbePlan question_for(const state::Group& group) {
    config::Health health = *group.health;
    health.type = config::HealthType::http;
    health.method = "GET";
    health.path = "/minio/health/cluster?maintenance=true";
    health.expect_status = {{200, 200}};
    health.reject_headers.clear();
    health.timeout = ServerOrders::kLongestQuestion;
    return probe_plan_of(health, *group.backends);
}

constexpr int kQuorumWouldBeLost = 412;
constexpr int kQuorumIsLost = 503;

// The answers of an operator's question; `is_up`: by the checks.
std::string refusal_of(const ProbeResult& answer, bool is_up) {
    if (answer.status == kQuorumWouldBeLost) {
        return "the cluster cannot do without it (it answers 412)";
    }
    if (answer.status == kQuorumIsLost) {
        return "the cluster has no quorum as it is (it answers 503)";
    }
    // A node that the checks see down serves nobody: its maintenance takes nothing away.
    return answer.status == 0 && is_up
               ? "it does not say whether the cluster can do without it (" + answer.reason + ")"
               : "";
}

}  // namespace

std::vector<ServerOrders::Target> ServerOrders::find_targets(const state::Snapshot& snapshot,
                                                             const ServerOrder& order) const {
    std::vector<Target> out;
    for (const state::Site& site : snapshot.sites) {
        if (!order.site.empty() && site.config->name != order.site) {
            continue;
        }
        for (const state::Group& group : site.groups) {
            for (const state::GroupServer& server : group.servers) {
                if (server.config->text == order.server) {
                    out.push_back({&site, &group, &server});
                }
            }
        }
    }
    return out;
}

Override ServerOrders::command_at(const Target& target) const {
    return parts_.overrides.of({target.group->name, target.server->config->text});
}

// True if the group can serve now and could not without this server. While no server is usable, all
// that are not out may be tried (when_all_down), so the last of those counts.
bool ServerOrders::is_last_usable(const Target& target) const {
    bool is_usable_now = false;
    bool has_other_usable = false;
    bool is_out_now = true;
    bool has_other_in = false;
    for (const state::Peer& peer : target.group->peers) {
        const bool is_other = &target.group->servers[peer.server] != target.server;
        const bool is_usable = state::is_usable(parts_.board, peer);
        const bool is_out = state::is_out(parts_.board, peer);
        (is_other ? has_other_usable : is_usable_now) |= is_usable;
        has_other_in = has_other_in || (is_other && !is_out);
        is_out_now = is_out_now && (is_other || is_out);
    }
    return (is_usable_now && !has_other_usable) || (!is_out_now && !has_other_in);
}

std::optional<std::string> ServerOrders::find_obstacle(const ServerOrder& order,
                                                       const std::vector<Target>& targets) const {
    for (const Target& target : targets) {
        const std::string name = label(*target.group, *target.server);
        const Override now = command_at(target);
        const auto hint = [&](std::string_view state) {
            return name + " is " + std::string(state) + "; `" +
                   std::string(end_of(now) == Kind::end_maintenance ? "maintain SERVER --done"
                                                                    : name_of(end_of(now))) +
                   "` ends that";
        };
        if (!takes_out(order.kind)) {
            if (now != Override::none && end_of(now) != order.kind) {
                return hint(state_of(now));
            }
            continue;
        }
        if (now == Override::maintained && order.kind != Kind::maintain) {
            return hint(state_of(now));
        }
        if (order.keeps_sessions && target.group->ring.empty()) {
            return "--sessions needs keys, and " + target.group->name +
                   " has none (balance.method)";
        }
        if (!order.is_forced && is_last_usable(target)) {
            return name + " is the last usable server of " + target.group->name +
                   ": clients would get 503; --force does it all the same";
        }
    }
    return std::nullopt;
}

std::int64_t ServerOrders::requests_at(const state::Group& group,
                                       const state::GroupServer& server) const {
    std::int64_t out = 0;
    for (const std::uint32_t peer : server.peers()) {
        out += parts_.board.in_flight(group.peers[peer].slot);
    }
    return out;
}

void ServerOrders::close_parked(const state::Group& group, const state::GroupServer& server) const {
    for (const std::uint32_t peer : server.peers()) {
        for (const proxy::WorkerHandle& worker : parts_.workers) {
            worker.post_forget_parked(group.peers[peer].id());
        }
    }
}

// Every address of every target is asked once.
asio::awaitable<ServerOrders::Advice> ServerOrders::ask_nodes(std::vector<Target> targets) const {
    Advice out;
    std::set<std::string> asked;
    for (const Target& target : targets) {
        if (target.site->config->type != config::SiteType::s3) {
            continue;
        }
        const auto plan = std::make_shared<const ProbePlan>(question_for(*target.group));
        for (const std::uint32_t index : target.server->peers()) {
            const state::Peer& peer = target.group->peers[index];
            if (!asked.insert(peer.address_text).second) {
                continue;
            }
            const ProbeResult answer = co_await asio::co_spawn(
                parts_.context, probe(plan, peer.address, true), asio::use_awaitable);
            const std::string name = state::label_of(*target.group, peer);
            if (const std::string reason = refusal_of(answer, parts_.board.is_up(peer.slot));
                !reason.empty()) {
                out.refusal = name + ": " + reason + "; --force does it all the same";
                co_return out;
            }
            if (answer.end != ProbeEnd::passed) {
                out.note =
                    "; whether the cluster can do without it is not known (" + answer.reason + ")";
            }
        }
    }
    co_return out;
}

CommandOutcome ServerOrders::take_out(const ServerOrder& order,
                                      const std::vector<Target>& targets) {
    const Override command = override_of(order);
    std::string names;
    std::int64_t requests = 0;
    for (const Target& target : targets) {
        names += (names.empty() ? "" : ", ") + label(*target.group, *target.server);
        requests += requests_at(*target.group, *target.server);
        if (command_at(target) == command) {
            continue;  // since then, and by whom, stays
        }
        parts_.overrides.set({target.group->name, target.server->config->text},
                             {.command = command,
                              .since = std::chrono::system_clock::now(),
                              .by = order.asker,
                              .settings = settings_of(*target.server->config)},
                             *parts_.snapshot());
        if (command != Override::keeps_sessions) {
            close_parked(*target.group, *target.server);
        }
    }
    return {.message = std::string(name_of(order.kind)) + ": " + names + ": " +
                       std::string(state_of(command)) + ", " + counted(requests)};
}

CommandOutcome ServerOrders::give_back(const ServerOrder& order,
                                       const std::vector<Target>& targets) {
    std::string names;
    bool has_ended = false;
    bool is_configured_out = false;
    for (const Target& target : targets) {
        names += (names.empty() ? "" : ", ") + label(*target.group, *target.server);
        is_configured_out =
            is_configured_out || target.server->config->down || target.server->config->drained;
        if (command_at(target) != Override::none) {
            has_ended = true;
            parts_.overrides.set({target.group->name, target.server->config->text}, {},
                                 *parts_.snapshot());
        }
    }
    return {.message =
                std::string(name_of(order.kind)) + ": " + names + ": " +
                (has_ended ? "in service again as its checks say" : "no command held it out") +
                (is_configured_out ? "; the configuration takes it out (down or drained)" : "")};
}

asio::awaitable<CommandOutcome> ServerOrders::carry_out(ServerOrder order) {
    std::shared_ptr<const state::Snapshot> snapshot = parts_.snapshot();
    std::vector<Target> targets = find_targets(*snapshot, order);
    if (targets.empty()) {
        co_return refusal(order, unknown_server(*snapshot, order));
    }
    if (const auto obstacle = find_obstacle(order, targets)) {
        co_return refusal(order, *obstacle);
    }
    if (!takes_out(order.kind)) {
        CommandOutcome outcome = give_back(order, targets);
        outcome.message += kHereOnly;
        co_return outcome;
    }
    std::string note;
    if (order.kind == Kind::maintain && !order.is_forced) {
        const Advice advice = co_await ask_nodes(targets);
        if (!advice.refusal.empty()) {
            co_return refusal(order, advice.refusal);
        }
        note = advice.note;
        if (parts_.has_handed_over()) {
            co_return CommandOutcome{.is_done = false,
                                     .message =
                                         "refused: this process has handed over to another "
                                         "one; ask again",
                                     .is_misdirected = true};
        }
        // A reload or another command may have come meanwhile.
        snapshot = parts_.snapshot();
        targets = find_targets(*snapshot, order);
        if (targets.empty()) {
            co_return refusal(order, unknown_server(*snapshot, order));
        }
        if (const auto obstacle = find_obstacle(order, targets)) {
            co_return refusal(order, *obstacle);
        }
    }
    CommandOutcome outcome = take_out(order, targets);
    // Whoever waits for the end of the requests must not read figures of before the command.
    if (order.kind == Kind::maintain &&
        !co_await parts_.old_processes.await_reports(kLongestReports)) {
        note += "; an old process has not confirmed it yet: `status` names them";
    }
    outcome.message += note;
    outcome.message += kHereOnly;
    co_return outcome;
}

void ServerOrders::follow(const ServerKey& server, Override command) {
    const std::shared_ptr<const state::Snapshot> snapshot = parts_.snapshot();
    parts_.overrides.set(server,
                         {.command = command,
                          .since = std::chrono::system_clock::now(),
                          .by = "the process that serves"},
                         *snapshot);
    if (command > Override::keeps_sessions) {
        for (const state::Group& group : state::groups_of(*snapshot)) {
            for (const state::GroupServer& one : group.servers) {
                if (group.name == server.group && one.config->text == server.server) {
                    close_parked(group, one);
                }
            }
        }
    }
}

json::array ServerOrders::to_json() const {
    const std::shared_ptr<const state::Snapshot> snapshot = parts_.snapshot();
    const std::vector<OldProcessReport> old = parts_.old_processes.reports();
    json::array out;
    for (const state::Site& site : snapshot->sites) {
        for (const state::Group& group : site.groups) {
            for (const state::GroupServer& server : group.servers) {
                const auto found = parts_.overrides.all().find({group.name, server.config->text});
                if (found == parts_.overrides.all().end()) {
                    continue;
                }
                std::int64_t elsewhere = 0;
                for (const OldProcessReport& process : old) {
                    elsewhere += process.requests_at(found->first);
                }
                json::object item = json_of(found->first, found->second);
                item.erase("settings");
                item["since"] = iso_time(found->second.since);
                item["site"] = json_text(site.config->name);
                item["requests"] = requests_at(group, server);
                item["requests_in_old_processes"] = elsewhere;
                out.push_back(std::move(item));
            }
        }
    }
    return out;
}

std::string text_of(const ServerKey& server, Override command) {
    json::object out;
    out["group"] = json_text(server.group);
    out["server"] = json_text(server.server);
    out["state"] = word_of(command);
    return json::serialize(out);
}

std::optional<LinkedOrder> read_linked_order(std::string_view text) {
    boost::system::error_code error;
    const json::value item = json::parse(text, error);
    if (error) {
        return std::nullopt;
    }
    try {
        return LinkedOrder{
            {std::string(item.at("group").as_string()), std::string(item.at("server").as_string())},
            control::override_of(item.at("state").as_string())};
    } catch (const std::exception&) {
        return std::nullopt;
    }
}

}  // namespace s3gate::control
