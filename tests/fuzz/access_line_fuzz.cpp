// The log line of any request is one line of JSON with the same fields, and its URLs contain no
// credentials. The lines of the input become the texts of the record.
#include <array>
#include <boost/json.hpp>
#include <string>
#include <vector>

#include "fuzz_target.hpp"
#include "s3gate/observe/access_log.hpp"
#include "s3gate/s3/operation.hpp"

namespace {

boost::json::object fields_of(const std::string& line) {
    FUZZ_CHECK(!line.empty() && line.back() == '\n' && line.find('\n') == line.size() - 1);
    boost::json::error_code error;
    const boost::json::value value = boost::json::parse(line, error);
    FUZZ_CHECK(!error && value.is_object());
    return value.get_object();
}

}  // namespace

FUZZ_TARGET(input) {
    using namespace s3gate::observe;
    std::vector<std::string_view> parts;
    for (std::string_view rest = input; parts.size() < 14;) {
        const std::size_t end = std::min(rest.find('\n'), rest.size());
        parts.push_back(rest.substr(0, end));
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    RequestRecord record;
    record.site = parts[0];
    record.method = parts[1];
    record.target = parts[2];
    record.host = parts[3];
    record.user_agent = parts[4];
    record.referer = parts[5];
    record.forwarded_for = parts[6];
    record.session = parts[7];
    record.key_source = parts[8];
    record.error = parts[9];
    record.backend_request_id = parts[10];
    record.client_ip = "192.0.2.7";  // never a text of others
    record.peer_ip = "2001:db8::7";
    record.local_ip = parts[12];
    record.request_id = parts[13];
    record.status = static_cast<std::uint16_t>(input.size());
    record.tls = input.size() % 2 == 0;
    record.is_s3 = input.size() % 3 != 0;
    for (std::size_t i = 0; i < input.size() % 5; ++i) {
        record.begin_attempt(parts[13 - i], parts[i]);
        record.attempt().ended_ns = static_cast<std::int64_t>(input.size() % 7) - 1;
        record.attempt().connected_ns = static_cast<std::int64_t>(input.size() % 3) - 1;
        record.attempt().status = static_cast<std::uint16_t>(input.size());
    }
    record.group = parts[0];
    record.access_key = parts[5];
    static AccessLine line("host");
    static const std::size_t expected_fields = [] {
        std::string text;
        AccessLine("host").append(text, RequestRecord{}, {});
        return fields_of(text).size();
    }();
    std::string out;
    line.append(
        out, record,
        std::chrono::system_clock::time_point(std::chrono::milliseconds(input.size() * 997)));
    FUZZ_CHECK(fields_of(out).size() == expected_fields);

    // Redaction is stable: its result contains no secret by its own rules.
    std::string once;
    append_url_redacted(once, record.target);
    boost::json::error_code error;
    const boost::json::value decoded = boost::json::parse("\"" + once + "\"", error);
    FUZZ_CHECK(!error && decoded.is_string());
    s3gate::s3::operation_of(record.method, s3gate::s3::path_of(record.target),
                             input.size() % 2 == 0);
}
