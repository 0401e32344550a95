#include "old_processes.hpp"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "s3gate/control/findings_json.hpp"
#include "timer.hpp"

namespace s3gate::control {

namespace asio = boost::asio;
namespace json = boost::json;
using asio::local::stream_protocol;

namespace {

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
// More than 262,144 servers need.
constexpr std::size_t kLongestReport = std::size_t{128} * 1024 * 1024;
// Between two looks for a report that has a mark.
constexpr base::Duration kMarkPoll{20};

std::int64_t number_at(const json::value& object, std::string_view key) {
    return object.at(key).to_number<std::int64_t>();
}

OldProcessReport report_of(const json::value& object) {
    OldProcessReport out;
    out.pid = static_cast<pid_t>(number_at(object, "pid"));
    out.version = object.at("version").as_string();
    out.connections = number_at(object, "connections");
    out.requests = number_at(object, "requests");
    if (const json::value* const counters = object.as_object().if_contains("counters")) {
        out.counters = counters->as_object();
    }
    out.room = held_room_of(object.at("room"));
    if (const json::value* const figures = object.as_object().if_contains("figures")) {
        out.figures = process_figures_of(*figures);
        out.has_all_figures = object.at("has_all_figures").as_bool();
        for (const json::value& ended : object.at("ended").as_array()) {
            out.ended.push_back(ended.to_number<pid_t>());
        }
    }
    if (const json::value* const servers = object.as_object().if_contains("servers")) {
        out.at_servers = held_room_of(*servers);
    }
    if (const json::value* const mark = object.as_object().if_contains("mark")) {
        out.mark = mark->to_number<std::int64_t>();
    }
    return out;
}

// Each is larger than all before, also those of an earlier process: they share a clock.
std::int64_t new_mark() {
    return std::chrono::nanoseconds(base::Clock::now().time_since_epoch()).count();
}

// The queue of the link takes many commands of a few letters; a process that reads none of them for
// that long is stuck, and misses this one.
void tell(stream_protocol::socket& link, std::string_view command) {
    const std::string line = std::string(command) + "\n";
    ::send(link.native_handle(), line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace

std::string text_of(const OldProcessReport& report) {
    json::object out;
    out["pid"] = report.pid;
    out["version"] = json_text(report.version);
    out["connections"] = report.connections;
    out["requests"] = report.requests;
    out["room"] = json_of(report.room);
    out["counters"] = report.counters;
    if (report.figures) {
        out["figures"] = json_of(*report.figures);
        out["has_all_figures"] = report.has_all_figures;
        json::array& ended = out["ended"].emplace_array();
        for (const pid_t pid : report.ended) {
            ended.emplace_back(pid);
        }
    }
    if (report.at_servers) {
        out["servers"] = json_of(*report.at_servers);
    }
    if (report.mark != 0) {
        out["mark"] = report.mark;
    }
    return json::serialize(out);
}

std::int64_t OldProcessReport::requests_at(const ServerKey& server) const {
    if (!at_servers) {
        return requests;
    }
    std::int64_t out = 0;
    for (const HeldRoom& held : *at_servers) {
        out += held.group == server.group && held.server == server.server ? held.requests : 0;
    }
    return out;
}

std::optional<OldProcessReport> read_report(std::string_view text) {
    boost::system::error_code error;
    const json::value object = json::parse(text, error);
    if (error) {
        return std::nullopt;
    }
    try {
        return report_of(object);
    } catch (const std::exception&) {
        return std::nullopt;
    }
}

struct OldProcesses::Impl : std::enable_shared_from_this<OldProcesses::Impl> {
    explicit Impl(Parts parts_) : parts(std::move(parts_)) {}

    struct Process {
        Process(const Parts& parts, int link)
            : socket(parts.context, stream_protocol(), link), room(parts.board, parts.snapshot) {}
        stream_protocol::socket socket;
        OldProcessReport report;
        RoomElsewhere room;
        // It has told this process all its figures; or its version has none.
        bool has_told_figures = false;
        FigureNames forgotten;                      // it still counts and tells these
        std::optional<std::vector<HeldRoom>> told;  // kRoom, as this process has sent it
    };
    using Pointer = std::shared_ptr<Process>;

    void begin_to_follow(const Pointer& process);
    static asio::awaitable<void> follow(std::shared_ptr<Impl> self, Pointer process);
    void take(Process& process, std::string_view line);
    static void take_report(Process& process, OldProcessReport report);
    bool is_included(pid_t pid) const;
    void take_overrides(std::string_view list) const;
    void become_main();
    void hurry_oldest();
    void tell_room(Process& process) const;
    void end(const Pointer& process);

    Parts parts;
    std::vector<Pointer> processes;  // the oldest first
    // The last reports of those that have ended while this process served.
    std::vector<OldProcessReport> ended;
    Pointer before;  // one of them, until it has said who is main
    bool is_closed = false;
};

void OldProcesses::Impl::begin_to_follow(const Pointer& process) {
    asio::co_spawn(parts.context, follow(shared_from_this(), process), asio::detached);
}

asio::awaitable<void> OldProcesses::Impl::follow(std::shared_ptr<Impl> self, Pointer process) {
    std::string text;
    for (;;) {
        const auto [error, size] = co_await asio::async_read_until(
            process->socket, asio::dynamic_buffer(text, kLongestReport), '\n', kTuple);
        if (self->is_closed || !process->socket.is_open()) {
            co_return;
        }
        if (error) {
            self->end(process);
            co_return;
        }
        self->take(*process, std::string_view(text).substr(0, size - 1));
        text.erase(0, size);
    }
}

void OldProcesses::Impl::take(Process& process, std::string_view line) {
    if (line == link_command::kYouAreMain) {
        tell(process.socket, link_command::kIAmMain);
        become_main();
    } else if (line == link_command::kStandby || line == link_command::kActive) {
        parts.on_standby(line == link_command::kStandby);
    } else if (line == link_command::kReopenLogs) {
        parts.on_reopen();
    } else if (line.starts_with(link_command::kOverrides)) {
        take_overrides(line.substr(link_command::kOverrides.size()));
    } else if (auto report = read_report(line)) {
        take_report(process, std::move(*report));
        process.room.set(process.report.room);
        tell_room(process);
    }
}

void OldProcesses::Impl::take_report(Process& process, OldProcessReport report) {
    process.has_told_figures =
        process.has_told_figures || report.has_all_figures || !report.figures;
    if (report.figures && !report.has_all_figures && process.report.figures) {
        ProcessFigures all = std::move(*process.report.figures);
        take_changes(all, std::move(*report.figures));
        report.figures = std::move(all);
    }
    process.report = std::move(report);
    if (process.report.figures) {
        erase(*process.report.figures, process.forgotten);
    }
}

// True if another process speaks for that one: it ended there before this process was told.
bool OldProcesses::Impl::is_included(pid_t pid) const {
    const auto speaks = [pid](const OldProcessReport& report) {
        return std::ranges::find(report.ended, pid) != report.ended.end();
    };
    return std::ranges::any_of(ended, speaks) ||
           std::ranges::any_of(processes, [&](const Pointer& p) { return speaks(p->report); });
}

void OldProcesses::Impl::take_overrides(std::string_view list) const {
    boost::system::error_code error;
    const json::value overrides = json::parse(list, error);
    if (!error && overrides.is_array()) {  // else another version says something else
        parts.on_overrides(overrides.get_array());
    }
}

// What it does not know: the room of this process and of the other old ones. So that no line is cut
// in two, a list that is longer than a packet of the link ends early.
void OldProcesses::Impl::tell_room(Process& process) const {
    constexpr std::size_t kMostServers = 100;
    std::vector<HeldRoom> room = list_room(*parts.snapshot(), [&](state::CellId cell) {
        return parts.board.occupied(cell.index) - process.room.at(cell);
    });
    room.resize(std::min(room.size(), kMostServers));
    if (room != process.told) {
        tell(process.socket, std::string(link_command::kRoom) + json::serialize(json_of(room)));
        process.told = std::move(room);
    }
}

// From now on the older processes report to this one.
void OldProcesses::Impl::become_main() {
    if (!before) {
        return;
    }
    const Pointer last = std::exchange(before, nullptr);
    for (const Pointer& process : processes) {
        if (process != last) {
            begin_to_follow(process);
        }
    }
    hurry_oldest();
    parts.on_main();
}

void OldProcesses::Impl::hurry_oldest() {
    const std::size_t surplus = processes.size() - std::min(processes.size(), kMost);
    if (surplus > 0) {
        spdlog::warn("{} old processes still serve clients; the oldest end their tunnels",
                     processes.size());
    }
    for (std::size_t i = 0; i < surplus; ++i) {
        tell(processes[i]->socket, link_command::kHurry);
    }
}

void OldProcesses::Impl::end(const Pointer& process) {
    process->room.set({});
    if (process == before) {
        become_main();  // it crashed: nobody else is there
    }
    std::erase(processes, process);
    process->report.room.clear();
    if (process->report.figures) {
        process->report.figures->gauges = {};
        ended.push_back(process->report);
    }
    spdlog::info("the old process{} has ended",
                 process->report.pid > 0 ? " " + std::to_string(process->report.pid) : "");
}

OldProcesses::OldProcesses(Parts parts) : impl_(std::make_shared<Impl>(std::move(parts))) {}

OldProcesses::~OldProcesses() {
    impl_->is_closed = true;
    release();
}

void OldProcesses::add(std::vector<base::Descriptor> links, std::vector<OldProcessReport> reports) {
    reports.resize(links.size());
    for (std::size_t i = 0; i < links.size(); ++i) {
        const int flags = ::fcntl(links[i].get(), F_GETFL);
        if (flags < 0 || ::fcntl(links[i].get(), F_SETFL, flags | O_NONBLOCK) != 0) {
            continue;
        }
        const auto process = std::make_shared<Impl::Process>(impl_->parts, links[i].release());
        process->report = std::move(reports[i]);
        process->room.set(process->report.room);
        impl_->processes.push_back(process);
    }
    if (!impl_->processes.empty()) {
        impl_->before = impl_->processes.back();
        impl_->begin_to_follow(impl_->before);
    }
}

void OldProcesses::release() {
    for (const Impl::Pointer& process : impl_->processes) {
        process->room.set({});
        process->socket.close();
    }
    impl_->processes.clear();
    impl_->before = nullptr;
}

bool OldProcesses::empty() const {
    return impl_->processes.empty();
}

void OldProcesses::tell_all(std::string_view command) {
    for (const Impl::Pointer& process : impl_->processes) {
        tell(process->socket, command);
    }
}

asio::awaitable<bool> OldProcesses::await_reports(base::Duration limit) const {
    const std::shared_ptr<Impl> impl = impl_;
    const std::int64_t mark = new_mark();
    const std::string line = std::string(link_command::kMark) + std::to_string(mark);
    std::ranges::for_each(impl->processes, [&](const auto& one) { tell(one->socket, line); });
    const auto has_reported = [mark](const auto& one) { return one->report.mark >= mark; };
    const base::TimePoint end = base::Clock::now() + limit;
    Timer pause(impl->parts.context);
    while (!std::ranges::all_of(impl->processes, has_reported)) {
        if (base::Clock::now() >= end) {
            co_return false;
        }
        pause.expires_after(kMarkPoll);
        co_await pause.async_wait(kTuple);
    }
    co_return true;
}

std::size_t OldProcesses::size() const {
    return impl_->processes.size();
}

std::int32_t OldProcesses::held_at(state::CellId cell) const {
    std::int32_t out = 0;
    for (const Impl::Pointer& process : impl_->processes) {
        out += process->room.at(cell);
    }
    return out;
}

std::vector<OldProcessReport> OldProcesses::reports() const {
    std::vector<OldProcessReport> out;
    std::ranges::transform(impl_->processes, std::back_inserter(out),
                           [](const Impl::Pointer& process) { return process->report; });
    return out;
}

ProcessFigures OldProcesses::ended_figures() const {
    ProcessFigures out;
    for (const OldProcessReport& report : impl_->ended) {
        if (!impl_->is_included(report.pid)) {
            control::add(out, *report.figures);
        }
    }
    return out;
}

ProcessFigures OldProcesses::figures() const {
    ProcessFigures out = ended_figures();
    for (const Impl::Pointer& process : impl_->processes) {
        if (process->report.figures && !impl_->is_included(process->report.pid)) {
            control::add(out, *process->report.figures);
        }
    }
    return out;
}

void OldProcesses::forget_absent(const state::Snapshot& snapshot) {
    for (OldProcessReport& report : impl_->ended) {
        erase(*report.figures, names_absent(*report.figures, snapshot));
    }
    for (const Impl::Pointer& process : impl_->processes) {
        if (process->report.figures) {
            FigureNames absent = names_absent(*process->report.figures, snapshot);
            process->forgotten.servers.merge(absent.servers);
            process->forgotten.sites.merge(absent.sites);
            erase(*process->report.figures, process->forgotten);
        }
    }
}

std::vector<pid_t> OldProcesses::ended() const {
    std::vector<pid_t> out;
    std::ranges::transform(impl_->ended, std::back_inserter(out), &OldProcessReport::pid);
    return out;
}

bool OldProcesses::have_told_figures() const {
    return std::ranges::all_of(
        impl_->processes, [](const Impl::Pointer& process) { return process->has_told_figures; });
}

std::vector<base::Descriptor> OldProcesses::copy_links() const {
    std::vector<base::Descriptor> out;
    for (const Impl::Pointer& process : impl_->processes) {
        out.emplace_back(::fcntl(process->socket.native_handle(), F_DUPFD_CLOEXEC, 0));
    }
    return out;
}

}  // namespace s3gate::control
