// The users whose commands the daemon takes: root, its own user, and those of admin.operators.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include "admin_handler.hpp"

namespace s3gate::control {

class Operators {
  public:
    // Looks the names up, which may block. Not on two threads at a time: the C library has one
    // place for what it finds. Names that are unknown are left out: problems() has them.
    explicit Operators(const std::vector<std::string>& users);

    // One sentence for each unknown name.
    const std::vector<std::string>& problems() const { return problems_; }

    // The asker for a process at the other end of a unix socket. Does not block: the names of all
    // users with that right are known.
    Asker asker_of(uid_t uid, pid_t pid) const;

  private:
    std::vector<std::string> problems_;
    std::map<uid_t, std::string> names_;  // empty where only the number is known
};

// What is wrong with a user of admin.operators on this host; empty when nothing is. May block.
std::string find_operator_problem(const std::string& user);

}  // namespace s3gate::control
