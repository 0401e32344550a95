// A short text that is equal on two proxies if they send the same keys to the same servers, however
// their files are written. Uses the configuration only: no health, no addresses. Pure functions.
#pragma once

#include <string>

#include "s3gate/config/model.hpp"

namespace s3gate::policy {

// The digest of one site, independent of its name: the method, and the servers' texts, weights,
// `down`, `drained` and `backup` in any order. With ketama also the key sources that can be used,
// the salt if a fingerprint is among them, and the points of the ring. 32 hexadecimal digits.
std::string ring_digest(const config::Site& site);

// The digest of all sites with their names, in any order.
std::string ring_digest(const config::Config& config);

}  // namespace s3gate::policy
