// What operators have commanded for servers, beside the configuration: drained, down, in
// maintenance. Commands are known by group and server text, so they survive reloads, upgrades and
// other addresses of a name. One ends where the configuration of its server changes. Control thread
// only.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "s3gate/config/model.hpp"
#include "s3gate/state/board.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::control {

// A configured server of a group, in any generation and process.
struct ServerKey {
    std::string group;   // state::Group::name
    std::string server;  // as configured
    auto operator<=>(const ServerKey&) const = default;
};

struct OverrideRecord {
    state::Override command = state::Override::none;
    std::chrono::system_clock::time_point since{};
    std::string by = {};  // who asked
    // Of the server in the configuration at that time. Another process may know other keys. Empty
    // until follow(): those of the next generation.
    boost::json::object settings = {};
};

// "sessions", "drained", "down", "maintenance"; empty for none.
std::string_view word_of(state::Override command);
// The inverse; none for another word.
state::Override override_of(std::string_view word);

class Overrides {
  public:
    using Table = std::map<ServerKey, OverrideRecord>;
    // Called with each change; none = it has ended.
    using OnChange = std::function<void(const ServerKey& server, state::Override command)>;

    // `board` must outlive the object.
    explicit Overrides(state::Board& board, OnChange on_change = {})
        : board_(board), on_change_(std::move(on_change)) {}
    Overrides(const Overrides&) = delete;
    Overrides& operator=(const Overrides&) = delete;

    const Table& all() const { return table_; }
    // The command for that server; none where there is none.
    state::Override of(const ServerKey& server) const;
    // Grows with each change.
    std::uint64_t version() const { return version_; }

    // The command holds at once; none ends the present one. `snapshot` is the present one.
    void set(const ServerKey& server, OverrideRecord record, const state::Snapshot& snapshot);

    // A generation that will serve: puts the commands on the board, and ends those of servers that
    // it has not, or has with other settings. Call it before the workers learn of the generation.
    void follow(const state::Snapshot& snapshot);
    // Of a reload that waits to be confirmed: with undo_trial() what it ends comes back, and what
    // was commanded meanwhile takes the settings of the next generation for its own. follow() must
    // come next.
    void begin_trial();
    void end_trial();
    void undo_trial();

    // For another process: all of them, and what that one makes of it, in place of its own. Items
    // that it does not know are left out. follow() must come next.
    boost::json::array to_json() const;
    void replace(const boost::json::array& list);

  private:
    void apply(const state::Peer& peer, state::Override command);
    void apply_all(const state::Snapshot& snapshot);
    void note_change(const ServerKey& server, state::Override command);

    state::Board& board_;
    OnChange on_change_;
    Table table_;
    bool is_in_trial_ = false;
    Table ended_in_trial_;
    std::set<ServerKey> set_in_trial_;
    std::uint64_t version_ = 0;
};

// The settings of a server that a command depends on.
boost::json::object settings_of(const config::Server& server);

// One record, as to_json() lists it.
boost::json::object json_of(const ServerKey& server, const OverrideRecord& record);

}  // namespace s3gate::control
