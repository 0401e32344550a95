// Which cell of the board belongs to whom, by names that survive a reordered configuration: a site
// by its name, a group by its name, a backend by (group, server text, address). Cells whose names
// are gone are given back once nobody can touch them any more. Control thread only.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "s3gate/state/board.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::state {

class SlotDirectory {
    struct Cell {
        CellKind kind{};
        CellId id;
        std::size_t names = 0;  // how often living generations name it
    };

  public:
    // `board` must outlive the directory; nobody else adds cells to it from now on.
    explicit SlotDirectory(Board& board) : board_(board) {}
    SlotDirectory(const SlotDirectory&) = delete;
    SlotDirectory& operator=(const SlotDirectory&) = delete;

    // The names in one generation: their cells are its own as long as this lives.
    class Names {
      public:
        explicit Names(SlotDirectory& directory) : directory_(directory) {}
        Names(Names&&) = default;
        Names& operator=(Names&&) = delete;
        ~Names();

        // The cell that an earlier generation had, or a clean one. Throws std::length_error, which
        // says for what, when the board has no room.
        CellId site(const std::string& name);
        CellId group(const std::string& name);
        CellId backend(const std::string& group, const std::string& server,
                       const std::string& address);
        // One for all addresses of a server.
        CellId room(const std::string& group, const std::string& server);

      private:
        SlotDirectory& directory_;
        std::vector<Cell*> cells_;
    };

    // Makes a generation of a snapshot and the names in it. Whoever holds the pointer uses it: the
    // control side, each worker, and messages that bring it. That the last of them lets go of it
    // is what gives the cells of its names back, where no other generation has them.
    std::shared_ptr<const Snapshot> publish(Snapshot snapshot, Names names);
    // Ends generations that nobody uses any more, and gives cells back. To be called now and then.
    void collect();

    // Generations that somebody uses, or did at the last collect().
    std::size_t generations() const { return generations_.size(); }

  private:
    // Where a snapshot lies, so that it ends on the control thread: its memory is much to free
    // between two requests.
    struct Shelf {
        explicit Shelf(Snapshot&& made) : snapshot(std::move(made)) {}
        const Snapshot snapshot;
        std::atomic<bool> is_unused{false};
    };
    struct Live {
        std::shared_ptr<const Shelf> shelf;
        Names names;
    };

    Cell& obtain(CellKind kind, const std::string& name, const std::string& what);
    void give_back_unnamed();

    Board& board_;
    std::array<std::map<std::string, Cell>, 3> cells_;  // by kind
    std::array<std::vector<CellId>, 3> free_;           // by kind; clean
    std::size_t unnamed_ = 0;                           // of cells_
    std::vector<std::unique_ptr<Live>> generations_;
};

}  // namespace s3gate::state
