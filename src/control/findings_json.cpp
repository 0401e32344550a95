#include "s3gate/control/findings_json.hpp"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/system/error_code.hpp>
#include <string>
#include <utility>

namespace s3gate::control {

namespace json = boost::json;

namespace {

std::string text_at(const json::object& object, std::string_view key) {
    const json::value* const value = object.if_contains(key);
    const json::string* const text = value == nullptr ? nullptr : value->if_string();
    return text == nullptr ? std::string() : std::string(*text);
}

int line_of(const json::object& object) {
    const json::value* const value = object.if_contains("line");
    const std::int64_t* const line = value == nullptr ? nullptr : value->if_int64();
    return line == nullptr ? 0 : static_cast<int>(*line);
}

}  // namespace

json::string json_text(std::string_view text) {
    json::string out(text);
    boost::system::error_code error;
    json::parse(json::serialize(out), error);
    if (error) {
        for (char& c : out) {
            c = static_cast<unsigned char>(c) < 0x80 ? c : '?';
        }
    }
    return out;
}

json::array json_of(const std::vector<config::Problem>& findings) {
    json::array out;
    for (const config::Problem& finding : findings) {
        json::object one;
        one["file"] = json_text(finding.where.file);
        one["line"] = finding.where.line > 0 ? json::value(finding.where.line) : json::value();
        one["key"] = json_text(finding.key);
        one["message"] = json_text(finding.message);
        out.push_back(std::move(one));
    }
    return out;
}

std::vector<config::Problem> findings_of(const json::value* list) {
    std::vector<config::Problem> out;
    const json::array* const items = list == nullptr ? nullptr : list->if_array();
    if (items == nullptr) {
        return out;
    }
    for (const json::value& item : *items) {
        if (const json::object* const one = item.if_object()) {
            out.push_back({{text_at(*one, "file"), line_of(*one)},
                           text_at(*one, "key"),
                           text_at(*one, "message")});
        }
    }
    return out;
}

}  // namespace s3gate::control
