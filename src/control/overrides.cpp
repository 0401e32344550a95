#include "overrides.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <exception>
#include <optional>
#include <vector>

#include "s3gate/base/clock.hpp"
#include "s3gate/control/findings_json.hpp"

namespace s3gate::control {
namespace {

namespace json = boost::json;
using state::Override;

struct Word {
    Override command;
    std::string_view text;
};
constexpr auto kWords = std::to_array<Word>({
    {Override::keeps_sessions, "sessions"},
    {Override::drained, "drained"},
    {Override::down, "down"},
    {Override::maintained, "maintenance"},
});

std::int64_t seconds_of(std::chrono::system_clock::time_point time) {
    return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

const config::Server* find_config(const state::Snapshot& snapshot, const ServerKey& server) {
    for (const state::Group& group : state::groups_of(snapshot)) {
        if (group.name != server.group) {
            continue;
        }
        for (const state::GroupServer& candidate : group.servers) {
            if (candidate.config->text == server.server) {
                return candidate.config;
            }
        }
    }
    return nullptr;
}

// The first setting that is another one by now; empty if there is none. What only one of the two
// processes knows says nothing.
std::string find_difference(const json::object& before, const json::object& now) {
    for (const auto& [key, value] : before) {
        const json::value* const other = now.if_contains(key);
        if (other != nullptr && *other != value) {
            return std::string(key);
        }
    }
    return {};
}

// Why the command ends with this generation; empty if it goes on.
std::string reason_to_end(const state::Snapshot& snapshot, const ServerKey& server,
                          const OverrideRecord& record) {
    const config::Server* const now = find_config(snapshot, server);
    if (now == nullptr) {
        return "the configuration has it no more";
    }
    const std::string key = find_difference(record.settings, settings_of(*now));
    return key.empty() ? "" : "its " + key + " changed in the configuration";
}

std::optional<std::pair<ServerKey, OverrideRecord>> record_of(const json::value& item) {
    try {
        ServerKey server{std::string(item.at("group").as_string()),
                         std::string(item.at("server").as_string())};
        OverrideRecord record;
        record.command = override_of(item.at("state").as_string());
        record.since = std::chrono::system_clock::time_point(
            std::chrono::seconds(item.at("since").to_number<std::int64_t>()));
        record.by = item.at("by").as_string();
        record.settings = item.at("settings").as_object();
        if (record.command == Override::none) {
            return std::nullopt;
        }
        return std::pair(std::move(server), std::move(record));
    } catch (const std::exception&) {
        return std::nullopt;
    }
}

}  // namespace

std::string_view word_of(Override command) {
    const auto* const found = std::ranges::find(kWords, command, &Word::command);
    return found == kWords.end() ? std::string_view() : found->text;
}

Override override_of(std::string_view word) {
    const auto* const found = std::ranges::find(kWords, word, &Word::text);
    return found == kWords.end() ? Override::none : found->command;
}

json::object settings_of(const config::Server& server) {
    json::object out;
    out["weight"] = server.weight;
    out["backup"] = server.backup;
    out["down"] = server.down;
    out["drained"] = server.drained;
    out["max_connections"] = server.max_connections;
    return out;
}

json::object json_of(const ServerKey& server, const OverrideRecord& record) {
    json::object out;
    out["group"] = json_text(server.group);
    out["server"] = json_text(server.server);
    out["state"] = word_of(record.command);
    out["since"] = seconds_of(record.since);
    out["by"] = json_text(record.by);
    out["settings"] = record.settings;
    return out;
}

Override Overrides::of(const ServerKey& server) const {
    const auto found = table_.find(server);
    return found == table_.end() ? Override::none : found->second.command;
}

// A server that gets requests again begins with a small share where backends.slow_start says so.
void Overrides::apply(const state::Peer& peer, Override command) {
    if (command == Override::none && board_.override_of(peer.slot) != Override::none) {
        board_.set_back_since(peer.slot, base::milliseconds_of(base::Clock::now()));
    }
    board_.set_override(peer.slot, command);
}

void Overrides::note_change(const ServerKey& server, Override command) {
    ++version_;
    if (on_change_) {
        on_change_(server, command);
    }
}

void Overrides::set(const ServerKey& server, OverrideRecord record,
                    const state::Snapshot& snapshot) {
    const Override command = record.command;
    if (is_in_trial_) {
        set_in_trial_.insert(server);
    }
    if (command == Override::none) {
        table_.erase(server);
    } else {
        table_.insert_or_assign(server, std::move(record));
    }
    ended_in_trial_.erase(server);
    apply_all(snapshot);
    note_change(server, command);
}

void Overrides::follow(const state::Snapshot& snapshot) {
    std::vector<ServerKey> ended;
    for (auto& [server, record] : table_) {
        if (const config::Server* const now = find_config(snapshot, server);
            now != nullptr && record.settings.empty()) {
            record.settings = settings_of(*now);
        }
        const std::string reason = reason_to_end(snapshot, server, record);
        if (!reason.empty()) {
            spdlog::warn("{}: {}: \"{}\" by {} has ended: {}", server.group, server.server,
                         word_of(record.command), record.by, reason);
            ended.push_back(server);
        }
    }
    for (const ServerKey& server : ended) {
        auto node = table_.extract(server);
        if (is_in_trial_) {
            ended_in_trial_.insert(std::move(node));
        }
        note_change(server, Override::none);
    }
    apply_all(snapshot);
}

// Every address, since one may have been away while a command came or ended.
void Overrides::apply_all(const state::Snapshot& snapshot) {
    for (const state::Group& group : state::groups_of(snapshot)) {
        for (const state::GroupServer& server : group.servers) {
            const Override command =
                table_.empty() ? Override::none : of({group.name, server.config->text});
            for (const std::uint32_t peer : server.peers()) {
                apply(group.peers[peer], command);
            }
        }
    }
}

void Overrides::begin_trial() {
    is_in_trial_ = true;
}

void Overrides::end_trial() {
    is_in_trial_ = false;
    ended_in_trial_.clear();
    set_in_trial_.clear();
}

void Overrides::undo_trial() {
    // What was commanded meanwhile was meant for the server, not for settings that go again.
    for (const ServerKey& server : set_in_trial_) {
        if (const auto found = table_.find(server); found != table_.end()) {
            found->second.settings.clear();
        }
    }
    for (auto& [server, record] : ended_in_trial_) {
        spdlog::info("{}: {}: \"{}\" by {} holds again", server.group, server.server,
                     word_of(record.command), record.by);
        const Override command = record.command;
        table_.emplace(server, std::move(record));
        note_change(server, command);
    }
    end_trial();
}

json::array Overrides::to_json() const {
    json::array out;
    for (const auto& [server, record] : table_) {
        out.push_back(json_of(server, record));
    }
    return out;
}

void Overrides::replace(const json::array& list) {
    table_.clear();
    for (const json::value& item : list) {
        if (auto record = record_of(item)) {
            table_.insert(std::move(*record));
        }
    }
    ++version_;
}

}  // namespace s3gate::control
