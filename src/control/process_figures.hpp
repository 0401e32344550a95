// What a process has counted, by names that other processes understand. After an upgrade the
// metrics add what earlier processes have counted, so that no counter falls. Control thread, unless
// a function says otherwise.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <compare>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "s3gate/state/board.hpp"
#include "s3gate/state/figures.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::control {

struct ServerName {
    std::string group;
    std::string server;  // as configured
    auto operator<=>(const ServerName&) const = default;
};

struct BucketName {
    std::string site;
    std::string bucket;
    auto operator<=>(const BucketName&) const = default;
};

// What is in progress now: the end of the process takes it away.
struct ProcessGauges {
    std::map<ServerName, std::int64_t> in_flight;     // those above 0
    std::map<std::string, std::int64_t> connections;  // by site, those above 0
    std::map<std::string, std::int64_t> requests;     // by group, those above 0
    std::map<std::string, std::int64_t> waiting;      // by group, those above 0
    std::map<std::string, std::int64_t> retries;      // by group, those above 0
    std::int64_t parked = 0;                          // kept backend connections
};

// Begins the names of outcomes of look-ups among the counters.
inline constexpr const char* kLookups = "lookups ";

struct ProcessFigures {
    std::map<ServerName, state::ServerTotals> servers;
    std::map<std::string, state::SiteTotals> sites;
    std::map<BucketName, state::BucketTotals> buckets;
    // Of workers, by index, and of the process.
    std::vector<std::uint64_t> worker_requests;
    std::vector<std::uint64_t> worker_connections;  // accepted
    std::map<std::string, std::uint64_t> counters;
    ProcessGauges gauges;
};

// Of this process, for the servers and sites of the snapshot. Any thread.
ProcessFigures figures_of(const state::Snapshot& snapshot, const state::Board& board);
ProcessGauges gauges_of(const state::Snapshot& snapshot, const state::Board& board);

struct FigureNames {
    std::set<ServerName> servers;
    std::set<std::string> sites;
};
// Those in the figures that the snapshot does not have. Buckets are not among them: their own
// figures outlive a site as well.
FigureNames names_absent(const ProcessFigures& figures, const state::Snapshot& snapshot);
void erase(ProcessFigures& figures, const FigureNames& names);

void add(ProcessFigures& sum, const ProcessFigures& more);
void add(ProcessGauges& sum, const ProcessGauges& more);

// The entries of servers and sites that `before` does not have, or has with other figures; all the
// rest of `now`.
ProcessFigures changes(const ProcessFigures& before, const ProcessFigures& now);
// Puts changes in place.
void take_changes(ProcessFigures& figures, ProcessFigures changes);

boost::json::object json_of(const ProcessFigures& figures);
// What another version wrote: what can be read of it. Throws for what is no object.
ProcessFigures process_figures_of(const boost::json::value& value);

}  // namespace s3gate::control
