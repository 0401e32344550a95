// The text of /upstream/health/: byte for byte the output of lua-resty-upstream-healthcheck's
// status_page() with ngx.say (docs/operations.md).
#pragma once

#include <string>

#include "s3gate/state/cluster_status.hpp"

namespace s3gate::observe {

// An unresolved server appears with its configured text, as down.
std::string status_text(const state::ClusterStatus& status);

}  // namespace s3gate::observe
