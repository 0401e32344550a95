#include <algorithm>
#include <cstdio>
#include <ranges>
#include <span>
#include <string_view>
#include <vector>

#include "commands.hpp"
#include "s3gate/base/digest.hpp"
#include "s3gate/control/server.hpp"
#include "s3gate/policy/affinity_key.hpp"
#include "s3gate/policy/selection.hpp"
#include "s3gate/state/slot_directory.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::app {
namespace {

// Keys come decoded and may hold control bytes, which must not reach the terminal or begin another
// line.
std::string printable(const std::string& text) {
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7f) {
            char escaped[8];
            std::snprintf(escaped, sizeof escaped, "\\x%02x", byte);
            out += escaped;
        } else {
            out += c;
        }
    }
    return out;
}

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
    std::span<policy::SmoothWeight> weights() const { return weights_; }
    std::uint64_t random() const { return 0; }

  private:
    const config::Server& config_of(std::uint32_t server) const {
        return *group_->servers[server].config;
    }

    const state::Group* group_;
    std::span<policy::SmoothWeight> weights_;
};

// The server that a request goes to next; the selection then continues after it.
std::string next_server(const state::Group& group,
                        policy::Selection<GroupAsConfigured>& selection) {
    const policy::Selected next = selection.select(policy::Sent::nothing);
    if (next.result != policy::Selected::Result::found) {
        return "none: no other server is left";
    }
    if (!next.is_by_key) {
        // The next server depends on earlier requests.
        return "round robin over the others (" + std::to_string(policy::kMaxUnusablePoints + 1) +
               " ring points in a row were unusable)";
    }
    selection.note_tried(next.address);
    return group.servers[next.address].config->text;
}

void print_ring(const state::Group& group, const std::string& key) {
    const std::uint32_t hash = base::crc32(key);
    const policy::KetamaRing::Point& first = group.ring.points()[group.ring.lookup(hash)];
    print("crc32", hex(hash));
    print("point", hex(first.hash));
    const config::Server& owner = *group.servers[first.server].config;
    if (is_out(owner)) {
        print("owner", owner.text + state_of(owner));
    }
    std::vector<policy::SmoothWeight> weights(group.servers.size());
    policy::SelectionMemory memory;
    policy::Selection<GroupAsConfigured> selection({group, weights}, hash, memory);
    print("server", next_server(group, selection));
    print("if down", next_server(group, selection));
}

void print_route(const state::Site& site, const std::optional<Key>& key,
                 const std::string& argument) {
    const config::Site& config = *site.config;
    print("argument", argument);
    print("site", config.name);
    if (!key) {
        print("server", config.balance.method == config::BalanceMethod::least_conn
                            ? "any: least_conn picks the one with the fewest requests in progress"
                            : "any: round_robin takes them in turn");
        return;
    }
    print("source", key->source);
    if (!key->text.empty()) {
        print("key", key->text);
        print_ring(site.default_group(), key->text);
    }
}

// Prints the answer, or the error to standard error.
bool answer(const state::Site& site, const RouteOptions& options, const std::string& argument,
            bool is_first) {
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
    print_route(site, key, argument);
    return true;
}

}  // namespace

int run_route(const std::string& file, const RouteOptions& options) {
    const std::shared_ptr<const config::Config> config = load_or_report(file, stderr);
    if (!config) {
        return control::kExitConfig;
    }
    if (options.ip && !base::IpAddress::parse(*options.ip)) {
        complain("--ip " + *options.ip + " is no address");
        return control::kExitFailure;
    }
    const auto is_wanted = [&](const config::Site& site) {
        return options.site.empty() || site.name == options.site;
    };
    if (std::ranges::none_of(config->sites, is_wanted)) {
        complain("no site is called " + options.site);
        return control::kExitFailure;
    }
    // Builds the same rings as the daemon; they need no name resolution.
    state::Board board(1);
    state::SlotDirectory directory(board);
    const auto snapshot = state::build_snapshot(config, {}, directory);
    std::size_t answers = 0;
    bool are_all_answered = true;
    for (const std::string& argument : options.arguments) {
        for (const state::Site& site : snapshot->sites) {
            if (!is_wanted(*site.config)) {
                continue;
            }
            if (answer(site, options, argument, answers == 0)) {
                ++answers;
            } else {
                are_all_answered = false;
            }
        }
    }
    return are_all_answered ? control::kExitOk : control::kExitFailure;
}

}  // namespace s3gate::app
