// What changes between two configurations, for people and for programs. Pure.
#pragma once

#include <boost/json/object.hpp>
#include <string>
#include <vector>

#include "s3gate/config/difference.hpp"
#include "s3gate/policy/key_moves.hpp"

namespace s3gate::app {

// The keys of a group that is in both.
struct GroupMoves {
    const config::Site* site = nullptr;  // of the new configuration
    policy::KeyMoves moves;
};

struct DiffReport {
    config::Difference difference;
    std::vector<GroupMoves> groups;  // those that have a ring in one of the two
};

// Both must outlive the result.
DiffReport compare(const config::Config& before, const config::Config& after);

// Lines that begin with + for what is added, - for what is removed, ~ for what changes.
std::string diff_text(const DiffReport& report);

// docs/operations.md lists the keys.
boost::json::object diff_json(const DiffReport& report);

}  // namespace s3gate::app
