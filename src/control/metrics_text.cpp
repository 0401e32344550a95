#include "metrics_text.hpp"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <ranges>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "overrides.hpp"
#include "s3gate/base/clock.hpp"
#include "s3gate/policy/retry_rule.hpp"
#include "s3gate/policy/retry_tokens.hpp"
#include "s3gate/policy/ring_digest.hpp"
#include "s3gate/state/cluster_status.hpp"
#include "s3gate/state/counters.hpp"
#include "s3gate/state/histogram.hpp"
#include "s3gate/state/labels.hpp"

namespace s3gate::control {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr double kNanosecond = 1e-9;
constexpr double kMillisecond = 1e-3;

// Members of ClientMetric::Label have no constructor; the labels of one series.
using Labels = std::vector<ClientMetric::Label>;

Labels operator+(Labels labels, ClientMetric::Label further) {
    labels.push_back(std::move(further));
    return labels;
}

ClientMetric::Label label(const char* name, std::string_view value) {
    return {name, std::string(value)};
}

// A family, and its series as they are added.
class Family {
  public:
    // `families` may grow meanwhile.
    Family(std::vector<MetricFamily>& families, std::size_t index)
        : families_(families), index_(index) {}

    template <class Number>
    void add(Number value, Labels labels = {}) {
        ClientMetric& metric = family().metric.emplace_back();
        metric.label = std::move(labels);
        const auto number = static_cast<double>(value);
        if (family().type == MetricType::Counter) {
            metric.counter.value = number;
        } else {
            metric.gauge.value = number;
        }
    }

    template <class Bounds>
    void add(const state::Histogram<Bounds, std::uint64_t>& times, Labels labels) {
        ClientMetric& metric = family().metric.emplace_back();
        metric.label = std::move(labels);
        ClientMetric::Histogram& out = metric.histogram;
        std::uint64_t count = 0;
        for (std::size_t i = 0; i < times.buckets.size(); ++i) {
            count += times.buckets[i];
            const bool is_last = i + 1 == times.buckets.size();
            out.bucket.push_back(
                {count, is_last ? std::numeric_limits<double>::infinity()
                                : static_cast<double>(Bounds::kMilliseconds[i]) * kMillisecond});
        }
        out.sample_count = count;
        out.sample_sum = static_cast<double>(times.nanoseconds) * kNanosecond;
    }

  private:
    MetricFamily& family() { return families_[index_]; }

    std::vector<MetricFamily>& families_;
    std::size_t index_;
};

// All families, in the order of the text.
class Page {
  public:
    Family counter(std::string name, std::string help) {
        return make(std::move(name) + "_total", std::move(help), MetricType::Counter);
    }
    Family gauge(std::string name, std::string help) {
        return make(std::move(name), std::move(help), MetricType::Gauge);
    }
    Family histogram(std::string name, std::string help) {
        return make(std::move(name), std::move(help), MetricType::Histogram);
    }
    std::string text() const { return prometheus::TextSerializer().Serialize(families_); }

  private:
    Family make(std::string name, std::string help, MetricType type) {
        families_.push_back({std::move(name), std::move(help), type, {}});
        return {families_, families_.size() - 1};
    }
    std::vector<MetricFamily> families_;
};

template <class Key>
std::int64_t value_at(const std::map<Key, std::int64_t>& gauges, const Key& key) {
    const auto found = gauges.find(key);
    return found == gauges.end() ? 0 : found->second;
}

// A server with the sums of this process and of earlier ones.
struct ServerRow {
    Labels labels;
    state::ServerStatus status;
    state::ServerTotals totals;
    std::int64_t in_flight = 0;
};
struct SiteRow {
    Labels labels;
    state::SiteTotals totals;
    std::int64_t connections = 0;
};
struct GroupRow {
    Labels labels;
    std::int64_t requests = 0;
    std::int64_t waiting = 0;
    std::int64_t retries = 0;
    double tokens = 0;
    std::int64_t usable = 0;
};
struct Rows {
    std::vector<SiteRow> sites;
    std::vector<GroupRow> groups;
    std::vector<ServerRow> servers;
    std::int64_t connections = 0;
    std::int64_t active = 0;  // attempts in progress
    ProcessGauges gauges;     // of this process and of living old ones
};

void add_servers(Rows& rows, const MetricsFacts& facts, const state::Group& group,
                 const state::GroupStatus& status) {
    for (std::size_t i = 0; i < group.servers.size(); ++i) {
        const state::GroupServer& server = group.servers[i];
        const ServerName name{group.name, server.config->text};
        ServerRow& row = rows.servers.emplace_back();
        row.labels = {{"group", name.group}, {"server", name.server}};
        row.status = status.servers[i];
        row.totals = state::server_totals(*facts.board, server.figures.index);
        const auto earlier = facts.others.servers.find(name);
        if (earlier != facts.others.servers.end()) {
            state::add(row.totals, earlier->second);
        }
        row.in_flight = value_at(rows.gauges.in_flight, name);
        rows.active += row.in_flight;
    }
}

void add_site(Rows& rows, const MetricsFacts& facts, const state::Site& site,
              const state::SiteStatus& status) {
    const std::string& name = site.config->name;
    SiteRow& row = rows.sites.emplace_back();
    row.labels = {{"site", name}};
    row.totals = state::site_totals(*facts.board, site.cell.index);
    const auto earlier = facts.others.sites.find(name);
    if (earlier != facts.others.sites.end()) {
        state::add(row.totals, earlier->second);
    }
    row.connections = value_at(rows.gauges.connections, name);
    for (std::size_t i = 0; i < site.groups.size(); ++i) {
        const state::Group& group = site.groups[i];
        GroupRow& out = rows.groups.emplace_back();
        out.labels = {{"group", group.name}};
        out.requests = value_at(rows.gauges.requests, group.name);
        out.waiting = value_at(rows.gauges.waiting, group.name);
        out.retries = value_at(rows.gauges.retries, group.name);
        out.tokens =
            static_cast<double>(facts.board->all_retry_tokens(group.cell)) / policy::kToken;
        out.usable =
            std::ranges::count_if(status.groups[i].servers, &state::ServerStatus::is_usable);
        add_servers(rows, facts, group, status.groups[i]);
    }
}

// Of the whole daemon: this process, and those before it that still serve.
Rows rows_of(const MetricsFacts& facts) {
    const state::ClusterStatus status = state::cluster_status_of(*facts.snapshot, *facts.board);
    Rows rows;
    rows.gauges = gauges_of(*facts.snapshot, *facts.board);
    add(rows.gauges, facts.others.gauges);
    for (std::size_t i = 0; i < facts.snapshot->sites.size(); ++i) {
        add_site(rows, facts, facts.snapshot->sites[i], status.sites[i]);
    }
    return rows;
}

// ---- Families

std::uint64_t earlier(const MetricsFacts& facts, const std::string& counter) {
    const auto found = facts.others.counters.find(counter);
    return found == facts.others.counters.end() ? 0 : found->second;
}

// The ring of a thousand servers takes longer than all the rest.
const std::string& digest_of(const MetricsFacts& facts) {
    RingDigest& digest = *facts.digest;
    if (digest.of != facts.snapshot->config || digest.commands != facts.commands) {
        digest = {facts.snapshot->config, facts.commands,
                  policy::ring_digest(*facts.snapshot->config, facts.commands)};
    }
    return digest.text;
}

void add_daemon(Page& page, const MetricsFacts& facts) {
    page.gauge("s3gate_build_info", "1; the label is the version.")
        .add(1, {{"version", S3GATE_VERSION}});
    page.gauge(
            "s3gate_config_info",
            "1; the label says which servers get which keys, and is equal on proxies that agree.")
        .add(1, {{"ring_digest", digest_of(facts)}});
    page.gauge("s3gate_config_generation", "Number of the configuration that serves.")
        .add(facts.generation.number);
    page.gauge("s3gate_config_loaded_timestamp_seconds", "When that configuration was loaded.")
        .add(std::chrono::duration<double>(facts.generation.loaded_at.time_since_epoch()).count());
    page.gauge("s3gate_config_old_generations",
               "Earlier configurations, or addresses of names, that requests still use.")
        .add(facts.generation.old_in_use);
    page.gauge("s3gate_config_old_users", "Requests, tunnels and idle clients that use those.")
        .add(facts.generation.old_users);
    page.gauge("s3gate_config_differs_from_disk",
               "1 where the files hold another configuration than the one that serves.")
        .add(facts.generation.differs_from_disk);
    page.gauge("s3gate_config_pending_restart_keys",
               "Keys whose values take effect at a restart only.")
        .add(facts.generation.pending_restart.size());
    page.gauge("s3gate_healthy", "1 where /healthz answers 200.").add(facts.is_healthy);
    page.gauge("s3gate_standby", "1 while the host is on standby.").add(facts.is_on_standby);
    page.gauge("s3gate_old_processes", "Processes that still serve clients after an upgrade.")
        .add(facts.old_processes);
}

void add_process(Page& page, const ProcessSelf& process) {
    const auto add = [&](const char* name, const char* help, const auto& value) {
        Family family = page.gauge(name, help);
        if (value) {
            family.add(*value);
        }
    };
    add("process_resident_memory_bytes", "Resident memory of the process.",
        process.resident_bytes());
    add("process_open_fds", "Open file descriptors.", process.open_descriptors());
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    page.gauge("process_max_fds", "Limit on open file descriptors.").add(limit.rlim_cur);
    add("process_start_time_seconds", "When the process was started.", process.started_at());
}

void add_counters(Page& page, const MetricsFacts& facts) {
    const auto help = [](const state::CounterText& text) {
        return "Number of " + std::string(text.many) + ".";
    };
    for (const state::WorkerCounterRow& row : state::kWorkerCounters) {
        page.counter(std::string("s3gate_") + row.text.name, help(row.text))
            .add(facts.board->total(row.cell) + earlier(facts, row.text.name));
    }
    for (const state::ControlCounterRow& row : state::kControlCounters) {
        const auto own = (facts.board->control().*row.cell).load(std::memory_order_relaxed);
        page.counter(std::string("s3gate_") + row.text.name, help(row.text))
            .add(own + earlier(facts, row.text.name));
    }
    Family lookups = page.counter("s3gate_lookups", "Look-ups of names of servers, by outcome.");
    for (std::size_t i = 0; i < state::kLookupOutcomes; ++i) {
        const std::string outcome(state::lookup_outcome(i));
        lookups.add(facts.board->control().lookups[i].load(std::memory_order_relaxed) +
                        earlier(facts, kLookups + outcome),
                    {{"outcome", outcome}});
    }
}

void add_connections(Page& page, const Rows& rows) {
    Family sites = page.gauge("s3gate_site_connections", "Open connections of clients.");
    for (const SiteRow& row : rows.sites) {
        sites.add(row.connections, row.labels);
    }
    Family backends = page.gauge("s3gate_backend_connections",
                                 "Connections to servers: those that a request or a tunnel uses, "
                                 "and those that are kept for reuse.");
    backends.add(rows.active, {{"state", "active"}});
    backends.add(rows.gauges.parked, {{"state", "idle"}});
}

template <class Words>
void add_list(Family& family, std::span<const std::uint64_t> cells, const Words& words,
              const Labels& labels, const char* name) {
    for (std::size_t i = 0; i < cells.size(); ++i) {
        family.add(cells[i], labels + label(name, words[i]));
    }
}

// An operation that was asked for has a series for each class: a counter whose first value is that
// of a burst of errors shows no rise.
void add_site_requests(Page& page, const Rows& rows) {
    Family requests = page.counter("s3gate_site_requests",
                                   "Requests that were answered, by S3 operation and class of the "
                                   "status that the client got.");
    for (const SiteRow& row : rows.sites) {
        for (std::size_t i = 0; i < state::kOperations.size(); ++i) {
            const auto cells = std::span(row.totals.requests)
                                   .subspan(i * policy::kStatusClasses, policy::kStatusClasses);
            if (std::ranges::any_of(cells, [](std::uint64_t cell) { return cell > 0; })) {
                add_list(requests, cells, policy::kAttemptClassWords,
                         row.labels + label("operation", state::kOperations[i]), "class");
            }
        }
    }
}

void add_site_retries(Page& page, const Rows& rows) {
    Family retries = page.counter("s3gate_site_retries",
                                  "Retries, by row of the retry table and cause of the attempt "
                                  "before.");
    for (const SiteRow& row : rows.sites) {
        for (std::size_t i = 0; i < row.totals.retries.size(); ++i) {
            if (row.totals.retries[i] > 0) {
                retries.add(
                    row.totals.retries[i],
                    row.labels + label("row", std::to_string(i / state::kRetryCauses.size())) +
                        label("cause", state::kRetryCauses[i % state::kRetryCauses.size()]));
            }
        }
    }
}

void add_sites(Page& page, const Rows& rows) {
    add_site_requests(page, rows);
    Family own = page.counter("s3gate_site_own_answers",
                              "Error answers of the proxy itself, by S3 error code.");
    for (const SiteRow& row : rows.sites) {
        add_list(own, row.totals.own_answers, state::kOwnCodes, row.labels, "code");
    }
    Family received =
        page.counter("s3gate_site_received_bytes", "Payload of requests that clients sent.");
    for (const SiteRow& row : rows.sites) {
        received.add(row.totals.bytes[0], row.labels);
    }
    Family sent = page.counter("s3gate_site_sent_bytes", "Payload of answers to clients.");
    for (const SiteRow& row : rows.sites) {
        sent.add(row.totals.bytes[1], row.labels);
    }
    Family keys = page.counter("s3gate_site_keys",
                               "Requests to servers, by kind of the source of their key.");
    for (const SiteRow& row : rows.sites) {
        add_list(keys, row.totals.keys, state::kKeySources, row.labels, "source");
    }
    add_site_retries(page, rows);
}

// Of sites that are there.
void add_buckets(Page& page, const MetricsFacts& facts, const Rows& rows) {
    Family requests = page.counter("s3gate_bucket_requests",
                                   "Requests that were answered, by bucket, where metrics.buckets "
                                   "is set.");
    Family received = page.counter("s3gate_bucket_received_bytes",
                                   "Payload of requests that clients sent, by bucket.");
    Family sent =
        page.counter("s3gate_bucket_sent_bytes", "Payload of answers to clients, by bucket.");
    if (facts.board->buckets() == nullptr) {
        return;
    }
    const auto add_bucket = [&](const Labels& labels, const state::BucketTotals& totals) {
        for (std::size_t i = 0; i < totals.requests.size(); ++i) {
            if (totals.requests[i] > 0) {
                requests.add(totals.requests[i],
                             labels + label("class", policy::kAttemptClassWords[i]));
            }
        }
        received.add(totals.bytes[0], labels);
        sent.add(totals.bytes[1], labels);
    };
    std::map<BucketName, state::BucketTotals> buckets = facts.others.buckets;
    for (const state::BucketFigures::Bucket& own : facts.board->buckets()->totals()) {
        state::add(buckets[{own.site, own.bucket}], own.totals);
    }
    for (const SiteRow& row : rows.sites) {
        const std::string& site = row.labels.front().value;
        for (const auto& [name, totals] : buckets) {
            if (name.site == site) {
                add_bucket(row.labels + label("bucket", name.bucket), totals);
            }
        }
        add_bucket(row.labels + label("bucket", "other"), row.totals.other_buckets);
    }
}

void add_groups(Page& page, const Rows& rows) {
    const auto gauge = [&](const char* name, const char* help, std::int64_t GroupRow::* value) {
        Family family = page.gauge(name, help);
        for (const GroupRow& row : rows.groups) {
            family.add(row.*value, row.labels);
        }
    };
    gauge("s3gate_group_requests_in_flight", "Requests of clients in progress.",
          &GroupRow::requests);
    gauge("s3gate_group_requests_waiting", "Of those, requests that wait for room at a server.",
          &GroupRow::waiting);
    gauge("s3gate_group_usable_servers", "Servers that requests go to.", &GroupRow::usable);
    gauge("s3gate_group_retries_in_flight", "Retries in progress that count against the budget.",
          &GroupRow::retries);
    Family tokens = page.gauge("s3gate_group_retry_tokens",
                               "Tokens for retries after a status, of this process.");
    for (const GroupRow& row : rows.groups) {
        tokens.add(row.tokens, row.labels);
    }
    Family budget = page.gauge("s3gate_group_retry_budget", "Retries that may be in progress.");
    for (const GroupRow& row : rows.groups) {
        budget.add(policy::retry_budget(row.requests), row.labels);
    }
}

// One series for each server, of what `value` gives for its row.
template <class Value>
void add_each(Family family, const Rows& rows, const Value& value) {
    for (const ServerRow& row : rows.servers) {
        family.add(value(row), row.labels);
    }
}

void add_server_state(Page& page, const Rows& rows) {
    add_each(page.gauge("s3gate_server_up", "1 where checks see an address of the server up."),
             rows, [](const ServerRow& row) {
                 return std::ranges::any_of(row.status.addresses, &state::AddressStatus::is_up);
             });
    add_each(page.gauge("s3gate_server_usable", "1 where requests go to the server."), rows,
             [](const ServerRow& row) { return row.status.is_usable(); });
    add_each(page.gauge("s3gate_server_marked", "Addresses that failed requests have marked."),
             rows, [](const ServerRow& row) {
                 return std::ranges::count_if(row.status.addresses,
                                              &state::AddressStatus::is_marked);
             });
    add_each(page.gauge("s3gate_server_out",
                        "1 where the configuration or a command takes the server out."),
             rows, [](const ServerRow& row) { return row.status.is_out(); });
    Family commands = page.gauge("s3gate_server_override",
                                 "1 while a command of an operator holds for the server.");
    for (const ServerRow& row : rows.servers) {
        if (row.status.override != state::Override::none) {
            commands.add(1, row.labels + label("state", word_of(row.status.override)));
        }
    }
    Family room = page.gauge("s3gate_server_room", "max_connections, on servers that have it.");
    Family occupied =
        page.gauge("s3gate_server_room_occupied", "Requests that hold room of max_connections.");
    for (const ServerRow& row : rows.servers) {
        if (row.status.max_connections > 0) {
            occupied.add(row.status.occupied, row.labels);
        }
    }
    for (const ServerRow& row : rows.servers) {
        if (row.status.max_connections > 0) {
            room.add(row.status.max_connections, row.labels);
        }
    }
    Family flips = page.counter("s3gate_server_flips",
                                "Changes of the checks' verdict about an address of the server.");
    for (const ServerRow& row : rows.servers) {
        add_list(flips, row.totals.downs, state::kDownReasons, row.labels + label("to", "down"),
                 "reason");
        flips.add(row.totals.ups[0], row.labels + label("to", "up") + label("reason", "passed"));
    }
    add_each(page.counter("s3gate_server_checks_failed", "Health checks that failed."), rows,
             [](const ServerRow& row) { return row.totals.checks[1]; });
    Family marks = page.counter("s3gate_server_marks", "Passive marks that were set and cleared.");
    constexpr std::array<std::string_view, 2> kChanges{"set", "cleared"};
    for (const ServerRow& row : rows.servers) {
        add_list(marks, row.totals.marks, kChanges, row.labels, "change");
    }
}

void add_alarms(Page& page, const MetricsFacts& facts) {
    Family alarms = page.gauge("s3gate_alarm",
                               "1 while a server, or a group where it is empty, is out of line.");
    for (const AlarmStatus& status : facts.alarms) {
        alarms.add(1, {label("group", status.group), label("server", status.server),
                       label("kind", status.kind)});
    }
}

void add_server_traffic(Page& page, const Rows& rows) {
    Family attempts =
        page.counter("s3gate_server_attempts", "Attempts at the server, by how they ended.");
    for (const ServerRow& row : rows.servers) {
        add_list(attempts, row.totals.attempts, policy::kAttemptClassWords, row.labels, "class");
    }
    add_each(page.gauge("s3gate_server_requests_in_flight", "Requests and tunnels in progress."),
             rows, [](const ServerRow& row) { return row.in_flight; });
    add_each(page.counter("s3gate_server_sent_bytes", "Payload of requests to the server."), rows,
             [](const ServerRow& row) { return row.totals.bytes[0]; });
    add_each(page.counter("s3gate_server_received_bytes",
                          "Payload of its answers that went to clients."),
             rows, [](const ServerRow& row) { return row.totals.bytes[1]; });
    add_each(
        page.counter("s3gate_server_reused_connections", "Attempts on a connection that was kept."),
        rows, [](const ServerRow& row) { return row.totals.reused[0]; });
    add_each(page.counter("s3gate_server_retries", "Retries because of an attempt at the server."),
             rows, [](const ServerRow& row) { return row.totals.retries[0]; });
    add_each(page.histogram("s3gate_server_connect_seconds", "Time until connected."), rows,
             [](const ServerRow& row) -> auto& { return row.totals.connect; });
    add_each(page.histogram("s3gate_server_first_byte_seconds",
                            "Time until the head of the answer was complete."),
             rows, [](const ServerRow& row) -> auto& { return row.totals.head; });
    add_each(page.histogram("s3gate_server_duration_seconds",
                            "Time until the answer ended, without tunnels."),
             rows, [](const ServerRow& row) -> auto& { return row.totals.duration; });
}

// In seconds. A worker that hangs has no late tick to tell of: its next one is overdue.
double lateness(const state::WorkerCounters& counters, std::int64_t now) {
    const auto told = static_cast<std::int64_t>(counters.tick_late_ns.load());
    const std::int64_t due = counters.tick_due_ns.load();
    const std::int64_t overdue = due == 0 ? 0 : now - due;
    return static_cast<double>(std::max(told, overdue)) * kNanosecond;
}

void add_workers(Page& page, const MetricsFacts& facts) {
    const state::Board& board = *facts.board;
    const auto each = [&](Family family, const auto& value) {
        for (std::size_t i = 0; i < board.worker_count(); ++i) {
            family.add(value(i), {{"worker", std::to_string(i)}});
        }
    };
    const auto at = [](const std::vector<std::uint64_t>& list, std::size_t i) {
        return i < list.size() ? list[i] : 0;
    };
    each(page.gauge("s3gate_worker_connections", "Open connections of clients, by worker."),
         [&](std::size_t i) { return board.counters(i).connections.load(); });
    each(page.counter("s3gate_worker_requests", "Requests that the worker served."),
         [&](std::size_t i) {
             return board.counters(i).requests.load() + at(facts.others.worker_requests, i);
         });
    each(page.counter("s3gate_worker_accepted_connections", "Connections that it accepted."),
         [&](std::size_t i) {
             return board.counters(i).accepted.load() + at(facts.others.worker_connections, i);
         });
    const std::int64_t now = base::Clock::now().time_since_epoch().count();
    each(page.gauge("s3gate_worker_tick_lateness_seconds",
                    "How late the latest tick of the last half minute came, or is now: what a "
                    "request waited for its turn."),
         [&](std::size_t i) { return lateness(board.counters(i), now); });
}

}  // namespace

std::string metrics_text(const MetricsFacts& facts) {
    const Rows rows = rows_of(facts);
    Page page;
    add_daemon(page, facts);
    add_process(page, *facts.process);
    add_counters(page, facts);
    add_connections(page, rows);
    add_sites(page, rows);
    add_buckets(page, facts, rows);
    add_groups(page, rows);
    add_server_state(page, rows);
    add_alarms(page, facts);
    add_server_traffic(page, rows);
    add_workers(page, facts);
    return page.text();
}

}  // namespace s3gate::control
