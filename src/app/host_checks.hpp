// What `s3gate check` finds out about this host beyond the files: users, names, addresses, logs.
// Blocking; appends to the problems and warnings of a configuration that load() accepted.
#pragma once

#include <optional>

#include "s3gate/config/load.hpp"
#include "unit_view.hpp"

namespace s3gate::app {

// `unit` is the systemd unit that runs this configuration, if there is one.
void check_host(config::LoadResult& result, const std::optional<UnitView>& unit);

}  // namespace s3gate::app
