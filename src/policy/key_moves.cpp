#include "s3gate/policy/key_moves.hpp"

#include <algorithm>
#include <map>
#include <string_view>
#include <vector>

#include "s3gate/policy/affinity_key.hpp"
#include "s3gate/policy/ketama_ring.hpp"

namespace s3gate::policy {

namespace {

// A site's ring, and which servers the configuration takes out.
class Owners {
  public:
    explicit Owners(const config::Site& site)
        : servers_(site.backends.servers), ring_(ring_of(servers_)) {}

    const std::vector<KetamaRing::Point>& points() const { return ring_.points(); }
    // The server of this hash; empty if servers take turns there, or there is none.
    std::string_view at(std::uint32_t hash) const {
        if (ring_.empty()) {
            return {};
        }
        RingWalk walk = start_walk(ring_, hash);
        const auto server = walk_to_usable(ring_, walk, [this](std::uint32_t candidate) {
            return !servers_[candidate].down && !servers_[candidate].drained;
        });
        return server ? std::string_view(servers_[*server].text) : std::string_view();
    }

  private:
    const std::vector<config::Server>& servers_;
    KetamaRing ring_;
};

// Where the owner may change, on either ring: the last hash of each arc, in order.
std::vector<std::uint32_t> ends_of_arcs(const Owners& before, const Owners& after) {
    std::vector<std::uint32_t> out;
    out.reserve(before.points().size() + after.points().size());
    for (const Owners* const owners : {&before, &after}) {
        for (const KetamaRing::Point& point : owners->points()) {
            out.push_back(point.hash);
        }
    }
    std::ranges::sort(out);
    const auto repeated = std::ranges::unique(out);
    out.erase(repeated.begin(), repeated.end());
    return out;
}

struct Hashes {
    std::uint64_t before = 0;
    std::uint64_t after = 0;
};

// Goes once around the circle.
struct Circle {
    Circle(const config::Site& site_before, const config::Site& site_after) {
        const Owners before(site_before);
        const Owners after(site_after);
        const std::vector<std::uint32_t> ends = ends_of_arcs(before, after);
        if (ends.empty()) {
            return;
        }
        // The first arc begins behind the last end.
        std::uint64_t length = kAllHashes - ends.back() + ends.front();
        for (std::size_t i = 0; i < ends.size(); ++i) {
            add(before.at(ends[i]), after.at(ends[i]), length);
            length = i + 1 < ends.size() ? ends[i + 1] - ends[i] : 0;
        }
    }

    std::uint64_t moved = 0;
    std::map<std::string_view, Hashes> of_servers;

  private:
    void add(std::string_view before, std::string_view after, std::uint64_t length) {
        moved += before == after ? 0 : length;
        of_servers[before].before += length;
        of_servers[after].after += length;
    }
};

// Of keys that get a new hash, which falls anywhere.
double moved_by_chance(const Circle& circle) {
    constexpr auto kAll = static_cast<double>(kAllHashes);
    double stay = 0;
    for (const auto& [server, hashes] : circle.of_servers) {
        stay +=
            static_cast<double>(hashes.before) / kAll * static_cast<double>(hashes.after) / kAll;
    }
    return 1 - stay;
}

bool has_fingerprint(const std::vector<config::KeySource>& sources) {
    return std::ranges::any_of(sources, [](const config::KeySource& source) {
        return source.kind == config::KeySource::Kind::fingerprint;
    });
}

}  // namespace

KeyMoves key_moves(const config::Site& before, const config::Site& after) {
    using Ties = KeyMoves::Ties;
    const bool had_ring = before.balance.method == config::BalanceMethod::ketama;
    const bool has_ring = after.balance.method == config::BalanceMethod::ketama;
    if (!had_ring || !has_ring) {
        return {.ties = had_ring ? Ties::end : has_ring ? Ties::begin : Ties::none};
    }
    const Circle circle(before, after);
    const auto sources_before = usable_sources(before.balance.key);
    const auto sources = usable_sources(after.balance.key);
    KeyMoves out{.ties = Ties::stay, .moved = circle.moved};
    out.has_other_sources = sources_before != sources;
    if (before.balance.salt != after.balance.salt && has_fingerprint(sources_before) &&
        has_fingerprint(sources)) {
        out.has_other_fingerprints = true;
        out.moved_fingerprints = moved_by_chance(circle);
    }
    return out;
}

}  // namespace s3gate::policy
