// The access log of simulated workers. access_lines.cpp replaces observe::LogWriter, whose thread
// cannot run in simulated time: it keeps a worker's lines until the test takes them.
#pragma once

#include <string>

namespace s3gate::sim {

// The lines since the last call.
std::string take_access_lines();

}  // namespace s3gate::sim
