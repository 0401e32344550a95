// nginx's `hash … consistent`, bit for bit: 160 points per weight on the server's configured text.
// Built once from the configured set; health never changes it, look-ups walk past what is unusable.
// Immutable, read by any thread. Copies share their points: a generation with the same servers
// takes over the ring of the one before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "s3gate/config/model.hpp"

namespace s3gate::policy {

struct RingServer {
    std::string_view text;  // first argument of nginx's `server`, verbatim
    unsigned weight = 1;
};

class KetamaRing {
  public:
    struct Point {
        std::uint32_t hash;
        std::uint32_t server;  // index into the span given to the constructor
    };

    KetamaRing() : KetamaRing(std::span<const RingServer>()) {}
    explicit KetamaRing(std::span<const RingServer> servers);

    // Index of the first point whose hash is at least `hash`; wraps to 0. The ring must not be
    // empty. Touches about two cache lines, whatever the number of points.
    std::size_t lookup(std::uint32_t hash) const;
    const std::vector<Point>& points() const { return table_->points; }
    bool empty() const { return table_->points.empty(); }

  private:
    struct Table {
        explicit Table(std::span<const RingServer> servers);
        void index_points();

        std::vector<Point> points;
        // The circle in equal arcs, a power of two, one to two points in each on average: where the
        // points of an arc begin, and at the end how many points there are. CRC32 spreads them
        // evenly, so a search within an arc is short.
        std::vector<std::uint32_t> arcs;
        unsigned arc_bits = 0;  // bits of a hash that lie within an arc
    };

    std::shared_ptr<const Table> table_;
};

// The ring of a group's servers. It holds every configured one, also those that are down, drained
// or unresolved. Look-ups skip those, so their keys return to them when they come back (as nginx
// does).
KetamaRing ring_of(std::span<const config::Server> servers);

// Position of one request on the ring; kept over all attempts of the request (as nginx does).
struct RingWalk {
    std::size_t index = 0;
    unsigned tries = 0;
};

// After this many unusable points in one request nginx switches to round robin
// (ngx_http_upstream_get_chash_peer: `if (++hp->tries > 20)`).
inline constexpr unsigned kMaxUnusablePoints = 20;

RingWalk start_walk(const KetamaRing& ring, std::string_view key);
// The same for a key whose CRC32 is known.
RingWalk start_walk(const KetamaRing& ring, std::uint32_t hash);

// The next server for which `is_usable(server index)` is true. nullopt after 21 unusable points in
// this request; the caller then uses round robin over all usable servers.
template <class IsUsable>
std::optional<std::uint32_t> walk_to_usable(const KetamaRing& ring, RingWalk& walk,
                                            const IsUsable& is_usable) {
    while (walk.tries <= kMaxUnusablePoints) {
        const std::uint32_t server = ring.points()[walk.index % ring.points().size()].server;
        if (is_usable(server)) {
            return server;
        }
        ++walk.index;
        ++walk.tries;
    }
    return std::nullopt;
}

}  // namespace s3gate::policy
