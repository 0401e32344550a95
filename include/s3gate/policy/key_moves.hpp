// What a change of a site's configuration does to its keys: how many go to another server. Uses the
// configurations only: no health, no addresses. Pure.
#pragma once

#include <cstdint>

#include "s3gate/config/model.hpp"

namespace s3gate::policy {

// Keys are counted by their hashes, which are spread evenly: of 2^32.
inline constexpr std::uint64_t kAllHashes = std::uint64_t{1} << 32;

struct KeyMoves {
    // Whether keys tie requests to servers: with `ketama` they do.
    enum class Ties : std::uint8_t { none, begin, end, stay };
    Ties ties = Ties::none;

    // The following are for ties that stay.

    // The hashes whose server has another text than before. Servers that are `down` or `drained`
    // have no keys; their keys go where the ring leads on.
    std::uint64_t moved = 0;
    // True if another part of a request may give its key (`balance.key`). Such a request has
    // another hash, whatever `moved` says.
    bool has_other_sources = false;
    // True if every fingerprint is another one (`balance.salt`, where fingerprints are used), and
    // the share of those that then fall to another server, in 0…1: each falls anywhere.
    bool has_other_fingerprints = false;
    double moved_fingerprints = 0;

    // True if every request goes on to the server that it went to.
    bool is_none() const {
        return (ties == Ties::none || ties == Ties::stay) && moved == 0 && !has_other_sources &&
               !has_other_fingerprints;
    }
};

KeyMoves key_moves(const config::Site& before, const config::Site& after);

}  // namespace s3gate::policy
