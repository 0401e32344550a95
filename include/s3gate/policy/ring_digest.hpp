// A short text that is equal on two proxies if they send the same keys to the same servers, however
// their files are written. Uses the configuration and the commands of operators: no health, no
// addresses. Pure functions.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "s3gate/config/model.hpp"

namespace s3gate::policy {

// What operators have commanded: a word for a server, by its group and its text.
using ServerCommands = std::map<std::pair<std::string, std::string>, std::string_view>;

// The digest of one site, independent of its name: the method, and the servers' texts, weights,
// `down`, `drained`, `backup` and commands in any order. With ketama also the key sources that can
// be used, the salt if a fingerprint is among them, and the points of the ring. 32 hexadecimal
// digits.
std::string ring_digest(const config::Site& site, const ServerCommands& commands = {});

// The digest of all sites with their names, in any order.
std::string ring_digest(const config::Config& config, const ServerCommands& commands = {});

}  // namespace s3gate::policy
