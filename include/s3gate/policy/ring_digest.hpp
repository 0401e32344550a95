// A short text that is equal on two proxies if they send the same keys to the same servers, however
// their files are written. Reads the configuration only: no health, no addresses. Pure functions.
#pragma once

#include <string>

#include "s3gate/config/model.hpp"

namespace s3gate::policy {

// Of one site, whatever it is called: the method, and the servers' texts, weights, `down`,
// `drained` and `backup` in any order; with ketama also the key sources that can have their turn,
// the salt if a fingerprint is among them, and the points of the ring. 32 hexadecimal digits.
std::string ring_digest(const config::Site& site);

// Of all sites by their names, in any order.
std::string ring_digest(const config::Config& config);

}  // namespace s3gate::policy
