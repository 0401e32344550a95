#include "s3gate/state/slot_directory.hpp"

#include <stdexcept>
#include <utility>

namespace s3gate::state {
namespace {

// A configured text holds no NUL, so two different triples never give the same text.
std::string joined(const std::string& a, const std::string& b, const std::string& c) {
    return a + '\0' + b + '\0' + c;
}

}  // namespace

SlotDirectory::Names::~Names() {
    for (Cell* const cell : cells_) {
        --cell->names;
        directory_.unnamed_ += cell->names == 0 ? 1 : 0;
    }
}

CellId SlotDirectory::Names::site(const std::string& name) {
    return cells_.emplace_back(&directory_.obtain(CellKind::site, name, "site " + name))->id;
}

CellId SlotDirectory::Names::group(const std::string& name, bool has_keys) {
    const CellId cell =
        cells_.emplace_back(&directory_.obtain(CellKind::group, name, "group " + name))->id;
    if (has_keys) {
        directory_.board_.keep_seen_keys(cell.index);
    }
    return cell;
}

CellId SlotDirectory::Names::backend(const std::string& group, const std::string& server,
                                     const std::string& address) {
    return cells_
        .emplace_back(
            &directory_.obtain(CellKind::backend, joined(group, server, address),
                               "server " + server + " (" + address + ") of group " + group))
        ->id;
}

CellId SlotDirectory::Names::server(const std::string& group, const std::string& server) {
    return cells_
        .emplace_back(&directory_.obtain(CellKind::server, joined(group, server, {}),
                                         "server " + server + " of group " + group))
        ->id;
}

CellId SlotDirectory::Names::room(const std::string& group, const std::string& server) {
    return cells_
        .emplace_back(
            &directory_.obtain(CellKind::backend, joined(group, server, {}),
                               "max_connections of server " + server + " of group " + group))
        ->id;
}

SlotDirectory::Cell& SlotDirectory::obtain(CellKind kind, const std::string& name,
                                           const std::string& what) {
    auto& cells = cells_[static_cast<std::size_t>(kind)];
    auto& free = free_[static_cast<std::size_t>(kind)];
    const auto known = cells.find(name);
    if (known != cells.end()) {
        unnamed_ -= known->second.names++ == 0 ? 1 : 0;
        return known->second;
    }
    CellId id;
    if (!free.empty()) {
        id = free.back();
        free.pop_back();
    } else if (const auto added = board_.add_cell(kind)) {
        id = *added;
    } else {
        throw std::length_error("no room on the board for " + what);
    }
    return cells.emplace(name, Cell{kind, id, 1}).first->second;
}

std::shared_ptr<const Snapshot> SlotDirectory::publish(Snapshot snapshot, Names names) {
    const auto shelf = std::make_shared<Shelf>(std::move(snapshot));
    generations_.push_back(std::make_unique<Live>(Live{shelf, std::move(names)}));
    return {&shelf->snapshot, [shelf](const Snapshot*) {
                // Release: the last user's writes to the board come first.
                shelf->is_unused.store(true, std::memory_order_release);
            }};
}

void SlotDirectory::collect() {
    freed_generations_ += std::erase_if(generations_, [](const auto& generation) {
        return generation->shelf->is_unused.load(std::memory_order_acquire);
    });
    if (unnamed_ > 0) {
        give_back_unnamed();
    }
}

// A connection counts at its site without using a generation. The site's cell must stay until the
// connection ends.
void SlotDirectory::give_back_unnamed() {
    for (std::size_t kind = 0; kind < cells_.size(); ++kind) {
        std::erase_if(cells_[kind], [&](const auto& item) {
            const Cell& cell = item.second;
            if (cell.names > 0 || !board_.is_at_rest(cell.kind, cell.id.index)) {
                return false;
            }
            free_[kind].push_back(board_.renew_cell(cell.kind, cell.id.index));
            --unnamed_;
            return true;
        });
    }
}

}  // namespace s3gate::state
