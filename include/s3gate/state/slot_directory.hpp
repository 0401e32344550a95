// Maps names to cells of the board. The names survive a reordered configuration: a site's name, a
// group's name, (group, server text) of a server, (group, server text, address) of a backend. A
// cell whose name is gone becomes free when no thread can use it any more. Control thread only.
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
        std::size_t names = 0;  // number of living generations that name it
    };

  public:
    // `board` must outlive the directory; from now on only the directory adds cells to it.
    explicit SlotDirectory(Board& board) : board_(board) {}
    SlotDirectory(const SlotDirectory&) = delete;
    SlotDirectory& operator=(const SlotDirectory&) = delete;

    // The names in one generation. Their cells stay reserved as long as this object lives.
    class Names {
      public:
        explicit Names(SlotDirectory& directory) : directory_(directory) {}
        Names(Names&&) = default;
        Names& operator=(Names&&) = delete;
        ~Names();

        // Return the cell that an earlier generation had, or a clean one. Throw std::length_error,
        // which names the cell's owner, when the board has no room.
        CellId site(const std::string& name);
        // `has_keys`: workers can note the keys of its requests.
        CellId group(const std::string& name, bool has_keys = false);
        CellId backend(const std::string& group, const std::string& server,
                       const std::string& address);
        // The cells that all addresses of a server share: for its figures, and for its room.
        CellId server(const std::string& group, const std::string& server);
        CellId room(const std::string& group, const std::string& server);

      private:
        SlotDirectory& directory_;
        std::vector<Cell*> cells_;
    };

    // Makes a generation of a snapshot and its names. The control side, each worker and the
    // messages to workers hold the pointer. When the last of them releases it, the cells that no
    // other generation names become free.
    std::shared_ptr<const Snapshot> publish(Snapshot snapshot, Names names);
    // Frees generations without users, and their cells. Call it regularly.
    void collect();

    // Generations that had a user at the last collect().
    std::size_t generations() const { return generations_.size(); }
    // All generations that collect() has freed.
    std::uint64_t freed_generations() const { return freed_generations_; }

  private:
    // Keeps a snapshot for the control thread to free: a worker must not spend the time between two
    // requests.
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
    std::array<std::map<std::string, Cell>, kCellKinds> cells_;  // by kind
    std::array<std::vector<CellId>, kCellKinds> free_;           // by kind; clean
    std::size_t unnamed_ = 0;                                    // of cells_
    std::vector<std::unique_ptr<Live>> generations_;
    std::uint64_t freed_generations_ = 0;
};

}  // namespace s3gate::state
