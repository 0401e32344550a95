#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <utility>

#include "json_text.hpp"
#include "s3_path.hpp"
#include "s3gate/observe/access_log.hpp"

namespace s3gate::observe {
namespace {

constexpr std::string_view kAbsent = "-";

template <typename Integer>
void append_number(std::string& out, Integer value) {
    std::array<char, 24> digits;
    const auto result = std::to_chars(digits.data(), digits.data() + digits.size(), value);
    out.append(digits.data(), result.ptr);
}

// Exactly `width` digits; `value` has no more.
void append_padded(std::string& out, std::int64_t value, std::size_t width) {
    std::array<char, 8> digits;
    for (std::size_t i = width; i > 0; --i) {
        digits[i - 1] = static_cast<char>('0' + value % 10);
        value /= 10;
    }
    out.append(digits.data(), width);
}

// "1.234", as nginx prints durations and $msec. Negative durations do not exist; a clock that says
// so reads as 0.
void append_seconds(std::string& out, std::int64_t milliseconds) {
    milliseconds = milliseconds < 0 ? 0 : milliseconds;
    append_number(out, milliseconds / 1000);
    out += '.';
    append_padded(out, milliseconds % 1000, 3);
}

// The text between quotes, "-" when there is none.
void append_text(std::string& out, std::string_view text) {
    append_json_escaped(out, text.empty() ? kAbsent : text);
}

void append_url(std::string& out, std::string_view url) {
    append_url_redacted(out, url.empty() ? kAbsent : url);
}

std::string_view query_of(std::string_view target) {
    const std::size_t question = target.find('?');
    return question == std::string_view::npos ? std::string_view() : target.substr(question + 1);
}

// The host without its port, brackets of an IPv6 literal kept, as nginx's $host.
std::string_view without_port(std::string_view host) {
    if (host.starts_with('[')) {
        const std::size_t bracket = host.find(']');
        return bracket == std::string_view::npos ? host : host.substr(0, bracket + 1);
    }
    return host.substr(0, host.find(':'));
}

// ISO 8601 local time with offset, as nginx's $time_iso8601.
std::string iso8601_of(std::int64_t second) {
    const std::time_t time = static_cast<std::time_t>(second);
    std::tm local{};
    ::localtime_r(&time, &local);
    std::string text;
    append_number(text, local.tm_year + 1900);
    const std::array<std::pair<char, int>, 5> parts = {{{'-', local.tm_mon + 1},
                                                        {'-', local.tm_mday},
                                                        {'T', local.tm_hour},
                                                        {':', local.tm_min},
                                                        {':', local.tm_sec}}};
    for (const auto& [separator, value] : parts) {
        text += separator;
        append_padded(text, value, 2);
    }
    const std::int64_t offset = local.tm_gmtoff / 60;
    const std::int64_t minutes = offset < 0 ? -offset : offset;
    text += offset < 0 ? '-' : '+';
    append_padded(text, minutes / 60, 2);
    text += ':';
    append_padded(text, minutes % 60, 2);
    return text;
}

void append_attempts(std::string& out, const RequestRecord& record) {
    const std::size_t count = record.attempt_count < RequestRecord::kMaxAttempts
                                  ? record.attempt_count
                                  : RequestRecord::kMaxAttempts;
    out += R"(","upstreamtime":")";
    for (std::size_t i = 0; i < count; ++i) {
        out += i == 0 ? "" : ", ";
        if (record.attempts[i].milliseconds < 0) {
            out += kAbsent;
        } else {
            append_seconds(out, record.attempts[i].milliseconds);
        }
    }
    out += count == 0 ? kAbsent : "";
    out += R"(","upstreamaddr":")";
    for (std::size_t i = 0; i < count; ++i) {
        out += i == 0 ? "" : ", ";
        append_text(out, record.attempts[i].address);
    }
    out += count == 0 ? kAbsent : "";
}

}  // namespace

AccessLine::AccessLine(std::string hostname) : hostname_(std::move(hostname)) {}

void AccessLine::append(std::string& out, const RequestRecord& record,
                        std::chrono::system_clock::time_point now) {
    const std::int64_t milliseconds =
        std::chrono::floor<std::chrono::milliseconds>(now.time_since_epoch()).count();
    const std::int64_t second = milliseconds / 1000;
    if (second != cached_second_) {
        cached_text_ = iso8601_of(second);
        cached_second_ = second;
    }
    const std::string_view bucket = record.is_s3 ? s3_path_of(record.target).bucket : kAbsent;

    out += R"({"@timestamp":")";
    out += cached_text_;
    out += R"(","@msec":")";
    append_seconds(out, milliseconds);
    out += R"(","@source":")";
    append_text(out, record.local_ip);
    out += R"(","hostname":")";
    append_text(out, hostname_);
    out += R"(","ip":")";
    append_text(out, record.forwarded_for);
    out += R"(","client":")";
    append_text(out, record.client_ip);
    out += R"(","request_method":")";
    append_text(out, record.method);
    out += R"(","scheme":")";
    out += record.tls ? "https" : "http";
    out += R"(","domain":")";
    append_text(out, without_port(record.host));
    out += R"(","referer":")";
    append_url(out, record.referer);
    out += R"(","request":")";
    append_url(out, record.target);
    out += R"(","args":")";
    append_url(out, query_of(record.target));
    out += R"(","size":)";
    append_number(out, record.bytes_out);
    out += R"(,"status":)";
    append_number(out, record.status);
    out += R"(,"responsetime":")";
    append_seconds(out, record.duration.count());
    append_attempts(out, record);
    out += R"(","http_user_agent":")";
    append_text(out, record.user_agent);
    out += R"(","https":")";
    out += record.tls ? "on" : kAbsent;
    out += R"(","site":")";
    append_text(out, record.site);
    out += R"(","op":")";
    out +=
        record.is_s3 ? s3_operation(record.method, record.target, record.has_copy_source) : kAbsent;
    out += R"(","bucket":")";
    append_url(out, bucket);  // a target may hide its '?' in an escape
    out += R"(","key_source":")";
    append_text(out, record.key_source);
    out += R"(","session":")";
    append_url(out, record.session);  // the client chose it: it may be part of a URL
    out += R"(","tries":)";
    append_number(out, record.tries);
    out += R"(,"bytes_in":)";
    append_number(out, record.bytes_in);
    out += R"(,"ttfb":)";
    // A number that does not exist is null: "-" would make the field a string in some lines only.
    if (record.ttfb_ms < 0) {
        out += "null";
    } else {
        append_number(out, record.ttfb_ms);
    }
    out += R"(,"error":")";
    append_text(out, record.error);
    out += R"(","request_id":")";
    append_text(out, record.request_id);
    out += R"(","backend_request_id":")";
    append_text(out, record.backend_request_id);
    out += "\"}\n";
}

}  // namespace s3gate::observe
