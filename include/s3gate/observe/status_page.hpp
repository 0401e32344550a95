// The text of /upstream/health/: byte for byte what lua-resty-upstream-healthcheck's status_page()
// plus ngx.say print (docs/operations.md).
#pragma once

#include <string>

#include "s3gate/state/cluster_status.hpp"

namespace s3gate::observe {

// A server that did not resolve stands there by its configured text, as down.
std::string status_text(const state::ClusterStatus& status);

}  // namespace s3gate::observe
