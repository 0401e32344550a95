// The one place that puts together how every server stands, for whoever shows or counts it.
#pragma once

#include "s3gate/observe/cluster_status.hpp"
#include "s3gate/proxy/board.hpp"
#include "s3gate/proxy/snapshot.hpp"

namespace s3gate::proxy {

// Any thread. Its texts are the snapshot's. Allocates: not for a request that goes to a backend.
observe::ClusterStatus cluster_status_of(const Snapshot& snapshot, const Board& board);

}  // namespace s3gate::proxy
