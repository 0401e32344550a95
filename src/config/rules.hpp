// The rules between keys, in two steps: within one site (also a disabled one) and between the
// enabled sites.
#pragma once

#include "s3gate/config/load.hpp"

namespace s3gate::config {

void check_site(const Site& site, LoadResult& result);

void check_between_sites(const Config& config, LoadResult& result);

}  // namespace s3gate::config
