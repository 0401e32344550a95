// The sites of the exchange target, by options. Separate from the script and its judge, because the
// headers are slow to compile.
#pragma once

#include <memory>

namespace s3gate::state {
struct Snapshot;
}

namespace s3gate::fuzz {

// Bits of a site's options.
enum Option : unsigned {
    kHttp = 1u << 0,
    kRetryNothing = 1u << 1,
    kRetryNoStatus = 1u << 2,
    kSmallReplay = 1u << 3,
    kUpgrade = 1u << 4,
    kExpectClose = 1u << 5,
    kNoKeepalive = 1u << 6,
    kLeastConn = 1u << 7,
    kRoundRobin = 1u << 8,
    kRefuseAllDown = 1u << 9,
    kSmallLimits = 1u << 10,
    kQuickMarks = 1u << 11,
    kTwoTries = 1u << 12,
    kSession = 1u << 13,
    kBackup = 1u << 14,
    kConnectionLimit = 1u << 15,
};

// One site of three servers with four addresses (10.1.0.1 … 10.1.0.4, port 9000). Made once per set
// of options; all have the same cells on the board.
std::shared_ptr<const state::Snapshot> snapshot_of(unsigned options);

}  // namespace s3gate::fuzz
