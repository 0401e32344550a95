#include "s3gate/http/local_reply.hpp"

#include <ctime>

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

}  // namespace

void append_xml_escaped(std::string& out, std::string_view text) {
    std::size_t position = 0;
    while (position < text.size()) {
        const auto byte = static_cast<unsigned char>(text[position]);
        switch (byte) {
            case '&':
                out += "&amp;";
                ++position;
                continue;
            case '<':
                out += "&lt;";
                ++position;
                continue;
            case '>':
                out += "&gt;";
                ++position;
                continue;
            case '"':
                out += "&#34;";
                ++position;
                continue;
            case '\'':
                out += "&#39;";
                ++position;
                continue;
            default:
                break;
        }
        if (byte < 0x80) {
            out += byte >= 0x20 && byte != 0x7f ? static_cast<char>(byte) : '?';
            ++position;
            continue;
        }
        // A well-formed UTF-8 sequence goes out as it is, anything else becomes '?': the document
        // says it is UTF-8.
        const std::size_t length = byte >= 0xf0 && byte <= 0xf4  ? 4
                                   : byte >= 0xe0 && byte < 0xf0 ? 3
                                   : byte >= 0xc2 && byte < 0xe0 ? 2
                                                                 : 1;
        bool good = length > 1 && position + length <= text.size();
        std::uint32_t code = length == 4 ? byte & 7u : length == 3 ? byte & 15u : byte & 31u;
        for (std::size_t i = 1; good && i < length; ++i) {
            const auto next = static_cast<unsigned char>(text[position + i]);
            good = (next & 0xc0u) == 0x80u;
            code = code << 6 | (next & 0x3fu);
        }
        good = good && !(length == 3 && code < 0x800) &&
               !(length == 4 && (code < 0x10000 || code > 0x10ffff)) &&
               !(code >= 0xd800 && code <= 0xdfff) && code != 0xfffe && code != 0xffff;
        if (good) {
            out.append(text.substr(position, length));
            position += length;
        } else {
            out += '?';
            ++position;
        }
    }
}

void append_local_reply(std::string& out, const LocalReply& reply, std::string_view date) {
    std::string body;
    body.reserve(320 + reply.resource.size());
    body += "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>";
    append_xml_escaped(body, reply.code);
    body += "</Code><Message>";
    append_xml_escaped(body, reply.message);
    body += "</Message><Resource>";
    append_xml_escaped(body, reply.resource);
    body += "</Resource><RequestId>";
    append_xml_escaped(body, reply.request_id);
    body += "</RequestId><HostId>";
    append_xml_escaped(body, reply.host_id);
    body += "</HostId></Error>";
    out.append("HTTP/1.1 ")
        .append(std::to_string(reply.status))
        .append(" ")
        .append(reason_of(reply.status))
        .append("\r\n");
    out.append("x-amz-request-id: ").append(reply.request_id).append("\r\n");
    if (reply.retry_after > 0) {
        out.append("Retry-After: ").append(std::to_string(reply.retry_after)).append("\r\n");
    }
    append_head_end(out, "application/xml", body.size(), date, reply.close);
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

std::string imf_fixdate(std::int64_t seconds_since_epoch) {
    const std::time_t time = static_cast<std::time_t>(seconds_since_epoch);
    std::tm parts{};
    gmtime_r(&time, &parts);
    // Not strftime's %a and %b: the names are fixed by RFC 9110 whatever the locale.
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
