// The access log of simulated workers. access_lines.cpp stands in for observe::LogWriter, whose
// thread has no place in simulated time: what a worker hands over is kept until somebody takes it.
#pragma once

#include <string>

namespace s3gate::sim {

// The lines that were handed over since the last call.
std::string take_access_lines();

}  // namespace s3gate::sim
