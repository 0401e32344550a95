// The daemon's answers as people read them: aligned columns, no colours. Pure.
#pragma once

#include <boost/json/object.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace s3gate::app {

// Rows of cells, each column as wide as its widest cell; the last one is not filled up. Every line
// begins with `indent` spaces and ends with a newline.
std::string aligned(const std::vector<std::vector<std::string>>& rows, std::size_t indent);

// "45 s", "12 m", "3 h 12 m", "2 d 3 h"
std::string print_age(double seconds);

// Control bytes escaped: they must not reach the terminal or begin another line.
std::string printable(std::string_view text);

// /status. What the object lacks is left out.
std::string status_text(const boost::json::object& status);
// /connections and /log-level.
std::string connections_text(const boost::json::object& answer);
std::string log_level_text(const boost::json::object& answer);

}  // namespace s3gate::app
