#include "operators.hpp"

#include <pwd.h>
#include <unistd.h>

#include <limits>
#include <optional>

#include "s3gate/base/text.hpp"

namespace s3gate::control {
namespace {

std::string name_of(uid_t uid) {
    const passwd* const entry = ::getpwuid(uid);
    return entry == nullptr ? std::string() : entry->pw_name;
}

// A number is a user even if no account has it.
std::optional<uid_t> uid_of(const std::string& user) {
    if (const passwd* const entry = ::getpwnam(user.c_str())) {
        return entry->pw_uid;
    }
    const auto number = base::parse_decimal(user);
    // The highest number means "no user" to the kernel.
    if (!number || *number >= std::numeric_limits<uid_t>::max()) {
        return std::nullopt;
    }
    return static_cast<uid_t>(*number);
}

}  // namespace

std::string find_operator_problem(const std::string& user) {
    return uid_of(user) ? std::string() : "there is no user " + user + " on this host";
}

Operators::Operators(const std::vector<std::string>& users) {
    names_[0] = "root";
    names_.emplace(::geteuid(), name_of(::geteuid()));
    for (const std::string& user : users) {
        if (const auto uid = uid_of(user)) {
            names_.emplace(*uid, name_of(*uid));
        } else {
            problems_.push_back(find_operator_problem(user));
        }
    }
}

Asker Operators::asker_of(uid_t uid, pid_t pid) const {
    const auto found = names_.find(uid);
    const bool may_command = found != names_.end();
    std::string who = "uid " + std::to_string(uid);
    if (may_command && !found->second.empty()) {
        who = uid == 0 ? found->second : found->second + " (" + who + ")";
    }
    return {.rights = may_command ? Rights::command : Rights::look,
            .name = who + ", pid " + std::to_string(pid)};
}

}  // namespace s3gate::control
