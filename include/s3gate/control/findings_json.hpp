// Problems and warnings of a configuration as JSON and back: what `s3gate check --json` prints and
// what the control socket answers to a reload. Any thread.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/string.hpp>
#include <boost/json/value.hpp>
#include <string_view>
#include <vector>

#include "s3gate/config/model.hpp"

namespace s3gate::control {

// File names and variables may hold any bytes, but JSON must be UTF-8: in invalid text each byte
// beyond ASCII becomes '?'.
boost::json::string json_text(std::string_view text);

// A list of objects with `file`, `line` (null where there is none), `key` and `message`.
boost::json::array json_of(const std::vector<config::Problem>& findings);

// The inverse; empty for what json_of() does not make.
std::vector<config::Problem> findings_of(const boost::json::value* list);

}  // namespace s3gate::control
