#include "s3gate/state/figures.hpp"

#include <array>
#include <cstddef>
#include <span>

#include "s3gate/state/board.hpp"

namespace s3gate::state {
namespace {

std::uint64_t value_of(const Counter& cell) {
    return cell.load(std::memory_order_relaxed);
}
std::uint64_t value_of(std::uint64_t number) {
    return number;
}

constexpr std::size_t kMostLists = 16;

// Adds list by list: both visit theirs in the same order.
template <template <class> class Figures, class Cell>
void add_to(Figures<std::uint64_t>& sum, const Figures<Cell>& more) {
    std::array<std::span<std::uint64_t>, kMostLists> sums;
    std::size_t lists = 0;
    Figures<std::uint64_t>::visit(
        sum, [&](auto, std::span<std::uint64_t> cells, auto) { sums[lists++] = cells; });
    std::size_t list = 0;
    Figures<Cell>::visit(more, [&](auto, std::span<const Cell> cells, auto) {
        const std::span<std::uint64_t> into = sums[list++];
        for (std::size_t i = 0; i < cells.size(); ++i) {
            into[i] += value_of(cells[i]);
        }
    });
}

}  // namespace

std::string word_of_request(std::size_t place) {
    return std::string(kOperations[place / policy::kStatusClasses]) + ' ' +
           std::string(policy::kAttemptClassWords[place % policy::kStatusClasses]);
}

std::string word_of_fault(std::size_t place) {
    const auto* const row =
        std::ranges::find(kWorkerCounters, kServerFaultCounters[place], &WorkerCounterRow::cell);
    return row->text.name;
}

std::string word_of_retry(std::size_t place) {
    return std::to_string(place / kRetryCauses.size()) + ' ' +
           std::string(kRetryCauses[place % kRetryCauses.size()]);
}

void add(ServerTotals& sum, const ServerTotals& more) {
    add_to(sum, more);
}

void add(SiteTotals& sum, const SiteTotals& more) {
    add_to(sum, more);
}

ServerTotals server_totals(const Board& board, std::uint32_t cell) {
    ServerTotals sum;
    add_to(sum, board.check_figures(cell));
    for (std::size_t worker = 0; worker < board.worker_count(); ++worker) {
        add_to(sum, board.server_figures(worker, cell));
    }
    return sum;
}

SiteTotals site_totals(const Board& board, std::uint32_t cell) {
    SiteTotals sum;
    for (std::size_t worker = 0; worker < board.worker_count(); ++worker) {
        add_to(sum, board.site_figures(worker, cell));
    }
    return sum;
}

}  // namespace s3gate::state
