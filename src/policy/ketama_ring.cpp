#include "s3gate/policy/ketama_ring.hpp"

#include <algorithm>
#include <array>
#include <bit>

#include "s3gate/base/digest.hpp"
#include "s3gate/base/text.hpp"

namespace s3gate::policy {

namespace {

constexpr unsigned kPointsPerWeight = 160;  // as nginx does (ngx_http_upstream_init_chash)

struct HostAndPort {
    std::string_view host;
    std::string_view port;
};

// As in nginx: digits from the end up to a ':' are the port; otherwise the whole text is the host.
// The text is not parsed as an address, so "[::1]:9000" keeps its brackets.
HostAndPort split(std::string_view text) {
    constexpr std::string_view kUnix = "unix:";
    if (base::istarts_with(text, kUnix)) {
        return {text.substr(kUnix.size()), {}};
    }
    const std::size_t last = text.find_last_not_of("0123456789");
    if (last == std::string_view::npos || text[last] != ':') {
        return {text, {}};
    }
    return {text.substr(0, last), text.substr(last + 1)};
}

// The previous point enters the next CRC as four little-endian bytes, on every machine.
std::array<char, 4> little_endian(std::uint32_t value) {
    return {static_cast<char>(value & 0xff), static_cast<char>(value >> 8 & 0xff),
            static_cast<char>(value >> 16 & 0xff), static_cast<char>(value >> 24)};
}

}  // namespace

KetamaRing::KetamaRing(std::span<const RingServer> servers)
    : table_(std::make_shared<const Table>(servers)) {}

KetamaRing::Table::Table(std::span<const RingServer> servers) {
    std::size_t total = 0;
    for (const RingServer& server : servers) {
        total += std::size_t{kPointsPerWeight} * server.weight;
    }
    points.reserve(total);
    for (std::uint32_t index = 0; index < servers.size(); ++index) {
        const auto [host, port] = split(servers[index].text);
        const std::uint32_t base_hash =
            base::crc32(port, base::crc32(std::string_view("\0", 1), base::crc32(host)));
        std::uint32_t previous = 0;
        const std::size_t count = std::size_t{kPointsPerWeight} * servers[index].weight;
        for (std::size_t j = 0; j < count; ++j) {
            const auto bytes = little_endian(previous);
            previous = base::crc32({bytes.data(), bytes.size()}, base_hash);
            points.push_back({previous, index});
        }
    }
    // Of equal hashes the server configured first keeps the point: nginx's qsort is a stable merge
    // sort with glibc, and it drops all but the first of equal neighbours.
    std::ranges::stable_sort(points, {}, &Point::hash);
    const auto rest = std::ranges::unique(points, {}, &Point::hash);
    points.erase(rest.begin(), rest.end());
    points.shrink_to_fit();
    index_points();
}

void KetamaRing::Table::index_points() {
    if (points.empty()) {
        return;
    }
    // At least two arcs and at most 2^31: a shift by 0 or 32 bits is useless.
    const unsigned arcs_log2 =
        std::clamp(static_cast<unsigned>(std::bit_width(points.size())) - 1, 1U, 31U);
    arc_bits = 32 - arcs_log2;
    const std::size_t count = std::size_t{1} << arcs_log2;
    arcs.reserve(count + 1);
    std::uint32_t next = 0;
    for (std::size_t arc = 0; arc < count; ++arc) {
        while (next < points.size() && points[next].hash >> arc_bits < arc) {
            ++next;
        }
        arcs.push_back(next);
    }
    arcs.push_back(static_cast<std::uint32_t>(points.size()));
}

std::size_t KetamaRing::lookup(std::uint32_t hash) const {
    const std::vector<Point>& points = table_->points;
    const std::size_t arc = hash >> table_->arc_bits;
    const auto begin = points.begin() + table_->arcs[arc];
    const auto end = points.begin() + table_->arcs[arc + 1];
    // If this arc has no such point, `end` is the first point after it.
    const auto found = std::ranges::lower_bound(begin, end, hash, {}, &Point::hash);
    return found == points.end() ? 0 : static_cast<std::size_t>(found - points.begin());
}

KetamaRing ring_of(std::span<const config::Server> servers) {
    std::vector<RingServer> out;
    out.reserve(servers.size());
    for (const config::Server& server : servers) {
        out.push_back({server.text, server.weight});
    }
    return KetamaRing(out);
}

RingWalk start_walk(const KetamaRing& ring, std::string_view key) {
    return start_walk(ring, base::crc32(key));
}

RingWalk start_walk(const KetamaRing& ring, std::uint32_t hash) {
    return {ring.lookup(hash), 0};
}

}  // namespace s3gate::policy
