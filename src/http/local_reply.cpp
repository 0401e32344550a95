#include "s3gate/http/local_reply.hpp"

#include <algorithm>
#include <ctime>

#include "s3gate/base/text.hpp"
#include "s3gate/base/xml_text.hpp"
#include "s3gate/http/head.hpp"

namespace s3gate::http {
namespace {

void append_head_end(std::string& out, std::string_view type, std::size_t length,
                     std::string_view date, bool close) {
    out.append("Content-Type: ").append(type);
    out.append("\r\nContent-Length: ").append(std::to_string(length));
    out.append("\r\nDate: ").append(date);
    out.append(close ? "\r\nConnection: close\r\n\r\n" : "\r\n\r\n");
}

// Removes the text up to the first `separator` outside quotes, and the separator, from `rest`;
// returns the text.
std::string_view take_part(std::string_view& rest, char separator) {
    bool is_quoted = false;
    std::size_t at = 0;
    while (at < rest.size() && (is_quoted || rest[at] != separator)) {
        if (rest[at] == '"') {
            is_quoted = !is_quoted;
        } else if (is_quoted && rest[at] == '\\') {
            ++at;
        }
        ++at;
    }
    std::string_view part = rest.substr(0, at);
    rest.remove_prefix(std::min(at + 1, rest.size()));
    constexpr std::string_view kBlank = " \t";
    part.remove_prefix(std::min(part.find_first_not_of(kBlank), part.size()));
    return part.substr(0, part.find_last_not_of(kBlank) + 1);
}

// RFC 9110 §12.4.2: "0" or "1" with up to three decimals, and above 0.
bool is_weight_above_0(std::string_view text) {
    if (text.empty() || text.size() > 5 || (text[0] != '0' && text[0] != '1') ||
        (text.size() > 1 && text[1] != '.') ||
        text.find_first_not_of("0123456789", 2) != std::string_view::npos) {
        return false;
    }
    return text.find_first_of("123456789") != std::string_view::npos;
}

bool is_html_range(std::string_view range) {
    if (!base::iequals(take_part(range, ';'), "text/html")) {
        return false;
    }
    while (!range.empty()) {
        const std::string_view parameter = take_part(range, ';');
        if (base::istarts_with(parameter, "q=")) {
            return is_weight_above_0(parameter.substr(2));
        }
    }
    return true;
}

// The page contains nothing of the request, and no resource that a browser would fetch.
std::string page_of(const LocalReply& reply, std::string_view title) {
    std::string body = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>";
    base::append_xml_escaped(body, title);
    body += "</title></head>\n<body><h1>";
    base::append_xml_escaped(body, title);
    body += "</h1>\n<p>";
    base::append_xml_escaped(body, reply.error.message);
    body += "</p>\n<p>Request id: <code>";
    base::append_xml_escaped(body, reply.error.request_id);
    body += "</code></p></body></html>\n";
    return body;
}

}  // namespace

bool asks_for_page(const RequestHead& head) {
    for (const Field& field : head.fields) {
        if (field.id != FieldId::other || !base::iequals(field.name, "accept")) {
            continue;
        }
        std::string_view rest = field.value;
        while (!rest.empty()) {
            if (is_html_range(take_part(rest, ','))) {
                return true;
            }
        }
    }
    return false;
}

void append_local_reply(std::string& out, const LocalReply& reply, std::string_view date) {
    const std::string title =
        std::to_string(reply.status) + " " + std::string(reason_of(reply.status));
    const std::string body = reply.page ? page_of(reply, title) : s3::error_document(reply.error);
    out.append("HTTP/1.1 ").append(title).append("\r\n");
    out.append("x-amz-request-id: ").append(reply.error.request_id).append("\r\n");
    if (reply.retry_after > 0) {
        out.append("Retry-After: ").append(std::to_string(reply.retry_after)).append("\r\n");
    }
    if (reply.page) {
        out +=
            "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
            "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n";
    }
    append_head_end(out, reply.page ? "text/html; charset=utf-8" : "application/xml", body.size(),
                    date, reply.close);
    if (!reply.head) {
        out += body;
    }
}

void append_plain_reply(std::string& out, std::string_view content_type, std::string_view body,
                        bool head, bool close, std::string_view date) {
    out += "HTTP/1.1 200 OK\r\n";
    append_head_end(out, content_type, body.size(), date, close);
    if (!head) {
        out += body;
    }
}

void append_redirect(std::string& out, std::string_view location, bool close,
                     std::string_view date) {
    // 301 is nginx's answer to a missing slash.
    out.append("HTTP/1.1 301 Moved Permanently\r\nLocation: ").append(location);
    out += "\r\nCache-Control: no-store\r\n";
    append_head_end(out, "text/plain; charset=utf-8", 0, date, close);
}

std::string imf_fixdate(std::int64_t seconds_since_epoch) {
    const std::time_t time = static_cast<std::time_t>(seconds_since_epoch);
    std::tm parts{};
    gmtime_r(&time, &parts);
    // Not strftime's %a and %b: RFC 9110 fixes the names for every locale.
    static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                              "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    char rest[32];
    std::strftime(rest, sizeof rest, " %Y %H:%M:%S GMT", &parts);
    char day[16];
    std::strftime(day, sizeof day, ", %d ", &parts);
    return std::string(kDays[parts.tm_wday]) + day + kMonths[parts.tm_mon] + rest;
}

}  // namespace s3gate::http
