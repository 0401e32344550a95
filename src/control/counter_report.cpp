#include "counter_report.hpp"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

namespace s3gate::control {
namespace {

constexpr base::Duration kEvery = std::chrono::seconds{60};
constexpr std::size_t kWorkerRows = std::size(state::kWorkerCounters);
constexpr std::size_t kRows = kWorkerRows + std::size(state::kControlCounters);

const state::CounterText& text_of(std::size_t row) {
    return row < kWorkerRows ? state::kWorkerCounters[row].text
                             : state::kControlCounters[row - kWorkerRows].text;
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

std::optional<CounterReport::Line> CounterReport::tick(base::TimePoint now) {
    if (last_line_ && now - *last_line_ < kEvery) {
        return std::nullopt;
    }
    return rest(now);
}

std::optional<CounterReport::Line> CounterReport::rest(base::TimePoint now) {
    std::vector<std::uint64_t> fresh = values();
    Line line;
    std::string counts;
    for (std::size_t row = 0; row < kRows; ++row) {
        const state::CounterText& text = text_of(row);
        if (text.level != state::CounterLevel::plain && fresh[row] != reported_[row]) {
            append_count(counts, fresh[row] - reported_[row], text);
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
