// The state of the servers of a running daemon, from its /status, for `s3gate route --live`. Pure.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "s3gate/state/snapshot.hpp"

namespace s3gate::app {

// One server of a group.
struct LiveServer {
    struct Address {
        bool is_up = false;
        bool is_recovering = false;
        bool is_marked = false;
        std::int64_t in_flight = 0;
    };
    std::map<std::string, Address> addresses = {};  // by "ip:port"
    bool is_out = false;
    bool keeps_uploads = false;  // out by `drain --sessions`, but not for requests of an upload
    bool has_room = true;
    // Why it gets no request now, for people; empty where it may get one.
    std::string reason;
};

class LiveState {
  public:
    // `status` as docs/operations.md has it. What it lacks is as in a daemon that serves nothing.
    explicit LiveState(const boost::json::object& status);

    std::int64_t generation() const { return generation_; }
    // The addresses of the names, for state::build_snapshot.
    const state::Resolution& names() const { return names_; }
    // Null if the group has no such server.
    const LiveServer* find(const std::string& group, const std::string& server) const;

  private:
    std::int64_t generation_ = 0;
    state::Resolution names_;
    std::map<std::pair<std::string, std::string>, LiveServer> servers_;
};

}  // namespace s3gate::app
