#include "counter_report.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <iterator>
#include <utility>

#include "s3gate/state/figures.hpp"

namespace s3gate::control {
namespace {

constexpr base::Duration kEvery = std::chrono::seconds{60};
constexpr std::size_t kWorkerRows = std::size(state::kWorkerCounters);
constexpr std::size_t kRows = kWorkerRows + std::size(state::kControlCounters);

const state::CounterText& text_of(std::size_t row) {
    return row < kWorkerRows ? state::kWorkerCounters[row].text
                             : state::kControlCounters[row - kWorkerRows].text;
}

// Most servers that are named for a fault.
constexpr std::size_t kMostNames = 4;

// " (minio3 11, minio1 1)", the worst first; empty where no server is known.
std::string names_of(const std::map<std::string, std::uint64_t>& counts) {
    std::vector<std::pair<std::string, std::uint64_t>> servers(counts.begin(), counts.end());
    std::ranges::stable_sort(servers, std::greater{},
                             &std::pair<std::string, std::uint64_t>::second);
    std::string out;
    std::uint64_t rest = 0;
    for (std::size_t i = 0; i < servers.size(); ++i) {
        if (i < kMostNames) {
            out +=
                (i == 0 ? " (" : ", ") + servers[i].first + " " + std::to_string(servers[i].second);
        } else {
            rest += servers[i].second;
        }
    }
    if (rest > 0) {
        out += ", others " + std::to_string(rest);
    }
    return out.empty() ? out : out + ")";
}

// The names for a row of the table; empty where its counter is none of a server's fault.
std::string names_at(std::size_t row, const std::array<std::string, state::kServerFaults>& names) {
    if (row >= kWorkerRows) {
        return {};
    }
    const auto* const found =
        std::ranges::find(state::kServerFaultCounters, state::kWorkerCounters[row].cell);
    return found == std::end(state::kServerFaultCounters)
               ? std::string()
               : names[static_cast<std::size_t>(found - std::begin(state::kServerFaultCounters))];
}

void append_count(std::string& out, std::uint64_t count, const state::CounterText& text) {
    out += (out.empty() ? "" : ", ") + std::to_string(count) + ' ' +
           (count == 1 ? text.one : text.many);
}

}  // namespace

CounterReport::CounterReport(const state::Board& board, base::TimePoint now)
    : board_(board), reported_(values()), quiet_until_(now) {}

std::vector<std::uint64_t> CounterReport::values() const {
    std::vector<std::uint64_t> out;
    out.reserve(kRows);
    for (const state::WorkerCounterRow& row : state::kWorkerCounters) {
        out.push_back(board_.total(row.cell));
    }
    for (const state::ControlCounterRow& row : state::kControlCounters) {
        out.push_back((board_.control().*row.cell).load(std::memory_order_relaxed));
    }
    return out;
}

bool CounterReport::has_news(const std::vector<std::uint64_t>& fresh) const {
    for (std::size_t row = 0; row < kRows; ++row) {
        if (text_of(row).level != state::CounterLevel::plain && fresh[row] != reported_[row]) {
            return true;
        }
    }
    return false;
}

CounterReport::Names CounterReport::names_since_last(const state::Snapshot& snapshot) {
    std::map<state::CellId, Faults> present;
    std::array<std::map<std::string, std::uint64_t>, state::kServerFaults> counts;
    for (const state::Group& group : state::groups_of(snapshot)) {
        for (const state::GroupServer& server : group.servers) {
            if (present.contains(server.figures)) {
                continue;
            }
            const Faults fresh = state::server_totals(board_, server.figures.index).faults;
            const Faults& before = reported_faults_[server.figures];
            for (std::size_t i = 0; i < fresh.size(); ++i) {
                if (fresh[i] > before[i]) {
                    counts[i][server.config->text] += fresh[i] - before[i];
                }
            }
            present.emplace(server.figures, fresh);
        }
    }
    reported_faults_ = std::move(present);
    Names names;
    std::ranges::transform(counts, names.begin(), names_of);
    return names;
}

std::optional<CounterReport::Line> CounterReport::tick(base::TimePoint now,
                                                       const state::Snapshot& snapshot) {
    if (last_line_ && now - *last_line_ < kEvery) {
        return std::nullopt;
    }
    return rest(now, snapshot);
}

std::optional<CounterReport::Line> CounterReport::rest(base::TimePoint now,
                                                       const state::Snapshot& snapshot) {
    std::vector<std::uint64_t> fresh = values();
    const Names names = has_news(fresh) ? names_since_last(snapshot) : Names();
    Line line;
    std::string counts;
    for (std::size_t row = 0; row < kRows; ++row) {
        const state::CounterText& text = text_of(row);
        if (text.level != state::CounterLevel::plain && fresh[row] != reported_[row]) {
            append_count(counts, fresh[row] - reported_[row], text);
            counts += names_at(row, names);
            line.level = std::max(line.level, text.level);
        }
    }
    const base::Duration time =
        std::chrono::duration_cast<base::Duration>(now - std::exchange(quiet_until_, now));
    if (counts.empty()) {
        return std::nullopt;
    }
    reported_ = std::move(fresh);
    last_line_ = now;
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(time).count();
    line.text =
        "in the last " + std::to_string(std::max<std::int64_t>(seconds, 1)) + " s: " + counts;
    return line;
}

std::string CounterReport::totals() const {
    const std::vector<std::uint64_t> all = values();
    std::uint64_t requests = 0;
    std::uint64_t connections = 0;
    std::string counts;
    for (std::size_t row = 0; row < kRows; ++row) {
        if (row < kWorkerRows &&
            state::kWorkerCounters[row].cell == &state::WorkerCounterCells::requests) {
            requests = all[row];
        } else if (row < kWorkerRows &&
                   state::kWorkerCounters[row].cell == &state::WorkerCounterCells::accepted) {
            connections = all[row];
        } else if (all[row] != 0) {
            append_count(counts, all[row], text_of(row));
        }
    }
    return "served " + std::to_string(requests) +
           (requests == 1 ? " request on " : " requests on ") + std::to_string(connections) +
           (connections == 1 ? " connection" : " connections") +
           (counts.empty() ? "" : "; in all: " + counts);
}

}  // namespace s3gate::control
