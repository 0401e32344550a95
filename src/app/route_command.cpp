#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/system/error_code.hpp>
#include <cstdio>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "commands.hpp"
#include "ctl_client.hpp"
#include "ctl_text.hpp"
#include "live_state.hpp"
#include "s3gate/base/digest.hpp"
#include "s3gate/control/server.hpp"
#include "s3gate/policy/affinity_key.hpp"
#include "s3gate/policy/selection.hpp"
#include "s3gate/state/slot_directory.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::app {
namespace {

void print(const char* label, const std::string& value) {
    std::printf("%-10s %s\n", label, printable(value).c_str());
}

std::string hex(std::uint32_t value) {
    char text[9];
    std::snprintf(text, sizeof text, "%08x", value);
    return text;
}

// The parts of a request that an argument gives.
struct Request {
    std::string query;
    std::string key;  // set if the argument is itself a key
};

// The host of a URL with an authority (RFC 3986 section 3.2); else that of the options, which may
// be empty.
std::string host_of(const std::string& argument, const RouteOptions& options) {
    const std::size_t scheme = argument.find("://");
    const bool is_url = scheme < argument.find_first_of("/?=");
    if (!is_url) {
        return options.host;
    }
    const std::size_t begin = scheme + 3;
    const std::string authority =
        argument.substr(begin, argument.find_first_of("/?#", begin) - begin);
    return authority.substr(authority.rfind('@') + 1);
}

Request parse_argument(const std::string& argument) {
    if (argument.starts_with('/') || argument.find("://") != std::string::npos) {
        const std::size_t question = argument.find('?');
        if (question == std::string::npos) {
            return {};
        }
        // A fragment is never sent (RFC 9110 §7.1).
        const std::size_t end = argument.find('#', question);
        return {argument.substr(question + 1, end == std::string::npos ? end : end - question - 1),
                {}};
    }
    if (argument.starts_with('?')) {
        return {argument.substr(1), {}};
    }
    if (argument.find('=') != std::string::npos) {
        return {argument, {}};
    }
    return {{}, argument};
}

// An argument, the host of its request, and why the site takes that.
struct Asked {
    const std::string& argument;
    std::string host = {};  // empty = any
    std::string reason = {};
};

struct Key {
    std::string text;
    std::string source;          // the key's source, or why there is no key
    bool needs_address = false;  // needs a fingerprint, but no --ip was given
};

Key key_of(const config::Site& site, const RouteOptions& options, const Request& request) {
    if (!request.key.empty()) {
        return {request.key, "given"};
    }
    policy::KeyInput input;
    input.query = request.query;
    input.user_agent = options.user_agent;
    input.accept_language = options.accept_language;
    input.salt = site.balance.salt;
    if (options.ip) {
        input.client_ip = *options.ip;
    }
    const policy::AffinityKey found = policy::affinity_key_of(site.balance.key, input);
    if (found.source == nullptr) {
        return {{}, "none: no configured source yields a key; such requests go round robin"};
    }
    if (found.source->kind == config::KeySource::Kind::fingerprint && !options.ip) {
        return {{}, {}, true};
    }
    return {found.key, config::print_key_source(*found.source)};
}

std::string state_of(const config::Server& server) {
    return server.down ? " (down in the configuration)" : server.drained ? " (drained)" : "";
}

bool is_out(const config::Server& server) {
    return server.down || server.drained;
}

// A group according to the configuration alone: every server is up, has room and has one address.
class GroupAsConfigured {
  public:
    GroupAsConfigured(const state::Group& group, std::span<policy::SmoothWeight> weights)
        : group_(&group), weights_(weights) {}

    config::BalanceMethod method() const { return group_->balance->method; }
    config::AllDown when_all_down() const { return group_->when_all_down; }
    const policy::KetamaRing& ring() const { return group_->ring; }
    std::size_t address_count() const { return group_->servers.size(); }
    auto addresses_of(std::uint32_t server) const { return std::views::iota(server, server + 1); }
    std::uint32_t server_of(std::uint32_t address) const { return address; }
    unsigned weight_of(std::uint32_t server) const { return config_of(server).weight; }
    bool is_backup(std::uint32_t server) const { return config_of(server).backup; }
    bool is_out(std::uint32_t address) const { return app::is_out(config_of(address)); }
    bool is_well(std::uint32_t) const { return true; }
    bool may_be_recovering(std::uint32_t) const { return true; }
    bool has_room(std::uint32_t) const { return true; }
    std::int64_t in_flight(std::uint32_t) const { return 0; }
    unsigned share_of(std::uint32_t) const { return policy::kFullShare; }
    std::span<policy::SmoothWeight> weights() const { return weights_; }
    std::uint64_t random() const { return 0; }

  private:
    const config::Server& config_of(std::uint32_t server) const {
        return *group_->servers[server].config;
    }

    const state::Group* group_;
    std::span<policy::SmoothWeight> weights_;
};

// A group with the state that a running daemon reports.
class GroupLive {
  public:
    // `servers` are the group's, in their order. `is_upload`: the request has an uploadId.
    GroupLive(const state::Group& group, std::span<const LiveServer* const> servers, bool is_upload,
              std::span<policy::SmoothWeight> weights)
        : group_(&group), servers_(servers), is_upload_(is_upload), weights_(weights) {}

    config::BalanceMethod method() const { return group_->balance->method; }
    config::AllDown when_all_down() const { return group_->when_all_down; }
    const policy::KetamaRing& ring() const { return group_->ring; }
    std::size_t address_count() const { return group_->peers.size(); }
    auto addresses_of(std::uint32_t server) const { return group_->servers[server].peers(); }
    std::uint32_t server_of(std::uint32_t address) const { return group_->peers[address].server; }
    unsigned weight_of(std::uint32_t server) const {
        return group_->servers[server].config->weight;
    }
    bool is_backup(std::uint32_t server) const { return group_->servers[server].config->backup; }
    bool is_out(std::uint32_t address) const {
        const LiveServer& server = *servers_[server_of(address)];
        return server.is_out && !(server.keeps_uploads && is_upload_);
    }
    bool is_well(std::uint32_t address) const {
        const LiveServer::Address state = state_of(address);
        return state.is_up && !state.is_marked;
    }
    bool may_be_recovering(std::uint32_t address) const {
        const LiveServer::Address state = state_of(address);
        return state.is_up || state.is_recovering;
    }
    bool has_room(std::uint32_t server) const { return servers_[server]->has_room; }
    std::int64_t in_flight(std::uint32_t address) const { return state_of(address).in_flight; }
    // Only the turns of requests without a key depend on it.
    unsigned share_of(std::uint32_t) const { return policy::kFullShare; }
    std::span<policy::SmoothWeight> weights() const { return weights_; }
    std::uint64_t random() const { return 0; }

  private:
    LiveServer::Address state_of(std::uint32_t address) const {
        const auto& known = servers_[server_of(address)]->addresses;
        const auto found = known.find(group_->peers[address].address_text);
        return found == known.end() ? LiveServer::Address{} : found->second;
    }

    const state::Group* group_;
    std::span<const LiveServer* const> servers_;
    bool is_upload_;
    std::span<policy::SmoothWeight> weights_;
};

// The server that a request goes to next; the selection then continues after it.
template <class Group>
std::string next_server(const state::Group& group, const Group& view,
                        policy::Selection<Group>& selection) {
    const policy::Selected next = selection.select(policy::Sent::nothing);
    if (next.result == policy::Selected::Result::full) {
        return "none now: no usable server has room, and the request waits";
    }
    if (next.result != policy::Selected::Result::found) {
        return "none: no other server is left";
    }
    if (!next.is_by_key) {
        // The next server depends on earlier requests.
        return "round robin over the others (" + std::to_string(policy::kMaxUnusablePoints + 1) +
               " ring points in a row were unusable)";
    }
    selection.note_tried(next.address);
    return group.servers[view.server_of(next.address)].config->text;
}

template <class Group>
void print_servers(const state::Group& group, const Group& view, std::uint32_t hash) {
    policy::SelectionMemory memory;
    policy::Selection<Group> selection(view, hash, memory);
    print("server", next_server(group, view, selection));
    print("if down", next_server(group, view, selection));
}

// The group's servers as the daemon has them, in their order.
std::vector<const LiveServer*> servers_of(const state::Group& group, const LiveState& live) {
    static const LiveServer kUnknown{.reason = "unknown to the daemon"};
    std::vector<const LiveServer*> out;
    for (const state::GroupServer& server : group.servers) {
        const LiveServer* const found = live.find(group.name, server.config->text);
        out.push_back(found == nullptr ? &kUnknown : found);
    }
    return out;
}

std::string with_reason(const config::Server& server, const LiveServer& live) {
    return server.text + (live.reason.empty() ? "" : " (" + live.reason + ")");
}

// The servers that get nothing now, and why.
void print_absent(const state::Group& group, const std::vector<const LiveServer*>& servers) {
    bool is_any_well = false;
    for (std::size_t i = 0; i < servers.size(); ++i) {
        is_any_well = is_any_well || servers[i]->reason.empty();
        if (!servers[i]->reason.empty()) {
            print("not now", with_reason(*group.servers[i].config, *servers[i]));
        }
    }
    if (!is_any_well && group.when_all_down == config::AllDown::try_anyway) {
        print("note", "no server is usable, so checks and marks are ignored (when_all_down: try)");
    }
}

void print_ring(const state::Group& group, const Key& key, const LiveState* live) {
    const std::uint32_t hash = base::crc32(key.text);
    const policy::KetamaRing::Point& first = group.ring.points()[group.ring.lookup(hash)];
    print("crc32", hex(hash));
    print("point", hex(first.hash));
    const config::Server& owner = *group.servers[first.server].config;
    if (live == nullptr) {
        if (is_out(owner)) {
            print("owner", owner.text + state_of(owner));
        }
        std::vector<policy::SmoothWeight> weights(group.servers.size());
        print_servers(group, GroupAsConfigured(group, weights), hash);
        return;
    }
    const std::vector<const LiveServer*> servers = servers_of(group, *live);
    print("owner", with_reason(owner, *servers[first.server]));
    print_absent(group, servers);
    std::vector<policy::SmoothWeight> weights(group.peers.size());
    print_servers(group, GroupLive(group, servers, key.source == "uploadid", weights), hash);
}

// Why a site takes a host that it takes; empty if it takes none of it.
std::string reason_to_take(const state::Snapshot& snapshot, std::uint32_t site,
                           const std::string& host) {
    const auto takes = [&](const state::Address& address) { return address.site_of(host) == site; };
    const auto found = std::ranges::find_if(snapshot.addresses, takes);
    if (found == snapshot.addresses.end()) {
        return {};
    }
    return found->hosts.empty()      ? "the site takes every host"
           : found->hosts.find(host) ? "one of the site's hosts"
                                     : "no site names it, and this one takes the rest";
}

void print_route(const state::Site& site, const std::optional<Key>& key, const Asked& asked,
                 const LiveState* live) {
    const config::Site& config = *site.config;
    print("argument", asked.argument);
    print("site", config.name);
    if (!asked.host.empty()) {
        print("host", asked.host + " (" + asked.reason + ")");
    }
    if (!key) {
        print("server", config.balance.method == config::BalanceMethod::least_conn
                            ? "any: least_conn picks the one with the fewest requests in progress"
                            : "any: round_robin takes them in turn");
        if (live != nullptr) {
            print_absent(site.default_group(), servers_of(site.default_group(), *live));
        }
        return;
    }
    print("source", key->source);
    if (!key->text.empty()) {
        print("key", key->text);
        print_ring(site.default_group(), *key, live);
    } else if (live != nullptr) {
        print_absent(site.default_group(), servers_of(site.default_group(), *live));
    }
}

// Prints the answer, or the error to standard error.
bool answer(const state::Site& site, const RouteOptions& options, const Asked& asked, bool is_first,
            const LiveState* live) {
    const std::string& argument = asked.argument;
    const config::Site& config = *site.config;
    std::optional<Key> key;  // none without a ring
    if (config.balance.method == config::BalanceMethod::ketama) {
        key = key_of(config, options, parse_argument(argument));
    }
    if (key && key->needs_address) {
        complain(printable(argument) + " at site " + config.name +
                 ": the key is the fingerprint of the client; give its address with --ip (and "
                 "--user-agent and --accept-language as it sends them)");
        return false;
    }
    std::fputs(is_first ? "" : "\n", stdout);
    print_route(site, key, asked, live);
    return true;
}

bool is_wanted(const RouteOptions& options, const config::Site& site) {
    return options.site.empty() || site.name == options.site;
}

// Answers for every wanted site that takes the request's host; adds to `answers`. False, and said
// why, if one cannot be answered, or there is none.
bool answer_all(const state::Snapshot& snapshot, const RouteOptions& options,
                const std::string& argument, std::size_t& answers, const LiveState* live) {
    Asked asked{.argument = argument, .host = host_of(argument, options)};
    bool is_taken = false;
    bool are_all_answered = true;
    for (std::uint32_t index = 0; index < snapshot.sites.size(); ++index) {
        const state::Site& site = snapshot.sites[index];
        if (!is_wanted(options, *site.config)) {
            continue;
        }
        if (!asked.host.empty()) {
            asked.reason = reason_to_take(snapshot, index, asked.host);
            if (asked.reason.empty()) {
                continue;
            }
        }
        is_taken = true;
        const bool is_answered = answer(site, options, asked, answers == 0, live);
        answers += is_answered ? 1 : 0;
        are_all_answered = are_all_answered && is_answered;
    }
    if (!is_taken) {
        const std::string taker =
            options.site.empty() ? "no site takes" : "site " + options.site + " does not take";
        complain(printable(argument) + ": " + taker + " the host " + printable(asked.host));
    }
    return are_all_answered && is_taken;
}

struct Running {
    std::shared_ptr<const config::Config> config;
    std::optional<LiveState> state;
};

// What a daemon serves with, and the state of its servers, of one moment; nullopt, and said why, if
// it does not say.
std::optional<Running> ask_running(const std::string& socket) {
    constexpr int kMostReloads = 16;  // between the two answers
    for (int i = 0; i < kMostReloads; ++i) {
        const auto first = get_from_daemon(socket, "/status");
        auto read = first ? load_running(socket) : std::nullopt;
        const auto last = read ? get_from_daemon(socket, "/status") : std::nullopt;
        if (!last) {
            return std::nullopt;
        }
        boost::system::error_code error;
        const auto before = boost::json::parse(*first, error);
        const auto after = boost::json::parse(*last, error);
        if (error || !before.is_object() || !after.is_object() || !read->ok()) {
            complain("what answers at " + socket + " is no s3gate of this version");
            return std::nullopt;
        }
        LiveState state(after.get_object());
        if (LiveState(before.get_object()).generation() == state.generation()) {
            return Running{std::make_shared<const config::Config>(std::move(read->config)),
                           std::move(state)};
        }
    }
    complain("the daemon at " + socket + " is reloading all the time");
    return std::nullopt;
}

// Says why where it returns another code than kExitOk.
int find_config(const std::string& file, const RouteOptions& options, Running& out) {
    if (!options.is_live) {
        out.config = load_or_report(file, stderr);
        return out.config ? control::kExitOk : control::kExitConfig;
    }
    const std::string socket = options.socket.empty() ? daemon_socket(file) : options.socket;
    auto running = socket.empty() ? std::nullopt : ask_running(socket);
    if (!running) {
        return kExitUnreachable;
    }
    out = std::move(*running);
    return control::kExitOk;
}

}  // namespace

int run_route(const std::string& file, const RouteOptions& options) {
    Running running;
    if (const int code = find_config(file, options, running); code != control::kExitOk) {
        return code;
    }
    const std::shared_ptr<const config::Config>& config = running.config;
    const LiveState* const live = running.state ? &*running.state : nullptr;
    if (options.ip && !base::IpAddress::parse(*options.ip)) {
        complain("--ip " + *options.ip + " is no address");
        return control::kExitFailure;
    }
    if (std::ranges::none_of(config->sites,
                             [&](const config::Site& site) { return is_wanted(options, site); })) {
        complain("no site is called " + options.site);
        return control::kExitFailure;
    }
    // Builds the same rings as the daemon; they need no name resolution.
    state::Board board(1);
    state::SlotDirectory directory(board);
    const auto snapshot = state::build_snapshot(
        config, live == nullptr ? state::Resolution() : live->names(), directory);
    std::size_t answers = 0;
    bool are_all_answered = true;
    for (const std::string& argument : options.arguments) {
        are_all_answered =
            answer_all(*snapshot, options, argument, answers, live) && are_all_answered;
    }
    return are_all_answered ? control::kExitOk : control::kExitFailure;
}

}  // namespace s3gate::app
