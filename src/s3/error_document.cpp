#include "s3gate/s3/error_document.hpp"

#include "s3gate/base/xml_text.hpp"

namespace s3gate::s3 {
namespace {

// The text between `begin` and `end`; empty if one of them is missing.
std::string_view between(std::string_view text, std::string_view begin, std::string_view end) {
    const std::size_t from = text.find(begin);
    if (from == std::string_view::npos) {
        return {};
    }
    text.remove_prefix(from + begin.size());
    const std::size_t to = text.find(end);
    return to == std::string_view::npos ? std::string_view{} : text.substr(0, to);
}

}  // namespace

std::string error_document(const Error& error) {
    std::string body;
    body.reserve(320 + error.resource.size());
    body += "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>";
    base::append_xml_escaped(body, error.code);
    body += "</Code><Message>";
    base::append_xml_escaped(body, error.message);
    body += "</Message><Resource>";
    base::append_xml_escaped(body, error.resource);
    body += "</Resource><RequestId>";
    base::append_xml_escaped(body, error.request_id);
    body += "</RequestId><HostId>";
    base::append_xml_escaped(body, error.host_id);
    body += "</HostId></Error>";
    return body;
}

std::string_view error_code_in(std::string_view body) {
    const std::string_view code = between(body, "<Code>", "</Code>");
    return code.empty() ? between(body, "\"Code\":\"", "\"") : code;
}

}  // namespace s3gate::s3
