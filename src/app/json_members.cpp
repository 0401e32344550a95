#include "json_members.hpp"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <boost/system/error_code.hpp>

namespace s3gate::app {

namespace json = boost::json;

const json::value& at(const json::object& object, std::string_view key) {
    static const json::value kNothing;
    const json::value* const value = object.if_contains(key);
    return value == nullptr ? kNothing : *value;
}

std::string text_of(const json::value& value) {
    const json::string* const text = value.if_string();
    return text != nullptr ? std::string(*text) : json::serialize(value);
}

std::string text_at(const json::object& object, std::string_view key) {
    const json::value& value = at(object, key);
    return value.is_null() ? "?" : text_of(value);
}

bool is_true(const json::object& object, std::string_view key) {
    const json::value& value = at(object, key);
    return value.is_bool() && value.get_bool();
}

double number_at(const json::object& object, std::string_view key) {
    boost::system::error_code ignored;
    const auto number = at(object, key).to_number<double>(ignored);
    return ignored ? 0 : number;
}

std::vector<const json::object*> objects_at(const json::object& object, std::string_view key) {
    std::vector<const json::object*> out;
    if (const json::array* const list = at(object, key).if_array()) {
        for (const json::value& item : *list) {
            if (const json::object* const one = item.if_object()) {
                out.push_back(one);
            }
        }
    }
    return out;
}

}  // namespace s3gate::app
