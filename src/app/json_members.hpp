// Reads members of a daemon's answer. One of another version may lack them, or have them with
// another type: none of that is an error. Pure.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace s3gate::app {

// Null if the object lacks the key.
const boost::json::value& at(const boost::json::object& object, std::string_view key);
// A string without quotes; of any other value its JSON.
std::string text_of(const boost::json::value& value);
// The same; "?" where there is none.
std::string text_at(const boost::json::object& object, std::string_view key);
bool is_true(const boost::json::object& object, std::string_view key);
// 0 where there is no number.
double number_at(const boost::json::object& object, std::string_view key);
// The objects of a list.
std::vector<const boost::json::object*> objects_at(const boost::json::object& object,
                                                   std::string_view key);

}  // namespace s3gate::app
