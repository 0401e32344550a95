// The checks of `s3gate check` that need this host: users, names, addresses, logs. Blocking.
// Appends to the problems and warnings of a configuration that load() accepted.
#pragma once

#include <optional>

#include "s3gate/config/load.hpp"
#include "unit_view.hpp"

namespace s3gate::app {

// `unit` is the systemd unit that runs this configuration, if any.
void check_host(config::LoadResult& result, const std::optional<UnitView>& unit);

}  // namespace s3gate::app
