// The messages of the log about names, one for each event: the log, the status and the outcome of a
// reload use the same words. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "s3gate/base/address.hpp"
#include "s3gate/base/clock.hpp"
#include "s3gate/config/model.hpp"
#include "s3gate/policy/known_addresses.hpp"

namespace s3gate::control {

// About a server of a group: its name has no address.
std::string unresolved_message(std::string_view group, const config::Server& server,
                               std::string_view reason);
std::string resolved_message(std::string_view group, const config::Server& server,
                             const std::vector<base::IpAddress>& addresses);
// One for each address that came or left; a single one if the name moved.
std::vector<std::string> change_messages(std::string_view group, const config::Server& server,
                                         const policy::AddressChange& change);

// About a name whose addresses are known. `age`: of the last answer.
std::string kept_message(std::string_view host, std::string_view reason,
                         const std::vector<base::IpAddress>& addresses, base::Duration age);
std::string recovered_message(std::string_view host, base::Duration outage);
std::string surplus_message(std::string_view host, std::size_t surplus);

}  // namespace s3gate::control
