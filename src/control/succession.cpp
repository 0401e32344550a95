#include "succession.hpp"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <map>
#include <tuple>
#include <utility>

#include "in_background.hpp"
#include "s3gate/base/text.hpp"
#include "s3gate/policy/passive_fails.hpp"
#include "status_json.hpp"
#include "timer.hpp"

namespace s3gate::control {

namespace asio = boost::asio;

namespace {

constexpr base::Duration kAnswerPoll{1};

// The clock of passive marks (net::Reactor::now_ms).
std::uint64_t now_ms() {
    return base::milliseconds_of(base::Clock::now());
}

// The clock of buckets (Worker::now_ns).
std::uint64_t now_ns() {
    return static_cast<std::uint64_t>(
        std::chrono::nanoseconds(base::Clock::now().time_since_epoch()).count());
}

std::uint64_t before(std::uint64_t now, std::uint64_t then) {
    return now > then ? now - then : 0;
}

// Since when the backend's share grows; nullopt if it has its whole share.
std::optional<base::Duration> ramp_of(const state::Group& group, const state::Peer& peer,
                                      const state::Board& board) {
    const std::uint64_t since = board.back_since(peer.slot);
    const base::Duration back_for(before(now_ms(), since));
    return since != 0 && back_for < group.backends->slow_start ? std::optional(back_for)
                                                               : std::nullopt;
}

std::vector<HeldRoom> requests_at_servers(const state::Snapshot& snapshot,
                                          const state::Board& board) {
    std::vector<HeldRoom> out;
    for (const state::Group& group : state::groups_of(snapshot)) {
        for (const state::GroupServer& server : group.servers) {
            std::int64_t requests = 0;
            for (const std::uint32_t peer : server.peers()) {
                requests += board.in_flight(group.peers[peer].slot);
            }
            if (requests > 0) {
                out.push_back(
                    {group.name, server.config->text, static_cast<std::int32_t>(requests)});
            }
        }
    }
    return out;
}

CommandOutcome failure(std::string reason) {
    return {.is_done = false, .message = "upgrade failed: " + std::move(reason)};
}

// Programs that start a daemon, wait for its end and know nothing of MAINPID (sd_notify(3)).
constexpr auto kSupervisors = std::to_array<std::string_view>(
    {"tini", "docker-init", "dumb-init", "catatonit", "runsv", "s6-supervise", "supervisord",
     "supervise", "supervise-daemo"});  // 15 letters of a name are known

// The process that systemd started (SYSTEMD_EXEC_PID of systemd.exec(5)), without a way to say
// MAINPID.
bool is_service_that_tells_nothing() {
    const char* const number = std::getenv("SYSTEMD_EXEC_PID");
    return number != nullptr && number == std::to_string(::getpid()) &&
           std::getenv("NOTIFY_SOCKET") == nullptr;
}

// The name of such a parent; empty if the parent is another one.
std::string find_supervisor() {
    std::ifstream in("/proc/" + std::to_string(::getppid()) + "/comm");
    std::string name;
    std::getline(in, name);
    return std::ranges::find(kSupervisors, name) != kSupervisors.end() ? name : std::string();
}

}  // namespace

HandOver inherited_state(const Server::Lineage& lineage) {
    if (!lineage.predecessor) {
        return {};
    }
    const auto text = lineage.predecessor->state();
    ReadHandOver read = read_hand_over(text.value_or(std::string()));
    if (!text) {
        spdlog::warn("upgrade: the state of the process before cannot be read");
    } else if (read.ignored > 0) {
        spdlog::info("upgrade: the process before (s3gate {}) told {} things that are unknown here",
                     read.state.version, read.ignored);
    }
    return std::move(read.state);
}

std::vector<HandOver::Backend> backends_of(const state::Snapshot& snapshot,
                                           const state::Board& board) {
    std::vector<HandOver::Backend> out;
    for (const state::Group& group : state::groups_of(snapshot)) {
        for (const state::Peer& peer : group.peers) {
            const policy::PassiveState passive = board.passive(peer.slot);
            const std::optional<base::Duration> back_for = ramp_of(group, peer, board);
            if (board.is_up(peer.slot) && passive == policy::PassiveState{} && !back_for) {
                continue;
            }
            const policy::PassiveFacts facts = policy::facts_of(passive);
            out.push_back({group.name, group.servers[peer.server].config->text, peer.address_text,
                           board.is_up(peer.slot), facts.is_marked, facts.fails,
                           base::Duration(before(now_ms(), facts.since_ms)), back_for});
        }
    }
    return out;
}

std::vector<HandOver::Sessions> sessions_of(const state::Snapshot& snapshot,
                                            const state::Board& board) {
    std::vector<HandOver::Sessions> out;
    std::vector<std::uint64_t> sum;
    for (const state::Group& group : state::groups_of(snapshot)) {
        sum.assign(state::SeenKeys::kWords, 0);
        for (std::size_t worker = 0; worker < board.worker_count(); ++worker) {
            if (const state::SeenKeys* const seen = board.seen_keys(worker, group.cell)) {
                seen->add_to(sum);
            }
        }
        HandOver::Sessions sessions{group.name, {}};
        for (std::size_t i = 0; i < sum.size(); ++i) {
            if (sum[i] != 0) {
                sessions.words.emplace_back(i, sum[i]);
            }
        }
        if (!sessions.words.empty()) {
            out.push_back(std::move(sessions));
        }
    }
    return out;
}

void restore(const std::vector<HandOver::Sessions>& sessions, const state::Snapshot& snapshot,
             state::Board& board) {
    for (const state::Group& group : state::groups_of(snapshot)) {
        const auto found = std::ranges::find(sessions, group.name, &HandOver::Sessions::group);
        state::SeenKeys* const seen = board.seen_keys(0, group.cell);
        if (found == sessions.end() || seen == nullptr) {
            continue;
        }
        for (const auto& [word, bits] : found->words) {
            if (word < state::SeenKeys::kWords) {
                seen->take_in(word, bits);
            }
        }
    }
}

std::vector<HandOver::Bucket> buckets_of(const state::Snapshot& snapshot,
                                         state::ClientTable& clients) {
    std::map<state::CellId, std::string> names;
    for (const state::Site& site : snapshot.sites) {
        names[site.cell] = site.config->name;
    }
    std::vector<HandOver::Bucket> out;
    for (const state::ClientTable::Bucket& bucket : clients.buckets(now_ns())) {
        const auto name = names.find(bucket.site);
        if (name != names.end()) {
            out.push_back({name->second, bucket.client, bucket.full_at});
        }
    }
    return out;
}

void restore(const std::vector<HandOver::Bucket>& buckets, const state::Snapshot& snapshot,
             state::ClientTable& clients) {
    std::map<std::string_view, state::CellId> cells;
    for (const state::Site& site : snapshot.sites) {
        cells[site.config->name] = site.cell;
    }
    for (const HandOver::Bucket& bucket : buckets) {
        const auto cell = cells.find(bucket.site);
        if (cell != cells.end()) {
            clients.fill({cell->second, bucket.client, bucket.full_at});
        }
    }
}

void restore(const std::vector<HandOver::Backend>& backends, const state::Snapshot& snapshot,
             state::Board& board) {
    using Key = std::tuple<std::string_view, std::string_view, std::string_view>;
    std::map<Key, const HandOver::Backend*> known;
    for (const HandOver::Backend& backend : backends) {
        known[{backend.group, backend.server, backend.address}] = &backend;
    }
    for (const state::Group& group : state::groups_of(snapshot)) {
        for (const state::Peer& peer : group.peers) {
            const auto found = known.find(
                {group.name, group.servers[peer.server].config->text, peer.address_text});
            if (found == known.end()) {
                continue;
            }
            const HandOver::Backend& backend = *found->second;
            const auto ago = static_cast<std::uint64_t>(backend.failing_for.count());
            board.set_up(peer.slot, backend.is_up);
            if (backend.back_for) {
                const auto back_for = static_cast<std::uint64_t>(backend.back_for->count());
                board.set_back_since(peer.slot,
                                     std::max<std::uint64_t>(before(now_ms(), back_for), 1));
            }
            board.replace_passive(
                peer.slot, {},
                policy::state_of({backend.failures, backend.is_marked, before(now_ms(), ago)}));
        }
    }
}

Succession::Succession(Parts parts, const std::vector<std::string>& processes)
    : parts_(std::move(parts)),
      snapshot_([this] { return parts_.deployment.snapshot(); }),
      old_processes_(OldProcesses::Parts{
          parts_.context, parts_.board, snapshot_, [this] { parts_.on_main(); },
          [this](bool is_on_standby) { parts_.on_standby(is_on_standby); },
          [this](const boost::json::array& overrides) { parts_.on_overrides(overrides); },
          [this] { parts_.on_reopen(); }}),
      others_(parts_.board, snapshot_) {
    if (parts_.lineage.predecessor) {
        std::vector<OldProcessReport> reports;
        for (const std::string& text : processes) {
            reports.push_back(read_report(text).value_or(OldProcessReport{}));
        }
        old_processes_.add(parts_.lineage.predecessor->take_links(), std::move(reports));
    }
}

OldProcessReport Succession::report() const {
    const state::Snapshot& snapshot = *snapshot_();
    OldProcessReport out;
    out.pid = ::getpid();
    out.version = S3GATE_VERSION;
    out.connections = parts_.board.connections();
    out.counters = counters_of(parts_.board);
    out.figures = figures_of(snapshot, parts_.board);
    add(*out.figures, old_processes_.ended_figures());
    out.has_all_figures = true;
    out.ended = old_processes_.ended();
    out.at_servers = requests_at_servers(snapshot, parts_.board);
    out.mark = mark_;
    for (const state::Group& group : state::groups_of(snapshot)) {
        out.requests += parts_.board.group_requests(group.cell);
    }
    out.room = list_room(snapshot, [&](state::CellId cell) {
        return parts_.board.occupied(cell.index) - old_processes_.held_at(cell) - others_.at(cell);
    });
    return out;
}

// A successor's successor reads from the middle of the reports, so all figures come again and
// again.
OldProcessReport Succession::next_report() {
    constexpr unsigned kWhole = 4;  // a second
    OldProcessReport out = report();
    out.has_all_figures = told_changes_++ % kWhole == 0;
    ProcessFigures all = *out.figures;
    if (!out.has_all_figures) {
        out.figures = changes(told_, all);
    }
    told_ = std::move(all);
    return out;
}

void Succession::end() {
    old_processes_.release();
    others_.set({});
}

std::string Succession::find_obstacle() const {
    if (const std::string obstacle = parts_.obstacle(); !obstacle.empty()) {
        return obstacle;
    }
    if (::getpid() == 1) {
        return "this process is number 1 of its container, which would end with it; replace the "
               "container";
    }
    if (const std::string parent = find_supervisor(); !parent.empty()) {
        return parent +
               " started this process and would take the upgrade for its end; restart it "
               "there";
    }
    if (is_service_that_tells_nothing()) {
        return "its unit takes no notifications, and systemd would take the upgrade for its end; "
               "the unit needs Type=notify";
    }
    if (old_processes_.size() >= OldProcesses::kLimit) {
        return std::to_string(old_processes_.size()) + " old processes still serve clients";
    }
    return parts_.lineage.program.empty() ? "the program of this process is not found" : "";
}

asio::awaitable<CommandOutcome> Succession::upgrade() {
    CommandOutcome outcome;
    if (const std::string obstacle = find_obstacle(); !obstacle.empty()) {
        outcome = {.is_done = false, .message = "upgrade refused: " + obstacle};
    } else {
        try {
            outcome = co_await start_successor();
        } catch (const std::exception& error) {
            outcome = failure(error.what());
        }
    }
    for (const config::Problem& warning : outcome.warnings) {
        spdlog::warn("{}", warning.to_string());
    }
    spdlog::log(outcome.is_done ? spdlog::level::info : spdlog::level::err, "{}", outcome.message);
    co_return outcome;
}

asio::awaitable<CommandOutcome> Succession::start_successor() {
    spdlog::info("upgrade: starting {}", parts_.lineage.program);
    was_on_standby_ = parts_.is_on_standby();
    was_reopened_ = false;
    overrides_then_ = parts_.overrides.version();
    SuccessorPlan with = co_await plan();
    if (const std::string obstacle = parts_.obstacle(); !obstacle.empty()) {  // meanwhile
        co_return failure(obstacle);
    }
    Successor successor(parts_.context, std::move(with));
    starting_ = &successor;
    const std::string reason = co_await successor.serves(kLongestStart);
    starting_ = nullptr;
    if (!reason.empty()) {
        co_return failure("the new process does not serve: " + reason);
    }
    hand_over_to(successor);
    CommandOutcome outcome{.message =
                               "upgraded: process " + std::to_string(successor.pid()) + " serves"};
    co_await judge_unit(outcome);
    co_await wait_for_answer();
    if (has_ended_ && !has_answer_) {
        co_return failure("the new process ended as soon as it had taken over");
    }
    co_return outcome;
}

void Succession::cancel() {
    if (starting_ != nullptr) {
        starting_->cancel("this process was told to stop");
    }
}

asio::awaitable<SuccessorPlan> Succession::plan() {
    SuccessorPlan out;
    out.program = parts_.lineage.program;
    out.arguments = parts_.lineage.arguments;
    out.sockets = parts_.deployment.copy_sockets();
    out.links = old_processes_.copy_links();
    HandOver state;
    state.version = S3GATE_VERSION;
    state.pid = ::getpid();
    state.unit = parts_.lineage.unit;
    state.names = parts_.names.addresses();
    state.is_on_standby = was_on_standby_;
    state.log_level = parts_.log_level();
    state.alarms = parts_.alarms();
    state.closing = parts_.deployment.closing_sockets();
    state.overrides = parts_.overrides.to_json();
    for (const OldProcessReport& old : old_processes_.reports()) {
        state.processes.push_back(text_of(old));
    }
    state.processes.push_back(text_of(report()));
    state.backends = backends_of(*parts_.deployment.snapshot(), parts_.board);
    state.sessions = sessions_of(*parts_.deployment.snapshot(), parts_.board);
    state.buckets = buckets_of(*parts_.deployment.snapshot(), parts_.clients);
    // A hundred thousand clients take a moment.
    const auto write = [state = std::move(state)] { return sealed_file(text_of(state)); };
    out.state = co_await in_background(write);
    co_return out;
}

// The service manager is told first: the successor may speak to it once it hears of this.
void Succession::hand_over_to(Successor& successor) {
    const bool is_on_standby = parts_.is_on_standby();
    parts_.on_handed_over(successor.pid(), successor.unused());
    // Requests that wait here must not take the room of the old processes for free.
    others_.set(
        list_room(*snapshot_(), [&](state::CellId cell) { return old_processes_.held_at(cell); }));
    old_processes_.release();
    std::string first;
    const auto say = [&](std::string_view line) { (first += line) += '\n'; };
    if (is_on_standby != was_on_standby_) {
        say(is_on_standby ? link_command::kStandby : link_command::kActive);
    }
    if (parts_.overrides.version() != overrides_then_) {
        say(std::string(link_command::kOverrides) +
            boost::json::serialize(parts_.overrides.to_json()));
    }
    if (was_reopened_) {
        say(link_command::kReopenLogs);
    }
    say(link_command::kYouAreMain);
    link_ = std::make_unique<SuccessorLink>(
        parts_.context, successor.take_link(), std::move(first), [this] { return next_report(); },
        [this](std::string_view command) { take_command(command); },
        [this] {
            has_ended_ = true;
            parts_.on_successor_end();
        });
}

void Succession::take_command(std::string_view command) {
    if (command == link_command::kIAmMain) {
        has_answer_ = true;
    } else if (command.starts_with(link_command::kRoom)) {
        take_room(command.substr(link_command::kRoom.size()));
    } else if (command.starts_with(link_command::kMark)) {
        if (const auto mark = base::parse_decimal(command.substr(link_command::kMark.size()))) {
            mark_ = static_cast<std::int64_t>(*mark);
        }
    } else {
        parts_.on_command(command);
    }
}

void Succession::take_room(std::string_view list) {
    try {
        others_.set(held_room_of(boost::json::parse(list)));
    } catch (const std::exception&) {
        // Another version says something else.
    }
}

// Whoever is told of the upgrade may command the new process at once, and connects to it alone.
asio::awaitable<void> Succession::wait_for_answer() {
    Timer pause(parts_.context);
    const base::TimePoint end = base::Clock::now() + kLongestAnswer;
    const auto is_over = [this] { return has_answer_ && parts_.deployment.has_handed_over(); };
    while (!is_over() && !has_ended_ && base::Clock::now() < end) {
        pause.expires_after(kAnswerPoll);
        co_await pause.async_wait(asio::use_awaitable);
    }
}

asio::awaitable<void> Succession::judge_unit(CommandOutcome& outcome) const {
    if (parts_.lineage.read_unit == nullptr || parts_.lineage.unit.empty()) {
        co_return;
    }
    // A pointer to a function: nothing to destroy twice (PR 99576).
    const std::string unit = co_await in_background(parts_.lineage.read_unit);
    if (unit != parts_.lineage.unit) {
        outcome.warnings.push_back(
            {{},
             {},
             "the unit of the service is another one than at its start; the user, the "
             "limits and the sandbox change with `systemctl restart`"});
    }
}

}  // namespace s3gate::control
